"""The law of the cosine against quadrature in many digits, SciPy's distributions and closed forms."""

import math
from itertools import pairwise

import mpmath
import numpy as np
import pytest
import torch
from scipy import special, stats

from priors import ClassifierPrior, VonMisesFisher
from priors.errors import InputError
from priors.fit.goodness_of_fit import cosine_cdf, cosine_fits, kolmogorov_smirnov
from priors.vmf.maximum_likelihood import solve_concentration


def by_mpmath(m: int, kappa: float) -> tuple[list[float], list[float]]:
    """Angles from 0 to pi, and the probability of a larger angle for each."""
    # Panels half as wide as a standard deviation of the angle where it is, a few where it hardly ever is.
    deviation = 1 / math.sqrt(m - 1 + kappa)
    middle = math.atan2(math.sqrt(m - 2), math.sqrt(kappa)) if kappa > m else math.pi / 2
    near = middle + deviation * np.linspace(-16, 16, 65) if kappa > m else np.linspace(0, math.pi, 65 + m // 4)
    angles = sorted({0.0, math.pi, *(float(angle) for angle in near if 0 < angle < math.pi)})
    with mpmath.workdps(25):

        def density(t):
            return mpmath.sin(t) ** (m - 2) * mpmath.exp(kappa * (mpmath.cos(t) - 1))

        panels = pairwise(map(mpmath.mpf, angles))
        masses = [mpmath.quad(density, panel, method="gauss-legendre", maxdegree=4) for panel in panels]
        total = mpmath.fsum(masses)
        above = [float(mpmath.fsum(masses[number:]) / total) for number in range(len(angles))]
    return angles, above


@pytest.mark.parametrize("m", [2, 3, 5, 11, 128, 512])
@pytest.mark.parametrize("kappa", [0.0, 1e-3, 1.0, 30.0, 1e4])
def test_distribution_function_against_quadrature(m, kappa):
    angles, above = by_mpmath(m, kappa)
    versine = 2 * torch.tensor(angles, dtype=torch.float64).div(2).sin().square()
    found = cosine_cdf(versine, m, kappa)
    np.testing.assert_allclose(found, above, rtol=0, atol=1e-13)
    assert sum(0.01 < value < 0.99 for value in above) >= 3, "points where it matters"


def test_uniform_directions_have_a_beta_distributed_cosine():
    cosine = np.linspace(-1, 1, 101)
    for m in (2, 3, 7, 64):
        expected = special.betainc((m - 1) / 2, (m - 1) / 2, (1 + cosine) / 2)
        found = cosine_cdf(torch.tensor(1 - cosine), m, 0.0)
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-13)


@pytest.mark.parametrize("kappa", [1e-3, 2.0, 700.0, 1e12])
def test_space_in_closed_form(kappa):
    """In three dimensions the cosine is exponential, cut off: P(W <= w) = (e^(-k v) - e^(-2 k)) / (1 - e^(-2 k))."""
    versine = np.concatenate([[0], np.geomspace(1e-16, 2, 200)])
    expected = (np.exp(-kappa * versine) - math.exp(-2 * kappa)) / -math.expm1(-2 * kappa)
    np.testing.assert_allclose(cosine_cdf(torch.tensor(versine), 3, kappa), expected, rtol=0, atol=2e-13)


def test_circle_against_scipy():
    angle = np.linspace(0, math.pi, 50)
    for kappa in (0.5, 20.0):
        expected = 2 * (1 - stats.vonmises.cdf(angle, kappa))
        found = cosine_cdf(torch.tensor(2 * np.sin(angle / 2) ** 2), 2, kappa)
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-8)  # as good as SciPy's


def test_blocks_of_samples_make_no_difference():
    versine = torch.linspace(0, 2, 70_001, dtype=torch.float64)
    whole = cosine_cdf(versine, 11, 20.0)
    assert whole[[0, -1]].tolist() == [1, 0] and bool((whole.diff() <= 0).all())
    torch.testing.assert_close(cosine_cdf(versine[::7000], 11, 20.0), whole[::7000], rtol=0, atol=1e-15)
    assert cosine_cdf(versine[:0], 11, 20.0).shape == (0,)


