"""Exponents of spectra: fields of known ones, NumPy's and SciPy's fits, errors over repeated draws, pooled maps."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.optimize import curve_fit, minimize
from torch.nn.functional import avg_pool2d

from analysis.spectra.bias import exponent_bias
from analysis.spectra.convention import SPECTRUM_CONVENTIONS
from analysis.spectra.fields import power_law_fields
from analysis.spectra.likelihood import whittle
from analysis.spectra.moments import SpectrumMoments
from analysis.spectra.radial import radial_spectrum
from analysis.spectra.regression import regression_exponent
from priors.errors import InputError

POWER = SPECTRUM_CONVENTIONS["power"]
EXPONENTS = (-1.0, -2.0, -3.26)


def fields(n, exponent, seed=0, images=200, channels=1):
    source = torch.Generator().manual_seed(seed)
    return power_law_fields(images, (n, n), exponent, source, channels=channels)


def moments(maps, convention=POWER):
    return SpectrumMoments.none(tuple(maps.shape[2:]), convention).add(maps)


def regressed(maps, convention=POWER, fit_range=None):
    return regression_exponent(radial_spectrum(moments(maps, convention)), fit_range)


@pytest.mark.parametrize("exponent", EXPONENTS)
@pytest.mark.parametrize("n", [32, 64])
def test_exponents_of_200_fields(n, exponent):
    """Seed 1. Whittle's standard error is .007 at 32: |bias| <= .02 fails for about 1 of 200 seeds, at 64 for none.

    The regression's own bias, by Jensen's inequality within rings, is at most .022 at 32 and .01 at 64.
    """
    found = moments(fields(n, exponent, 1))
    assert abs(whittle(found).exponent - exponent) <= 0.02
    line = regression_exponent(radial_spectrum(found))
    assert abs(line.exponent - exponent) <= 0.022 + 2 * line.sampling_error


@pytest.mark.parametrize("n", [7, 8, pytest.param(5, marks=pytest.mark.slow), pytest.param(16, marks=pytest.mark.slow)])
def test_whittle_is_within_its_error_on_small_maps(n):
    """20 draws of 200 fields: their mean is within 3 of its standard errors (1 of 370 seeds fails), and the errors fit.

    Powers are the same noise times |k|^exponent, so that the error is the same for every exponent.
    """
    found = [whittle(moments(fields(n, -2.0, seed))) for seed in range(20)]
    off = np.array([one.exponent + 2 for one in found])
    assert abs(off.mean()) < 3 * found[0].fisher_error / np.sqrt(20)
    assert 0.6 < off.std(ddof=1) / found[0].fisher_error < 1.5  # chi-square of 19: outside for 1 of 500 seeds
    sandwich = np.mean([one.sandwich_error for one in found])
    assert sandwich == pytest.approx(found[0].fisher_error, rel=0.06)
    steep = whittle(moments(fields(n, -3.26, 0)))
    assert steep.exponent + 3.26 == pytest.approx(off[0], abs=1e-9)


def test_errors_over_images_know_that_channels_hang_together():
    """The same map in all four channels is one map: Fisher's error is half of the truth, the sandwich right."""
    one = fields(16, -2.0)
    alone, together = whittle(moments(one)), whittle(moments(one.expand(-1, 4, -1, -1)))
    assert together.exponent == pytest.approx(alone.exponent, abs=1e-9)
    assert together.sandwich_error == pytest.approx(alone.sandwich_error, rel=1e-6)
    assert together.fisher_error == pytest.approx(alone.fisher_error / 2)
    free = whittle(moments(fields(16, -2.0, channels=4)))
    assert free.sandwich_error == pytest.approx(free.fisher_error, rel=0.15)


def test_fields_are_what_they_are_said_to_be():
    maps = power_law_fields(4000, (8, 6), -1.5, torch.Generator().manual_seed(0))
    power = np.abs(np.fft.fft2(maps[:, 0].numpy())) ** 2 / 48
    k = np.hypot(np.fft.fftfreq(8)[:, None], np.fft.fftfreq(6))
    assert abs(power[:, 0, 0]).max() < 1e-20
    np.testing.assert_allclose(power.mean(0).flat[1:] * k.flat[1:] ** 1.5, 1, atol=0.1)  # 4 of its errors at most


