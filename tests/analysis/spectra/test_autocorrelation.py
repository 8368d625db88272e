"""Correlations by distance: pixel pairs counted one by one, and equation 2."""

import math

import numpy as np
import pytest
import torch

from analysis.spectra.autocorrelation import implied_autocorrelation, radial_autocorrelation
from analysis.spectra.convention import SPECTRUM_CONVENTIONS
from analysis.spectra.fields import power_law_fields
from analysis.spectra.moments import SpectrumMoments
from priors.errors import InputError


@pytest.mark.parametrize("shape", [(6, 6), (7, 5)], ids=str)
def test_pairs_of_pixels_one_by_one(shape):
    maps = torch.rand(3, 2, *shape, dtype=torch.float64)
    found = radial_autocorrelation(SpectrumMoments.none(shape).add(maps))
    centred = (maps - maps.mean((2, 3), keepdim=True)).numpy()
    sums = {}
    for dy in range(shape[0]):
        for dx in range(shape[1]):
            r = math.hypot(min(dy, shape[0] - dy), min(dx, shape[1] - dx))
            product = (centred * np.roll(centred, (dy, dx), (2, 3))).mean()
            sums.setdefault(math.floor(r + 0.5), []).append((r, product))
    assert len(found.value) == min(shape) // 2 + 1
    for place, (distance, value) in enumerate(zip(found.distance.tolist(), found.value.tolist(), strict=True)):
        r, product = np.mean(sums[place], axis=0)
        assert distance == pytest.approx(r) and value == pytest.approx(product / sums[0][0][1], abs=1e-12)


@pytest.mark.parametrize("exponent", [-1.0, -1.5, -2.5, -3.0])
def test_equation_2_between_pixels_and_the_map(exponent):
    """C_1 + C_2 r^-(2 + exponent) by least squares leaves under .2 % of the variance, and other powers more."""
    found = implied_autocorrelation(exponent, (512, 512))
    r, c = found.distance[4:40].numpy(), found.value[4:40].numpy()

    def left(power):
        design = np.stack([np.ones_like(r), r**power], 1)
        return (c - design @ np.linalg.lstsq(design, c, rcond=None)[0]).var() / c.var()

    assert left(-(2 + exponent)) < 0.002
    assert left(-(2 + exponent)) < min(left(-(2 + exponent) - 0.6), left(-(2 + exponent) + 0.6))


def test_what_an_exponent_implies_is_what_fields_of_it_have():
    fields = power_law_fields(400, (16, 16), -2.0, torch.Generator().manual_seed(0))
    found = radial_autocorrelation(SpectrumMoments.none((16, 16)).add(fields))
    implied = implied_autocorrelation(-2.0, (16, 16))
    torch.testing.assert_close(found.value, implied.value, rtol=0, atol=0.03)
    assert found.length == pytest.approx(implied.length, rel=0.05)


def test_steeper_spectra_reach_further():
    lengths = [implied_autocorrelation(exponent, (64, 64)).length for exponent in (0.0, -1.0, -2.0, -3.0, -4.0)]
    assert lengths == sorted(lengths) and lengths[0] == pytest.approx((1 - 1 / math.e) * 1.2, rel=0.1)


def test_maps_without_correlations_say_why(as_a_user):
    with pytest.raises(InputError, match="constant"):
        radial_autocorrelation(SpectrumMoments.none((8, 8)).add(torch.ones(2, 1, 8, 8)))
    with pytest.raises(InputError, match="pads"):
        padded = SpectrumMoments.none((8, 8), SPECTRUM_CONVENTIONS["stylegan3"])
        radial_autocorrelation(padded.add(torch.rand(2, 1, 8, 8)))
    with pytest.raises(InputError, match="finite"):
        implied_autocorrelation(math.nan, (8, 8))
    with pytest.raises(InputError, match="5x5"):
        implied_autocorrelation(-2.0, (4, 8))