@pytest.mark.parametrize("m", [2, 5, 64])
def test_statistic_against_scipy(m):
    stream = np.random.default_rng(0)
    versine = stream.beta(2, 5, 500)
    for kappa in (0.0, 8.0, 100.0):

        def cdf(cosine, kappa=kappa):
            return cosine_cdf(torch.tensor(1 - cosine), m, kappa).numpy()

        expected = stats.kstest(1 - versine, cdf).statistic
        assert kolmogorov_smirnov(torch.tensor(versine), m, kappa) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(("m", "kappa"), [(2, 3.0), (3, 0.5), (11, 20.0), (128, 80.0)])
def test_draws_of_another_sampler_fit_and_others_do_not(m, kappa):
    """SciPy's draws: the distance exceeds 2.3 / sqrt(n) once in 2e4 seeds, of which there are four here."""
    mu = np.eye(m)[0]
    draws = stats.vonmises_fisher(mu, kappa, seed=1).rvs(4000)
    versine = torch.tensor(0.5 * ((draws - mu) ** 2).sum(1))
    assert kolmogorov_smirnov(versine, m, kappa) < 2.3 / math.sqrt(4000)
    assert kolmogorov_smirnov(versine, m, 1.5 * kappa) > 2.3 / math.sqrt(4000)


def test_what_cannot_be_is_said():
    versine = torch.tensor([0.5])
    for m, kappa in ((1, 2.0), (3, -1.0), (3, math.inf), (3, math.nan)):
        with pytest.raises(InputError, match="were expected"):
            cosine_cdf(versine, m, kappa)
    with pytest.raises(InputError, match="no samples"):
        kolmogorov_smirnov(versine[:0], 3, 1.0)


def test_fits_of_classes():
    """Draws of known concentrations, times lengths that must not matter, against means taken by hand."""
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(4, 6, generator=generator, dtype=torch.float64)
    loc = torch.nn.functional.normalize(weight, dim=1)
    truth = torch.tensor([5.0, 50.0, 1e3, 1.0], dtype=torch.float64)
    count = 3000
    draws = VonMisesFisher(loc[:3], truth[:3]).sample((count,), generator)
    labels = torch.arange(3).expand(count, 3).flatten()
    activations = draws.flatten(0, 1) * torch.rand(3 * count, 1, generator=generator, dtype=torch.float64) * 100
    activations[0] = 0
    prior = ClassifierPrior.from_weight(weight, [5.0, 10.0, 1e3, 1.0])
    fits, pooled = cosine_fits(prior, activations, labels)
    assert [fit.samples for fit in fits] == [count - 1, count, count, 0] and pooled.samples == 3 * count - 1
    for number in range(3):
        own = draws[int(number == 0) :, number]
        cosine = float((own @ loc[number]).mean())
        assert fits[number].mean_cosine == pytest.approx(cosine, abs=1e-12)
        assert fits[number].resultant == pytest.approx(float(own.mean(0).norm()), abs=1e-12)
        assert fits[number].likeliest == pytest.approx(
            float(solve_concentration(torch.tensor(cosine, dtype=torch.float64), 6)), rel=1e-9
        )
        # A standard error of kappa is 1 / sqrt(n A'), below 2.6 % of it here; five of them.
        assert fits[number].likeliest == pytest.approx(float(truth[number]), rel=0.13)
        assert fits[number].likeliest_distance < 2.3 / math.sqrt(count)
    expected = special.ive(3, 10.0) / special.ive(2, 10.0)
    assert fits[1].expected_cosine == pytest.approx(expected, abs=1e-12)
    assert fits[1].distance > 0.3 > fits[0].distance
    assert (fits[3].mean_cosine, fits[3].distance, fits[3].likeliest) == (None, None, None)
    assert pooled.mean_cosine == pytest.approx(
        np.average([fit.mean_cosine for fit in fits[:3]], weights=[fit.samples for fit in fits[:3]])
    )


def test_activations_along_their_weight_have_no_likeliest_concentration():
    prior = ClassifierPrior.from_weight(torch.eye(2, dtype=torch.float64), 3)
    fits, _ = cosine_fits(prior, 7 * torch.eye(2, dtype=torch.float64), torch.tensor([0, 1]))
    assert fits[0].likeliest is None and fits[0].distance == pytest.approx(1) and fits[0].mean_cosine == 1