@pytest.mark.parametrize("fit_range", [(0.0, 0.5), (0.1, 0.4)])
def test_whittle_is_scipys_maximum_of_the_full_likelihood(fit_range):
    maps = fields(9, -1.7, images=30)
    power = np.abs(np.fft.fft2(maps[:, 0].numpy())) ** 2 / 81
    k = np.hypot(np.fft.fftfreq(9)[:, None], np.fft.fftfreq(9))
    inside = (k > 0) & (k < 0.5) & (k >= fit_range[0]) & (k <= fit_range[1])
    power, k = power[:, inside], k[inside]

    def loss(at):
        expected = np.exp(at[0]) * k ** at[1]
        return (np.log(expected) + power / expected).sum(1).mean()

    best = minimize(loss, [0.0, -1.0], method="BFGS", options={"gtol": 1e-9}).x
    found = whittle(moments(maps), fit_range)
    assert (found.log_scale, found.exponent) == pytest.approx(best, abs=1e-5)
    assert found.frequencies == inside.sum() and found.convention.fit_range == fit_range
    # The sandwich from each image's own scores, without groups.
    g = np.stack([np.ones_like(k), np.log(k)], 1)
    ratio = power / (np.exp(best[0]) * k ** best[1])
    scores, bread = (ratio - 1) @ g, (g * ratio.mean(0)[:, None]).T @ g
    expected = np.sqrt((np.linalg.inv(bread) @ np.cov(scores.T) @ np.linalg.inv(bread))[1, 1] / 30)
    assert found.sandwich_error == pytest.approx(expected, rel=5e-3)


@pytest.mark.parametrize("weights", ["count", "equal"])
@pytest.mark.parametrize("quantity", ["power", "amplitude", "log"])
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_the_line_is_numpys(weights, quantity, reduction):
    maps = fields(16, -2.0, images=40)
    convention = replace(POWER, fit_weights=weights, quantity=quantity, reduction=reduction)
    spectrum = radial_spectrum(moments(maps, convention))
    x, y, count = (one[:8].numpy() for one in (spectrum.frequency.log(), spectrum.value, spectrum.count))
    y = y if quantity == "log" else np.log(y)
    own = np.sqrt(count) if weights == "count" else np.ones(8)
    line, covariance = np.polyfit(x, y, 1, w=own, cov=True)
    found = regression_exponent(spectrum)
    assert (found.exponent, found.log_scale) == pytest.approx(tuple(line), rel=1e-9)
    assert found.standard_error == pytest.approx(np.sqrt(covariance[0, 0]), rel=1e-9)
    assert (found.rings, found.lowest, found.highest) == (8, 1 / 16, 0.5)
    assert found.power_exponent == pytest.approx(-2, abs=0.2 if reduction == "mean" else 0.4)


def test_the_curve_is_scipys():
    """Dzanic's fit: least squares of amplitudes, whose exponent is half of a power's."""
    maps = fields(64, -2.0, images=20)
    spectrum = radial_spectrum(moments(maps, SPECTRUM_CONVENTIONS["dzanic"]))
    inside = spectrum.ring >= 0.85 * 0.5**0.5
    x, y = spectrum.frequency[inside].numpy(), spectrum.value[inside].numpy()
    best, covariance = curve_fit(lambda k, log_c, a: np.exp(log_c) * k**a, x, y, p0=[0.0, -1.0])
    found = regression_exponent(spectrum)
    assert (found.log_scale, found.exponent) == pytest.approx(tuple(best), rel=1e-5)
    assert found.standard_error == pytest.approx(np.sqrt(covariance[1, 1]), rel=1e-4)
    assert found.power_exponent == 2 * found.exponent == pytest.approx(-2, abs=0.3)


@pytest.mark.parametrize(
    "quantity", ["power", *(pytest.param(one, marks=pytest.mark.slow) for one in ("amplitude", "log"))]
)
def test_the_error_over_images_is_that_of_repeated_draws(quantity):
    """60 draws of 50 fields: a standard deviation is within 30 % of the truth but for 1 of 500 seeds."""
    convention = replace(POWER, quantity=quantity)
    found = [regressed(fields(12, -2.0, seed, images=50), convention) for seed in range(60)]
    spread = np.std([one.exponent for one in found], ddof=1)
    assert np.mean([one.sampling_error for one in found]) == pytest.approx(spread, rel=0.3)


