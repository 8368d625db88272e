"""Information under added noise: a double loop, quadrature, SciPy's densities, and closed forms."""

import math

import numpy as np
import pytest
import torch
from scipy.integrate import quad
from scipy.spatial.distance import cdist
from scipy.special import logsumexp
from scipy.stats import multivariate_normal, sem

from analysis.inversion import rows
from analysis.inversion.added_noise import density_bound, noise_bounds
from priors.errors import InputError

VARIANCES = [1e-3, 0.05, 1.0, 30.0]


def normal(n, units, seed=0, deviation=1.0):
    return deviation * torch.randn(n, units, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_a_double_loop_agrees():
    h = normal(23, 4)
    for found, variance in zip(noise_bounds(h, VARIANCES), VARIANCES, strict=True):
        assert (found.images, found.units, found.variance) == (23, 4, variance) and found.ceiling == math.log(23)
        for bound, times in ((found.lower, 8), (found.upper, 2)):
            total = 0.0
            for a in h.tolist():
                kernels = [math.exp(-(math.dist(a, b) ** 2) / (times * variance)) for b in h.tolist()]
                total -= math.log(sum(kernels) / 23) / 23
            assert bound == pytest.approx(total, rel=1e-12, abs=1e-14)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_blocks_change_nothing(dtype, monkeypatch):
    """SciPy sees all rows at once."""
    monkeypatch.setattr(rows, "_ROWS", 100)
    h = (normal(330, 6, seed=1) + 2).to(dtype)
    squared = cdist(h.double().numpy(), h.double().numpy(), "sqeuclidean")
    for found, variance in zip(noise_bounds(h, VARIANCES), VARIANCES, strict=True):
        lower, upper = (math.log(330) - logsumexp(-squared / (times * variance), axis=1).mean() for times in (8, 2))
        assert found.lower == pytest.approx(lower, rel=1e-12, abs=1e-13)
        assert found.upper == pytest.approx(upper, rel=1e-12, abs=1e-13)
    assert noise_bounds(h, VARIANCES[1:2]) == noise_bounds(h, VARIANCES)[1:2]


@pytest.mark.parametrize("variance", [0.01, 0.1, 0.5, 2.0, 50.0])
def test_the_information_lies_between(variance):
    """Of five points on a line, whose mixture's entropy is an integral."""
    points = torch.tensor([[-2.0], [-1.5], [0.0], [0.3], [4.0]])
    centres = points.double().numpy()[:, 0]

    def minus_p_log_p(t):
        log_p = logsumexp(-((t - centres) ** 2) / (2 * variance)) - math.log(5 * math.sqrt(2 * math.pi * variance))
        return -math.exp(log_p) * log_p

    wide = 12 * math.sqrt(variance)
    entropy = quad(minus_p_log_p, -2 - wide, 4 + wide, points=sorted(centres), limit=400, epsabs=1e-10)[0]
    information = entropy - math.log(2 * math.pi * math.e * variance) / 2
    (found,) = noise_bounds(points, [variance])
    assert found.lower - 1e-9 <= information <= found.upper + 1e-9
    assert found.lower < found.upper <= math.log(5)


def test_groups_far_apart_count_as_many_points():
    """Eight groups of 40, tight beside the noise and far apart beside it: log 8."""
    places = 1000 * torch.randn(8, 1, 20, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    h = (places + 1e-5 * normal(320, 20).view(8, 40, 20)).flatten(0, 1)
    (found,) = noise_bounds(h, [1.0])
    assert found.lower == pytest.approx(math.log(8), abs=1e-7) and found.upper == pytest.approx(math.log(8), abs=1e-7)


@pytest.mark.parametrize(("variance", "share"), [(1e-12, 1.0), (1e12, 0.0)])
def test_little_noise_saturates_at_log_n_and_much_leaves_nothing(variance, share):
    (found,) = noise_bounds(normal(300, 10), [variance])
    for bound in (found.lower, found.upper):
        assert bound == pytest.approx(share * found.ceiling, abs=1e-9)


def test_a_gaussian_gives_the_limits_of_many_images():
    """For h ~ N(0, s^2 I): the inner sum becomes a Gaussian integral, v = variance, or 4 times it for the lower bound:

        D/2 (log(1 + s^2/v) + s^2/(s^2 + v)).

    The mean over 3,000 images has a deviation of sqrt(D/2/3000) = .018; five of them: it fails once in 1.7 million.
    """
    s, variance, units = 2.0, 0.5, 2
    (found,) = noise_bounds(normal(3000, units, seed=3, deviation=s), [variance])
    for bound, v in ((found.lower, 4 * variance), (found.upper, variance)):
        limit = units / 2 * (math.log1p(s**2 / v) + s**2 / (s**2 + v))
        assert bound == pytest.approx(limit, abs=0.09)
    assert found.lower < units / 2 * math.log1p(s**2 / variance) < found.upper


def test_images_of_any_shape_are_rows():
    h = normal(12, 24)
    assert noise_bounds(h.view(12, 2, 3, 4), [0.3]) == noise_bounds(h, [0.3])
    assert noise_bounds(h.requires_grad_(), [0.3]) == noise_bounds(h.detach(), [0.3])


@pytest.mark.parametrize("bandwidth", [0.02, 0.5])
def test_the_density_is_scipys(bandwidth):
    """With next to no noise, the score is that of the activations themselves; both sets are two blocks."""
    fitted, held_out, variance = normal(1200, 3, seed=4), normal(1100, 3, seed=5), 1e-18
    found = density_bound(fitted, held_out, variance, bandwidth=bandwidth, generator=torch.Generator().manual_seed(6))
    kernel = multivariate_normal(np.zeros(3), bandwidth)
    scores = logsumexp(kernel.logpdf(held_out.numpy()[:, None] - fitted.numpy()), axis=1) - math.log(1200)
    noise = 3 / 2 * math.log(2 * math.pi * math.e * variance)
    assert found.upper == pytest.approx(-scores.mean() - noise, abs=1e-6)
    assert found.error == pytest.approx(sem(scores), rel=1e-6)
    assert (found.fitted, found.images, found.units, found.bandwidth) == (1200, 1100, 3, bandwidth)


@pytest.mark.parametrize("bandwidth", [None, 0.3, 2.0])
def test_a_density_bounds_the_information_of_a_gaussian(bandwidth):
    """h ~ N(0, s^2): I = 1/2 log(1 + s^2/v); the bound's limit adds KL(N(0, s^2 + v) || N(0, s^2 + bandwidth)).

    Tolerance: five standard errors of 2,000 images (.02 each), and as much for the kernels' own error.
    """
    s, variance = 1.5, 0.3
    generator = torch.Generator().manual_seed(7)
    found = density_bound(
        normal(2000, 1, 8, s), normal(2000, 1, 9, s), variance, bandwidth=bandwidth, generator=generator
    )
    b = variance if bandwidth is None else bandwidth
    ratio = (s**2 + variance) / (s**2 + b)
    limit = (math.log1p(s**2 / variance) + ratio - 1 - math.log(ratio)) / 2
    assert found.upper == pytest.approx(limit, abs=10 * found.error) and found.error < 0.02
    assert found.upper > math.log1p(s**2 / variance) / 2 - 5 * found.error
    assert found.bandwidth == b


def test_in_many_dimensions_a_density_bounds_nothing():
    """200 Gaussian units and noise of a tenth of their deviation: I is 461 nats, and the bound over ten times that.

    The pairwise bounds of as many images stop at log 500 = 6.2 nats.
    """
    h, variance = normal(1000, 200, seed=10), 0.01
    information = 100 * math.log1p(1 / variance)
    found = density_bound(h[:500], h[500:], variance, generator=torch.Generator().manual_seed(11))
    assert found.upper > 10 * information
    (bounds,) = noise_bounds(h[500:], [variance])
    assert bounds.lower == pytest.approx(math.log(500)) and bounds.upper == pytest.approx(math.log(500))


def test_noise_is_the_generators():
    fitted, held_out = normal(30, 5), normal(20, 5, seed=1)
    first, again, other = (
        density_bound(fitted, held_out, 0.5, generator=torch.Generator().manual_seed(seed)) for seed in (1, 1, 2)
    )
    assert first == again and first.upper != other.upper


@pytest.mark.parametrize(
    ("activations", "variance", "said"),
    [
        (torch.zeros(0, 3), 1.0, r"shape \(0, 3\): \(images, units\) was expected, with 2 or more images"),
        (torch.zeros(1, 3), 1.0, r"shape \(1, 3\)"),
        (torch.zeros(4, 0), 1.0, r"shape \(4, 0\)"),
        (torch.zeros(4), 1.0, r"shape \(4,\)"),
        (torch.tensor([[1.0], [math.nan]]), 1.0, "not finite"),
        (torch.tensor([[1.0], [math.inf]]), 1.0, "not finite"),
        (torch.eye(3), 0.0, "variance is 0.0: a finite number above 0"),
        (torch.eye(3), -1.0, "variance is -1.0"),
        (torch.eye(3), math.nan, "variance is nan"),
        (torch.eye(3), math.inf, "variance is inf"),
    ],
)
def test_what_cannot_be_bounded_is_one_line(activations, variance, said):
    with pytest.raises(InputError, match=said):
        noise_bounds(activations, [1.0, variance])
    with pytest.raises(InputError, match=said):
        density_bound(torch.eye(3), activations, variance)
    with pytest.raises(InputError, match=said):
        density_bound(activations, torch.eye(3), variance)


def test_a_density_of_another_layer_is_refused():
    with pytest.raises(InputError, match="have 3 units: 4 were expected"):
        density_bound(torch.eye(4), torch.eye(3), 1.0)
    with pytest.raises(InputError, match="bandwidth is 0"):
        density_bound(torch.eye(3), torch.eye(3), 1.0, bandwidth=0.0)


def test_numbers_are_plain():
    (found,) = noise_bounds(torch.eye(3), [np.float64(0.5)])
    assert type(found.lower) is float and type(found.variance) is float and "log N" in found.caveat
