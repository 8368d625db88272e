"""Entropy by nearest neighbours: SciPy's trees and special functions, and entropies known in closed form."""

import math

import numpy as np
import pytest
import torch
from scipy.spatial import KDTree
from scipy.special import digamma, gammaln, polygamma
from scipy.stats import multivariate_normal

from analysis.inversion.neighbour_entropy import log_unit_ball, neighbour_distances, neighbour_entropies
from priors.errors import InputError


def normal(n, units, seed=0):
    return torch.randn(n, units, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("offset", [0.0, 0.01])
def test_scipy_agrees(dtype, offset):
    """1,100 rows are two blocks."""
    h = (normal(1100, 3) + 1).to(dtype)
    distances = KDTree(h.double().numpy()).query(h.double().numpy(), k=11)[0][:, 1:]
    np.testing.assert_allclose(neighbour_distances(h, 10).numpy(), distances, rtol=1e-9)
    for found, k in zip(neighbour_entropies(h, (1, 3, 10), offset=offset), (1, 3, 10), strict=True):
        expected = 3 * np.log(distances[:, k - 1] + offset).mean() + 1.5 * np.log(np.pi) - gammaln(2.5)
        assert found.entropy == pytest.approx(expected + digamma(1100) - digamma(k), abs=1e-9)
        assert (found.images, found.units, found.neighbours, found.offset) == (1100, 3, k, offset)
        assert found.variance is None and found.mutual_information is None and found.constant == 0


@pytest.mark.parametrize("k", [1, 4])
def test_few_rows_have_all_others_for_neighbours(k):
    h = normal(5, 2)
    found = neighbour_distances(h, k)
    for row in range(5):
        others = sorted(math.dist(h[row].tolist(), h[other].tolist()) for other in range(5) if other != row)
        assert found[row].tolist() == pytest.approx(others[:k])
    assert len(neighbour_entropies(h, (k,))) == 1


@pytest.mark.parametrize("units", [1, 2, 4])
def test_the_entropy_of_a_gaussian(units):
    """The deviation is about sqrt((psi'(k) + D/2) / N), .03 to .04 here: tolerance five of them and .03 of bias.

    One in 1.7 million would fail for chance; the seed is fixed.
    """
    mix = normal(units, units, seed=1)
    expected = multivariate_normal(np.zeros(units), (mix.T @ mix).numpy()).entropy()
    for found in neighbour_entropies(normal(2000, units, seed=2) @ mix, (1, 3, 10)):
        deviation = math.sqrt((polygamma(1, found.neighbours) + units / 2) / 2000)
        assert found.entropy == pytest.approx(expected, abs=5 * deviation + 0.03)


def test_the_entropy_of_uniform_and_exponential_units():
    """log of the length, and 1 + log of the mean; deviations of .014 and .026 (k = 3), tolerance five of them."""
    uniform = torch.rand(2000, 1, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    assert neighbour_entropies(7 * uniform, (3,))[0].entropy == pytest.approx(math.log(7), abs=0.07)
    stream = torch.Generator().manual_seed(4)
    exponential = torch.empty(2000, 1, dtype=torch.float64).exponential_(generator=stream)
    assert neighbour_entropies(0.2 * exponential, (3,))[0].entropy == pytest.approx(1 + math.log(0.2), abs=0.13)


def test_scaling_and_turning():
    h = normal(400, 5, seed=5)
    turn = torch.linalg.qr(normal(5, 5, seed=6))[0]
    (plain,), (scaled,), (turned,) = (neighbour_entropies(x, (2,)) for x in (h, 1e-3 * h, h @ turn + 10))
    assert scaled.entropy == pytest.approx(plain.entropy + 5 * math.log(1e-3), abs=1e-9)
    assert turned.entropy == pytest.approx(plain.entropy, abs=1e-9)


def test_information_under_noise():
    """h ~ N(0, s^2 I): D/2 log(1 + s^2/variance), within five deviations of sqrt((psi'(k) + D/2) / N) and .03."""
    h, variance = 2 * normal(2000, 2, seed=7), 0.1
    generator = torch.Generator().manual_seed(8)
    (found,) = neighbour_entropies(h, (3,), variance=variance, generator=generator)
    assert found.mutual_information == pytest.approx(math.log1p(4 / variance), abs=5 * math.sqrt(1.4 / 2000) + 0.03)
    assert found.entropy - found.mutual_information == pytest.approx(math.log(2 * math.pi * math.e * variance))
    assert found.variance == variance


def test_noise_is_the_generators_and_leaves_activations_alone():
    h = normal(50, 3)
    kept = h.clone()
    first, again, other = (
        neighbour_entropies(h, (1,), variance=1.0, generator=torch.Generator().manual_seed(seed)) for seed in (1, 1, 2)
    )
    assert first == again and first != other and torch.equal(h, kept)


def test_equal_images_are_refused_without_an_offset_and_count_by_it():
    h = normal(6, 2)
    h[3] = h[0]
    with pytest.raises(InputError, match="2 of 6 images have neighbour 1 at distance 0"):
        neighbour_entropies(h, (2, 1))
    (found,) = neighbour_entropies(h, (2,))
    assert math.isfinite(found.entropy), "the second neighbours are apart"
    small, smaller = (neighbour_entropies(h, (1,), offset=offset)[0].entropy for offset in (1e-9, 1e-12))
    assert small - smaller == pytest.approx(2 / 6 * 2 * math.log(1000), abs=1e-6)
    (noisy,) = neighbour_entropies(h, (1,), variance=0.1, generator=torch.Generator().manual_seed(0))
    assert math.isfinite(noisy.mutual_information)


def test_more_images_of_a_discrete_kind_have_less_and_less_entropy():
    """On a lattice of 64x64 points; uniform between them it is log 1 = 0, within .2 whatever the number of images."""
    stream = torch.Generator().manual_seed(9)
    lattice, uniform = [], []
    for n in (100, 1000, 2500):
        points = torch.rand(n, 2, generator=stream, dtype=torch.float64)
        uniform.append(neighbour_entropies(points, (3,))[0].entropy)
        lattice.append(neighbour_entropies((64 * points).floor() / 64, (1,), offset=1e-6)[0].entropy)
    assert lattice[0] > lattice[1] + 2 and lattice[1] > lattice[2] + 3
    assert max(map(abs, uniform)) < 0.2


def test_units_that_are_constant_are_counted():
    h = normal(20, 4)
    h[:, 1:3] = 2
    assert neighbour_entropies(h)[0].constant == 2
    (noisy,) = neighbour_entropies(h, (1,), variance=0.5, generator=torch.Generator().manual_seed(0))
    assert noisy.constant == 2, "of the activations, before the noise"


@pytest.mark.parametrize(("units", "volume"), [(1, 2.0), (2, math.pi), (3, 4 / 3 * math.pi), (4, math.pi**2 / 2)])
def test_the_volume_of_the_ball(units, volume):
    assert math.exp(log_unit_ball(units)) == pytest.approx(volume)


@pytest.mark.parametrize(
    ("activations", "settings", "said"),
    [
        (torch.zeros(0, 3), {}, r"shape \(0, 3\)"),
        (torch.zeros(1, 3), {}, r"shape \(1, 3\)"),
        (torch.tensor([[0.0], [math.nan]]), {}, "not finite"),
        (torch.eye(3), {"neighbours": (1, 3)}, "k is 3: 1 to 2 was expected, for 3 images"),
        (torch.eye(3), {"neighbours": (0,)}, "k is 0"),
        (torch.eye(3), {"neighbours": (1,), "variance": 0.0}, "variance is 0.0"),
        (torch.eye(3), {"neighbours": (1,), "offset": -1.0}, "offset is -1.0"),
        (torch.zeros(4, 2), {"neighbours": (1,)}, "4 of 4 images have neighbour 1 at distance 0"),
    ],
)
def test_what_has_no_estimate_is_one_line(activations, settings, said):
    with pytest.raises(InputError, match=said):
        neighbour_entropies(activations, **settings)
