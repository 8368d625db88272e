"""What a study of coherency can be told. Nothing here imports torch, so that help is instant."""

from dataclasses import dataclass
from typing import Annotated, Literal, get_args

import tyro

from apps.command.ranges import FromZero, Range
from apps.discarding.settings import AUTO, DiscardSettings
from priors.errors import InputError, unknown

Baseline = Literal["gradient", "cam", "grad-cam"]
BASELINES: tuple[Baseline, ...] = get_args(Baseline)
"""What the paper sets beside its measures."""


@dataclass(frozen=True)
class CoherencySettings(DiscardSettings):
    """Compare what layers discard before and after a scale is moved from each to the next."""

    model: tyro.conf.Positional[str]
    """The classifier: a MODEL, see penult --help."""
    taps: tuple[str, ...] = (AUTO,)
    """Features: names of modules that give what a layer hands on, or of layers, for what they give after their
    activation; auto: of each layer that a scale can be moved from."""
    against: tyro.conf.Fixed[tyro.conf.Suppress[tuple[str, ...]]] = ()
    name: str | None = None
    """Name of the folder and, with that of features, of each decoder's run; unset: that of the MODEL, and -coherency
    for the folder, -discarded for decoders, which are those of penult analyse discard."""
    factor: Annotated[float, Range(above=0, most=1e6)] = 4.0
    """By which weights and biases of a layer are divided, and weights of the next one multiplied; the paper's. By a
    power of two nothing is rounded."""
    tolerance: Annotated[float, Range(above=0, most=1e3)] = 1e-3
    """Nats by which an entropy of a pixel may change at most, and parts of the largest value for other maps."""
    baselines: tuple[str, ...] = BASELINES
    """Of gradient, cam and grad-cam (by Captum): maps that are compared likewise, of the class that is predicted; or
    none."""
    retrained: bool = False
    """Whether ru is measured with a decoder that is trained anew on the smaller features, beside the one that takes
    their scale back. It is told, and nothing is asked of it."""
    halved: Literal["even", "odd", "none"] = "even"
    """Which filters of each layer are halved, to see SID change (the paper's appendix B): every second one from the
    first on, or from the second on."""
    compensated: bool = False
    """Whether the next layer is doubled where filters are halved, so that the output stays. The paper's stays not; SID
    of the layer is the same."""
    shown: FromZero = 1
    """Images whose maps are drawn, the first ones; 0: none are."""

    def __post_init__(self):
        """Refuse names that there are none of, and what does not go together."""
        super().__post_init__()
        for name in self.baselines:
            if name not in BASELINES:
                raise unknown("baseline", name, BASELINES)
        if self.factor == 1:
            raise InputError("--factor 1 changes nothing: another number above 0 was expected, such as 4")
        if self.retrained and "ru" not in self.measured:
            raise InputError("--retrained is of decoders, which are for ru: add --metrics ru, or leave it out")
