"""Exponents by depth, against NumPy's polynomials and SciPy's distributions."""

import math

import numpy as np
import pytest
from scipy import stats

from analysis import depth_trend
from priors.errors import InputError


def series(layers: int = 12, seed: int = 0):
    draws = np.random.default_rng(seed)
    depth = np.sort(draws.choice(40, layers, replace=False)).astype(float)
    return depth, -1 - 0.1 * depth + 0.2 * draws.standard_normal(layers)


def test_the_line_its_interval_and_its_p_value():
    depth, exponent = series()
    found = depth_trend(depth.tolist(), exponent.tolist(), 0.9)
    slope, intercept = np.polyfit(depth, exponent, 1)
    left = exponent - slope * depth - intercept
    error = math.sqrt(left @ left / (len(depth) - 2) / ((depth - depth.mean()) ** 2).sum())
    assert found.slope == pytest.approx(slope) and found.intercept == pytest.approx(intercept)
    low, high = stats.t.interval(0.9, len(depth) - 2, slope, error)
    assert (found.lowest, found.highest) == (pytest.approx(low), pytest.approx(high))
    f = (slope / error) ** 2
    assert found.p_value == pytest.approx(stats.f.sf(f, 1, len(depth) - 2))
    assert found.r_squared == pytest.approx(np.corrcoef(depth, exponent)[0, 1] ** 2)
    assert found.layers == 12 and found.level == 0.9


def test_the_bend_is_tested_as_a_larger_model_is():
    depth, exponent = series(seed=1)
    squares = [
        float(((exponent - np.polyval(np.polyfit(depth, exponent, degree), depth)) ** 2).sum()) for degree in (1, 2)
    ]
    degrees = len(depth) - 3
    f = (squares[0] - squares[1]) / (squares[1] / degrees)
    assert depth_trend(depth.tolist(), exponent.tolist()).curvature_p_value == pytest.approx(
        stats.f.sf(f, 1, degrees), rel=1e-6
    )
    assert depth_trend(depth.tolist(), (exponent + 0.02 * (depth - 20) ** 2).tolist()).curvature_p_value < 1e-6
    assert math.isnan(depth_trend([1, 2, 3], [-1.0, -2.0, -4.0]).curvature_p_value)


def test_intervals_hold_the_slope_as_often_as_they_say():
    # 400 series; of a right interval 380 +- 4.4 would: below 362 or above 398 happens once in 20,000 times.
    found = [depth_trend(*(part.tolist() for part in series(seed=seed))) for seed in range(400)]
    held = sum(one.lowest <= -0.1 <= one.highest for one in found)
    assert 362 <= held <= 398


@pytest.mark.parametrize(
    ("depths", "exponents", "level", "said"),
    [
        ([1, 2], [-1.0, -2.0], 0.95, "2 depths"),
        ([1, 2, 3], [-1.0, -2.0], 0.95, "as many of each"),
        ([2, 2, 2], [-1.0, -2.0, -3.0], 0.95, "more than one depth"),
        ([1, 2, 3], [-1.0, float("nan"), -3.0], 0.95, "finite"),
        ([1, 2, 3], [-1.0, -2.0, -3.0], 1.0, "between 0 and 1"),
    ],
)
def test_what_is_no_series_is_refused(depths, exponents, level, said):
    with pytest.raises(InputError, match=said):
        depth_trend(depths, exponents, level)
