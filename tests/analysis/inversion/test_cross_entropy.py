"""What log-likelihoods say of a representation, and distances between representations."""

import math

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist
from scipy.stats import sem

from analysis.inversion.cross_entropy import (
    Nearest,
    increases,
    nearest,
    negative_cross_entropy,
    paired_difference,
    uniform_nats,
    unit_distance,
)
from priors.errors import InputError


def likelihoods(mean: float, seed: int, count: int = 400) -> torch.Tensor:
    return mean + 30 * torch.randn(count, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_nce_has_its_mean_and_error():
    values = likelihoods(-700.0, 0)
    found = negative_cross_entropy(values, 784)
    assert found.nats == pytest.approx(values.numpy().mean(), rel=1e-12)
    assert found.standard_error == pytest.approx(sem(values.numpy()), rel=1e-12)
    assert found.bits_per_dim == pytest.approx(-found.nats / 784 / math.log(2), rel=1e-12) and found.images == 400


def test_a_paired_difference_does_not_see_what_both_share():
    shared = likelihoods(-700.0, 0)
    noise = 0.1 * likelihoods(0.0, 1)
    found = paired_difference(shared + 2 + noise, shared)
    assert found.nats == pytest.approx(2 + float(noise.mean()), rel=1e-9)
    assert found.standard_error == pytest.approx(sem(noise.numpy()), rel=1e-6)
    assert found.standard_error < 0.2 * negative_cross_entropy(shared, 784).standard_error


def test_a_deeper_layer_cannot_tell_more():
    shared = likelihoods(-700.0, 0)
    layers = {"conv1": shared, "conv2": shared - 5, "fc3": shared - 3 + 0.01 * likelihoods(0, 2), "logits": shared - 9}
    (found,) = increases(layers)
    assert (found.shallower, found.deeper) == ("conv2", "fc3") and found.difference.nats == pytest.approx(2, abs=0.1)
    assert "NCE rises by 1.96 +- 0.01 nats" in str(found) and "if that is computed from conv2 alone" in str(found)
    assert not increases({"conv1": shared, "conv2": shared - 5, "logits": shared - 9})
    noise = likelihoods(0.0, 3)
    assert not increases({"conv1": shared, "conv2": shared + noise - noise.mean() + 0.5 * float(noise.std()) / 20})


def test_uniform_images():
    assert uniform_nats((1, 28, 28)) == pytest.approx(-784 * math.log(256))
    assert round(uniform_nats((3, 32, 32))) == -17035


@pytest.mark.parametrize("units", [(5,), (3, 2, 2)])
def test_the_nearest_are_scipys(units):
    torch.manual_seed(0)
    queries, candidates = torch.randn(4, *units), torch.randn(50, *units)
    flat = [tensor.flatten(1).double().numpy() for tensor in (queries, candidates)]
    expected = cdist(*flat, "cityblock") / flat[0].shape[1]
    order = np.argsort(expected, 1)[:, :6]
    found = nearest(queries, candidates, 6)
    assert found.index.tolist() == order.tolist()
    assert np.allclose(found.distance, np.take_along_axis(expected, order, 1), rtol=1e-5)
    parts = Nearest(queries, 6)
    for part in candidates.split([3, 40, 7]):
        parts.add(part)
    assert torch.equal(parts.found().index, found.index) and torch.equal(parts.found().distance, found.distance)
    assert torch.allclose(
        unit_distance(queries[:1].expand(50, *units), candidates), torch.from_numpy(expected[0]).float()
    )


def test_what_does_not_fit_is_refused():
    values = likelihoods(-700.0, 0)
    for call, said in (
        (lambda: negative_cross_entropy(values[:1], 784), "of 1 image: a standard error needs 2"),
        (
            lambda: negative_cross_entropy(values.index_fill(0, torch.tensor([3]), math.inf), 4),
            "1 of 400 images are not",
        ),
        (lambda: paired_difference(values, values[:4]), "of 400 and of 4 images"),
        (lambda: nearest(torch.zeros(1, 3), torch.zeros(4, 5), 1), "of 3 and 5 units"),
        (lambda: nearest(torch.zeros(1, 3), torch.zeros(4, 3), 5), "the 5 nearest of 4"),
        (lambda: Nearest(torch.zeros(1, 3), 5).found(), "the 5 nearest of 0"),
        (lambda: unit_distance(torch.zeros(1, 3), torch.zeros(2, 3)), r"\(1, 3\) and \(2, 3\)"),
    ):
        with pytest.raises(InputError, match=said):
            call()
