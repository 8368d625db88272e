"""All that one command finds: a network or a set of images a part."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from analysis.spectra.trend import DepthTrend, depth_trend
from apps.spectra.exponents import MapSpectrum
from apps.spectra.measuring import CLASS, IMAGES, RIGHT, WRONG, Key
from apps.spectra.sites import MapSite


@dataclass(frozen=True)
class Part:
    """One network on the images, or one set of images.

    Attributes:
        name: of it, as on the command line; with ", untrained" or ", step N" after it where that is what it is.
        kind: "network", "untrained", "snapshot", "other network" or "images".
        images: name of the set.
        count: of images.
        sites: of the network, in order; none of images.
        spectra: by what they are of.
        accuracy: of the network, in [0, 1]; None where there is none.
        step: updates done, of a snapshot and of a run's network where the run says so.
        without: layers without a spectrum, and exponents that are missing, each with the reason.
    """

    name: str
    kind: str
    images: str
    count: int
    sites: tuple[MapSite, ...]
    spectra: Mapping[Key, MapSpectrum]
    accuracy: float | None = None
    step: int | None = None
    without: tuple[str, ...] = ()

    def whole(self, of: str, pooled: bool = False) -> MapSpectrum | None:
        """The spectrum of all images' maps; None where it was not measured."""
        return self.spectra.get(Key(of, pooled))

    def trend(self) -> DepthTrend | None:
        """The exponents by likelihood against the depth of layers; None of fewer than three that have one."""
        known = [(site.depth, self.whole(site.name).exponent) for site in self.sites]
        known = [pair for pair in known if math.isfinite(pair[1])]
        if len(known) < 3 or len({depth for depth, _ in known}) < 2:
            return None
        return depth_trend(*zip(*known, strict=True))

    def reasons(self) -> tuple[str, ...]:
        """Why something is missing, each reason once, after what it is of."""
        found: dict[str, list[str]] = {}
        for key, one in self.spectra.items():
            for reason in () if key.group else one.without:
                found.setdefault(reason, []).append(one.name)
        return *self.without, *(f"{'; '.join(names)}: {reason}" for reason, names in found.items())


@dataclass(frozen=True)
class Difference:
    """Of two exponents of different images.

    Attributes:
        value: the first less the second.
        error: its standard error.
    """

    value: float
    error: float


def difference(one: MapSpectrum, other: MapSpectrum) -> Difference:
    """By likelihood, of maps of different images."""
    return Difference(one.exponent - other.exponent, math.hypot(one.error, other.error))


@dataclass(frozen=True)
class Classes:
    """How exponents differ by class.

    Attributes:
        of: the maps.
        exponents: by class, in order, with standard errors; classes without an exponent are left out.
        spread: standard deviation of the exponents over classes, less what their errors add.
        p_value: of a sum of squares at least as large, in units of their errors, were all classes alike.
    """

    of: str
    exponents: Mapping[str, tuple[float, float]]
    spread: float
    p_value: float


def by_class(part: Part, of: str) -> Classes | None:
    """The exponents of one kind of map by class; None where images were not split so, or fewer than two have one."""
    groups = [(key.group, one) for key, one in part.spectra.items() if key.of == of and key.group.startswith(CLASS)]
    known = {
        group.removeprefix(CLASS): (one.exponent, one.error) for group, one in groups if math.isfinite(one.exponent)
    }
    if len(known) < 2:
        return None
    from scipy.stats import chi2  # takes half a second

    values, errors = zip(*known.values(), strict=True)
    weights = [1 / error**2 for error in errors]
    mean = sum(weight * value for weight, value in zip(weights, values, strict=True)) / sum(weights)
    apart = sum(weight * (value - mean) ** 2 for weight, value in zip(weights, values, strict=True))
    centre = sum(values) / len(values)
    variance = sum((value - centre) ** 2 for value in values) / (len(values) - 1)
    noise = sum(error**2 for error in errors) / len(errors)
    return Classes(of, known, math.sqrt(max(0.0, variance - noise)), float(chi2.sf(apart, len(known) - 1)))


def by_correctness(part: Part, of: str) -> tuple[MapSpectrum, MapSpectrum] | None:
    """Spectra of the rightly and of the wrongly classified images; None where there are not both."""
    pair = part.spectra.get(Key(of, False, RIGHT)), part.spectra.get(Key(of, False, WRONG))
    return pair if all(one is not None and one.likely is not None for one in pair) else None


def kinds_of_maps(part: Part) -> list[str]:
    """What a part has spectra of: the images, then the layers."""
    return [IMAGES, *(site.name for site in part.sites)]
