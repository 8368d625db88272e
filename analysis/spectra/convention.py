"""How a spectrum is measured and fitted: every choice that moves its exponent, by name."""

import math
from dataclasses import dataclass
from typing import Literal, get_args

from priors.errors import InputError, unknown

GREY = (0.2989, 0.5870, 0.1140)
"""Weights of red, green and blue in grey (ITU-R BT.601)."""
KAISER_BETA = 8.0
"""Of the Kaiser window, as StyleGAN3 has it."""

Quantity = Literal["power", "amplitude", "log"]
Reduction = Literal["mean", "sum"]
Window = Literal["none", "hann", "kaiser"]
Weights = Literal["count", "equal"]
Scale = Literal["log", "linear"]


@dataclass(frozen=True)
class SpectrumConvention:
    """The choices behind a spectrum and its exponent; they are stored with each result.

    Attributes:
        name: of a preset, or of your own.
        quantity: what is averaged over the frequencies of a ring, channels and images: "power" |F|^2, "amplitude" |F|,
            or "log", the natural logarithm of the power.
        reduction: "mean" over the frequencies of a ring, or their "sum", whose exponent is about 1 higher: a ring has
            about 2 pi |k| of them.
        channels: "mean", the quantity of each channel and then their mean; "grey", one grey map of three channels; or
            weights, one a channel, of the map that is looked at.
        demean: take each map's own mean out (True), none (False), or this number, such as a data set's mean.
        scale: divide maps by it, such as a data set's standard deviation; it moves no exponent.
        window: "none", "hann" (periodic) or "kaiser" (beta 8); powers are divided by its sum of squares.
        padding: pad maps with zeros to so many times their size.
        scaled: bring each image's spectrum over rings to [0, 1]; it has no exponent then.
        fit_range: lowest and highest frequency of the fit, in cycles per pixel, both included; Nyquist's is 1/2, and
            the corner's sqrt(1/2).
        fit_weights: of rings in the regression: "count", their frequencies, or "equal".
        fit_scale: least squares of the logarithms ("log") or of the values themselves ("linear").

    Raises:
        InputError: a choice that does not exist, or numbers out of range.
    """

    name: str = "own"
    quantity: Quantity = "power"
    reduction: Reduction = "mean"
    channels: str | tuple[float, ...] = "mean"
    demean: bool | float = True
    scale: float = 1.0
    window: Window = "none"
    padding: int = 1
    scaled: bool = False
    fit_range: tuple[float, float] = (0.0, 0.5)
    fit_weights: Weights = "count"
    fit_scale: Scale = "log"

    def __post_init__(self):
        choices = {"quantity": Quantity, "reduction": Reduction, "window": Window}
        for field, kind in {**choices, "fit_weights": Weights, "fit_scale": Scale}.items():
            if getattr(self, field) not in get_args(kind):
                raise unknown(field.replace("_", " "), getattr(self, field), get_args(kind))
        if isinstance(self.channels, str) and self.channels not in ("mean", "grey"):
            raise unknown("channels", self.channels, ("mean", "grey"), "or give one weight a channel")
        low, high = self.fit_range
        if not 0 <= low < high < math.inf:
            raise InputError(
                f"fit range is {self.fit_range}: the lowest and the highest frequency were expected, in cycles per"
                " pixel, such as (0.125, 0.5)"
            )
        if self.padding < 1:
            raise InputError(f"padding is {self.padding}: how many times the size, 1 or more, was expected")
        if not 0 < self.scale < math.inf or not math.isfinite(self.demean):
            raise InputError(
                f"demean is {self.demean}, scale {self.scale}: finite numbers were expected, scale above 0"
            )


_CORNER = math.sqrt(0.5)

SPECTRUM_CONVENTIONS = {
    one.name: one
    for one in (
        SpectrumConvention("power"),
        SpectrumConvention("paper", reduction="sum"),
        SpectrumConvention("durall", quantity="log", channels="grey", demean=False, scaled=True),
        SpectrumConvention(
            "dzanic",
            quantity="amplitude",
            channels="grey",
            demean=False,
            fit_range=(0.85 * _CORNER, _CORNER),
            fit_weights="equal",
            fit_scale="linear",
        ),
        SpectrumConvention("stylegan3", window="kaiser", padding=4, fit_weights="equal"),
    )
}
"""Presets by name.

"power": mean power, from the lowest frequency to Nyquist's. "paper": the exponents of Rotman and Wolf (Natural
statistics of network activations and implications for knowledge distillation, 2021), whose text multiplies by |k|: ring
sums. "durall": Durall, Keuper and Keuper (Watch your up-convolution, 2020), the mean of 20 log |F| of grey, scaled to
[0, 1]. "dzanic": Dzanic, Shah and Witherden (Fourier spectrum discrepancies in deep network generated images, 2020),
least squares on |F| above .85 of the corner. "stylegan3": Karras et al. (Alias-free generative adversarial networks,
2021), Kaiser window, padded to four times the size; they whiten by numbers of the data set, which `dataclasses.replace`
sets as `demean` and `scale`. Public codes of the second and third put the centre half a pixel or one off; here it is at
zero for every size.
"""


def spectrum_convention(name: str) -> SpectrumConvention:
    """A preset.

    Raises:
        InputError: there is none of this name.

    Example:
        >>> spectrum_convention("paper").reduction
        'sum'
    """
    if name not in SPECTRUM_CONVENTIONS:
        raise unknown("convention of spectra", name, SPECTRUM_CONVENTIONS)
    return SPECTRUM_CONVENTIONS[name]
