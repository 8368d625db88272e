"""Whether exponents fall along a line as maps lie deeper: a paper's claim, with what says how far it holds."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from priors.errors import InputError


@dataclass(frozen=True)
class DepthTrend:
    """exponent = intercept + slope depth, by least squares over layers.

    Attributes:
        layers: that the line goes through.
        intercept: exponent at depth 0.
        slope: change of the exponent a layer.
        level: confidence of the interval, such as 0.95.
        lowest: of the slope's interval by Student's t, were layers to scatter about a line independently.
        highest: of the same.
        p_value: of a slope at least as far from 0, were there none.
        r_squared: share of the exponents' variance that the line explains.
        curvature_p_value: of a bend at least as strong (a quadratic term), were there none; NaN of three layers.
    """

    layers: int
    intercept: float
    slope: float
    level: float
    lowest: float
    highest: float
    p_value: float
    r_squared: float
    curvature_p_value: float


def depth_trend(depths: Sequence[int] | Sequence[float], exponents: Sequence[float], level: float = 0.95) -> DepthTrend:
    """Fit a line to exponents by depth.

    Rotman and Wolf (2021) say that exponents change with depth at a linear rate. A small p-value of the slope says that
    they change; a small one of the curvature says that they do not do so along a line. Exponents count alike: over a
    data set their own errors are far below what layers scatter by. Neighbouring layers are no independent ones, so
    intervals are rather too narrow.

    Args:
        depths: of layers, such as the convolutions before each; not all the same.
        exponents: as many, finite.
        level: confidence of the slope's interval, between 0 and 1.

    Raises:
        InputError: fewer than three layers, another number of exponents, all of one depth, or numbers that are not
            finite.

    Example:
        >>> found = depth_trend([1, 2, 3, 4, 5], [-1.0, -1.3, -1.4, -1.9, -2.0])
        >>> round(found.slope, 3), round(found.lowest, 2), round(found.highest, 2)
        (-0.26, -0.36, -0.16)
    """
    x, y = [float(one) for one in depths], [float(one) for one in exponents]
    if len(x) != len(y) or len(x) < 3:
        raise InputError(f"{len(x)} depths and {len(y)} exponents: three or more were expected, as many of each")
    if not all(map(math.isfinite, (*x, *y))) or min(x) == max(x):
        raise InputError("finite exponents at more than one depth were expected for a line")
    if not 0 < level < 1:
        raise InputError(f"level is {level}: a number between 0 and 1 was expected")
    from scipy import stats  # takes half a second

    line = stats.linregress(x, y)
    half = float(stats.t.ppf(0.5 + level / 2, len(x) - 2)) * float(line.stderr)
    slope = float(line.slope)
    return DepthTrend(
        layers=len(x),
        intercept=float(line.intercept),
        slope=slope,
        level=level,
        lowest=slope - half,
        highest=slope + half,
        p_value=float(line.pvalue),
        r_squared=float(line.rvalue) ** 2,
        curvature_p_value=_bend(x, y),
    )


def _bend(x: Sequence[float], y: Sequence[float]) -> float:
    """The p-value of a quadratic term beside the line."""
    import numpy as np
    from scipy import stats

    degrees = len(x) - 3
    if degrees < 1 or len(set(x)) < 3:
        return math.nan
    centred = np.asarray(x) - np.mean(x)
    design = np.stack([np.ones_like(centred), centred, centred**2], 1)
    found, _, _, _ = np.linalg.lstsq(design, np.asarray(y), rcond=None)
    left = np.asarray(y) - design @ found
    variance = float(left @ left) / degrees * float(np.linalg.inv(design.T @ design)[2, 2])
    if variance <= 0:
        return math.nan
    return 2 * float(stats.t.sf(abs(float(found[2])) / math.sqrt(variance), degrees))