def test_average_pooling_leaves_the_universal_part():
    """Pooled 2x2, fields keep their exponent where frequencies are low; high ones lose what pooling takes."""
    maps = fields(64, -2.0, images=100)
    pooled = avg_pool2d(maps, 2)
    low = (0.0, 0.1)
    before, after = whittle(moments(maps), low), whittle(moments(pooled), low)
    assert after.exponent == pytest.approx(-2, abs=0.12) and before.exponent == pytest.approx(-2, abs=0.06)
    # At each frequency: the power of white blocks' means, in pixels twice as large.
    spectra = [radial_spectrum(moments(one)) for one in (maps, pooled)]
    ratio = spectra[1].value[:3] / spectra[0].value[:3]
    torch.testing.assert_close(ratio, torch.full_like(ratio, 0.25), rtol=0.03, atol=0)


def test_the_bias_that_is_measured_is_the_one_by_jensen():
    """Of mean power over a ring at its mean log |k|, with no noise: .03 at 8 pixels for an exponent of -2."""
    found = exponent_bias((8, 8), -2.0)
    assert abs(found.regression + 0.0305) < 3 * found.regression_error
    assert abs(found.whittle) < 3 * found.whittle_error and found.fields == 200
    assert found == exponent_bias((8, 8), -2.0)
    small = exponent_bias((7, 7), -2.0, SPECTRUM_CONVENTIONS["paper"])
    assert np.isnan(small.regression) and abs(small.whittle) < 3 * small.whittle_error


def test_one_image_has_an_exponent_without_an_error_over_images():
    found, line = whittle(moments(fields(32, -2.0, images=1))), regressed(fields(32, -2.0, images=1))
    assert found.exponent == pytest.approx(-2, abs=4 * found.fisher_error)
    assert np.isnan(found.sandwich_error) and np.isnan(line.sampling_error) and line.standard_error > 0


def test_maps_without_an_exponent_say_why():
    constant = torch.full((3, 2, 8, 8), 0.3)
    wave = torch.tensor([1.0, 0.0, -1.0, 0.0]).repeat(2).expand(2, 1, 8, 8)  # exactly one frequency
    for call in (lambda: regressed(constant), lambda: whittle(moments(constant))):
        with pytest.raises(InputError, match="constant"):
            call()
    with pytest.raises(InputError, match="3 rings between .*whittle"):
        regressed(fields(7, -2.0))
    with pytest.raises(InputError, match="4 or more"):
        regressed(fields(32, -2.0), fit_range=(0.4, 0.45))
    with pytest.raises(InputError, match="fewer than two lengths"):
        whittle(moments(fields(8, -2.0)), (0.124, 0.126))
    with pytest.raises(InputError, match="one end"):
        whittle(moments(wave))
    with pytest.raises(InputError, match="no power at 0.125 cycles"):
        regressed(wave)
    for name in ("durall", "dzanic", "stylegan3"):
        with pytest.raises(InputError, match="another quantity than power, or pads"):
            whittle(moments(fields(8, -2.0), SPECTRUM_CONVENTIONS[name]))


def test_fields_that_cannot_be_drawn(as_a_user):
    for given in ((0, (8, 8), -2.0), (2, (0, 8), -2.0), (2, (8, 8), float("nan"))):
        with pytest.raises(InputError, match="cannot be drawn"):
            power_law_fields(*given)
    with pytest.raises(InputError, match="2 or more"):
        exponent_bias((8, 8), -2.0, fields=1)


@pytest.mark.parametrize("seed", range(6))
def test_images_that_are_one_and_the_same_have_no_spread(seed):
    """As of a network that has hardly been trained; what is left of the variance is rounding, of either sign."""
    one = power_law_fields(1, (8, 8), -2.0, torch.Generator().manual_seed(seed))
    found = whittle(SpectrumMoments.none((8, 8)).add(one.repeat(20, 1, 1, 1)))
    assert 0 <= found.sandwich_error < 1e-7 < found.fisher_error
