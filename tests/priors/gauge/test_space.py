"""Spaces of activations: they change no logit, whiten what they should, and shrink as scikit-learn does."""

import numpy as np
import pytest
import torch
from sklearn import covariance
from torch.nn.functional import linear

from priors import InputError
from priors.gauge.moments import ActivationMoments
from priors.gauge.space import Space, fit_space, oracle_approximating_shrinkage, shrunk

NAMES = ("a", "b", "c")


def images(n=600, m=6, seed=0):
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(n) % 3
    mix = torch.randn(m, m, generator=generator, dtype=torch.float64)
    centres = 5 * torch.randn(3, m, generator=generator, dtype=torch.float64)
    return centres[labels] + torch.randn(n, m, generator=generator, dtype=torch.float64) @ mix, labels


def moments(activations, labels):
    return ActivationMoments.none(3, activations.shape[1]).add(activations, labels)


@pytest.mark.parametrize("name", ["raw", "centred", "whitened"])
@pytest.mark.parametrize("bias", [True, False])
def test_no_logit_changes(name, bias):
    activations, labels = images()
    space = fit_space(name, moments(activations, labels), NAMES)
    generator = torch.Generator().manual_seed(1)
    weight = torch.randn(3, 6, generator=generator, dtype=torch.float64)
    given = torch.randn(3, generator=generator, dtype=torch.float64) if bias else None
    there = linear(space.bring(activations), space.rows(weight), space.bias(weight, given))
    assert torch.allclose(there, linear(activations, weight, given), rtol=1e-12, atol=1e-12)
    assert torch.allclose(space.back(space.bring(activations)), activations, rtol=1e-12, atol=1e-12)
    vectors = activations.reshape(2, 10, 30, 6)
    assert torch.allclose(space.bring(vectors).reshape(-1, 6), space.bring(activations))
    assert torch.allclose(space.back(vectors).reshape(-1, 6), space.back(activations))
    assert torch.allclose(space.bring(activations[0]), space.bring(activations)[0])


def test_whitened_activations_spread_alike_within_classes():
    activations, labels = images(n=60_000)
    space = fit_space("whitened", moments(activations, labels), NAMES)
    after = moments(space.bring(activations), labels)
    assert space.shrinkage < 1e-3
    assert torch.allclose(after.scatter / after.freedom, torch.eye(6, dtype=torch.float64), atol=0.01)
    assert torch.allclose(after.centre, torch.zeros(6, dtype=torch.float64), atol=1e-10)
    one = torch.eye(6, dtype=torch.float64)
    volume = torch.linalg.slogdet(space.bring(one) - space.bring(0 * one)).logabsdet
    assert space.log_volume == pytest.approx(float(volume), rel=1e-10)


@pytest.mark.parametrize(("n", "m"), [(20, 5), (8, 30), (400, 3), (2, 2)])
def test_shrinkage_is_scikit_learns(n, m):
    rows = np.random.default_rng(n).normal(size=(n, m)) @ np.diag(np.arange(1, m + 1))
    expected, part = covariance.oas(rows)
    given = torch.from_numpy(covariance.empirical_covariance(rows))
    found = oracle_approximating_shrinkage(given, n)
    assert found == pytest.approx(part, rel=1e-12)
    assert np.allclose(shrunk(given, found), expected, rtol=1e-12)


def test_fewer_images_than_dimensions_and_dead_units():
    """The covariance has no inverse; what is put in its place has, and says how much of it is not measured."""
    activations, labels = images(n=12, m=40)
    activations[:, 7] = 0
    space = fit_space("whitened", moments(activations, labels), NAMES)
    assert 0.05 < space.shrinkage <= 1
    assert torch.allclose(space.back(space.bring(activations)), activations, atol=1e-9)


def test_images_of_one_direction_only():
    """All differ along one line: the shrinkage is what keeps the rest from being divided by 0."""
    activations = torch.arange(30.0, dtype=torch.float64)[:, None] * torch.ones(4, dtype=torch.float64)
    space = fit_space("whitened", moments(activations, torch.arange(30) % 3), NAMES)
    assert bool(space.bring(activations).isfinite().all())


@pytest.mark.parametrize(
    ("name", "given", "said"),
    [
        ("whitend", None, "unknown space 'whitend': did you mean 'whitened'"),
        ("centred", None, "'centred' is measured on activations of images: there are none"),
        ("whitened", ActivationMoments.none(3, 4), "there are none"),
        ("whitened", moments(torch.ones(3, 4), torch.arange(3)), "two images of a class, or more, that differ"),
        ("whitened", moments(torch.ones(9, 4), torch.arange(9) % 3), "two images of a class, or more, that differ"),
        ("centred", moments(torch.full((3, 4), float("inf")), torch.arange(3)), "class 'a' have values that are not"),
    ],
    ids=["no name", "no moments", "no images", "one a class", "all equal", "infinite"],
)
def test_what_cannot_be_measured_is_said(name, given, said):
    with pytest.raises(InputError, match=said):
        fit_space(name, given, NAMES)


def test_the_raw_space_is_the_papers():
    space = fit_space("raw", None, NAMES)
    assert space == Space() and space.log_volume == 0
    given = torch.randn(3, 4)
    assert space.bring(given) is given and space.rows(given) is given and space.bias(given, None) is None
