"""The convention that a command asks for, and the same in words."""

from dataclasses import fields, replace

from analysis.spectra.convention import SpectrumConvention, spectrum_convention
from apps.spectra.settings import Convention

_QUANTITIES = {"power": "|F|^2", "amplitude": "|F|", "log": "log |F|^2"}
_FIT_WEIGHTS = {"count": "by their frequencies", "equal": "alike"}


def wanted(rule: Convention) -> SpectrumConvention:
    """The preset with what was given beside it.

    Raises:
        InputError: choices that do not go together.
    """
    given = {field.name: getattr(rule, field.name) for field in fields(rule) if field.name != "convention"}
    if rule.demean is not None:
        given["demean"] = rule.demean == "each"
    if rule.window == "rectangular":
        given["window"] = "none"
    preset = spectrum_convention(rule.convention)
    changed = {key: one for key, one in given.items() if one not in (None, ()) and one != getattr(preset, key)}
    return replace(preset, name=f"{preset.name}, changed", **changed) if changed else preset


def said(convention: SpectrumConvention) -> str:
    """All that an exponent depends on, in words.

    Example:
        >>> said(spectrum_convention("paper"))[:90]
        "paper: sum of |F|^2 over a ring, mean of channels, each map's mean taken out, no window; l"
    """
    channels = {"mean": "mean of channels", "grey": "of grey"}.get(convention.channels, "of weighted channels")
    if convention.demean in (True, False):
        demean = "each map's mean taken out" if convention.demean else "no mean taken out"
    else:
        demean = f"{convention.demean:g} taken out"
    window = "no window" if convention.window == "none" else f"{convention.window.capitalize()} window"
    padded = f", padded to {convention.padding} times the size" if convention.padding > 1 else ""
    ring = f"{convention.reduction} of {_QUANTITIES[convention.quantity]} over a ring"
    measured = f"{convention.name}: {ring}, {channels}, {demean}, {window}{padded}"
    if convention.scaled:
        return f"{measured}, scaled to [0, 1] image by image, so that there is no line"
    low, high = convention.fit_range
    scale = "" if convention.fit_scale == "log" else " to the values themselves"
    weights = _FIT_WEIGHTS[convention.fit_weights]
    return f"{measured}; line fitted{scale} from {low:.3g} to {high:.3g} cycles per pixel, rings weighted {weights}"
