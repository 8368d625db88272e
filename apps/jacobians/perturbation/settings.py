"""What a benchmark of saliency maps can be told. Nothing here imports torch, so that help is instant."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import tyro

from apps.command.config import Place, Unsaid
from apps.command.pictures import PictureSizes
from apps.command.ranges import Count, Few, Range, Seed
from apps.jacobians.settings import METHOD_NAMES, OWN_METHODS, MethodChoices, Output
from priors.errors import InputError, unknown

Part = Annotated[float, Range(above=0, below=1)]
"""Of an image's pixels; something is left of each image."""
FRACTIONS = {
    "pixel": (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5),
    "road": (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9),
    "roar": (0.1, 0.3, 0.5, 0.7, 0.9),
}
"""Of the pixels that go, by benchmark."""
RETRAINED = ("full-jacobian", "bias-jacobian")
"""Methods that networks are trained anew for, where none are named: each is some thirty trainings."""


@dataclass(frozen=True)
class Perturbing:
    """Perturb."""

    model: tyro.conf.Positional[str]
    """The classifier: a MODEL, see penult --help; a run of penult train classifier for --benchmark roar."""
    benchmark: Literal["pixel", "road", "roar"] = "pixel"
    """pixel: pixels go black, the output's change is measured; road: pixels are filled in from those around them, with
    noise, accuracy is measured; roar: pixels go from training and test images, networks are trained anew on these."""
    methods: tuple[str, ...] = ()
    """Of full-jacobian, full-jacobian-authors, bias-jacobian, and by Captum input-gradient, guided-backprop,
    integrated-gradients, smooth-grad, grad-cam; unset: all that go with the network, or for roar full-jacobian
    bias-jacobian."""
    choices: tyro.conf.OmitArgPrefixes[MethodChoices] = field(default_factory=MethodChoices)
    controls: tuple[Literal["random", "sobel", "centre", "blurred"], ...] = ("random", "sobel", "blurred")
    """What a benchmark must tell from real maps: random orders of the pixels, drawn once; edges of the grey image; a
    Gaussian about the middle; each map blurred; or none."""
    fractions: tuple[Part, ...] = ()
    """Parts of the pixels that go, rising; unset: by benchmark, such as 0.1 0.3 0.5 0.7 0.9 for roar."""
    first: Literal["least", "most"] | None = None
    """Which pixels go first, the least or the most salient; unset: least for pixel, else most."""
    measure: Literal["logit", "softmax", "accuracy"] | None = None
    """What is measured: the fractional change of the predicted class's logit (or of what --of says; of a log-density
    the change in nats), or of its probability; or how often predictions are right; unset: logit for pixel, else
    accuracy."""
    signed: bool = False
    """Whether changes keep their sign, so that rises and falls cancel."""
    fill: Literal["black", "mean"] | None = None
    """What stands where pixels were: black, or the mean colour of the images; unset: black for pixel, mean for roar."""
    imputed_noise: Annotated[float, Range(0, most=1)] = 0.01
    """Standard deviation of the noise that road adds to pixels filled in, where pixels are from 0 to 1; as its authors
    have it."""
    explained: tyro.conf.OmitArgPrefixes[Output] = field(default_factory=Output)
    blur: Annotated[float, Range(above=0, most=1000)] | None = None
    """Standard deviation, in pixels, of the Gaussian that maps are blurred by; unset: 1/16 of the shorter side."""
    seeds: Few = 3
    """How many networks roar trains for each map and fraction, by seeds that count up from the run's own."""
    data: str | None = None
    """Data set whose test images are taken; unset: the one the run was trained on."""
    sizes: tyro.conf.OmitArgPrefixes[PictureSizes] = field(default_factory=PictureSizes)
    images: Count | None = None
    """How many test images to take, the first ones; unset: all."""
    seed: Seed = 0
    """Seed of random maps, of noise, and of what methods draw."""
    name: str | None = None
    """Beginning of the names of roar's runs; unset: the run's own, and roar."""
    out: Path | None = None
    """New folder for the picture and the numbers; unset: the run's, and nothing is written where there is no run."""
    foreign: tyro.conf.OmitArgPrefixes[Unsaid] = field(default_factory=Unsaid)
    place: tyro.conf.OmitArgPrefixes[Place] = field(default_factory=Place)

    def __post_init__(self):
        """Refuse what does not go together."""
        for name in self.methods:
            if name not in METHOD_NAMES:
                raise unknown("saliency method", name, METHOD_NAMES)
        if list(self.fractions) != sorted(set(self.fractions)):
            given = " ".join(f"{one:g}" for one in self.fractions)
            raise InputError(f"--fractions {given}: parts of the pixels were expected, rising")
        for flag, names in {"--methods": self.methods, "--controls": self.controls}.items():
            if twice := [name for at, name in enumerate(names) if name in names[:at]]:
                raise InputError(f"{flag}: {twice[0]} is given twice; leave one out")
        if self.benchmark == "road" and self.fill is not None:
            raise InputError(f"--fill {self.fill} with --benchmark road, which fills in what is around; leave it out")
        if self.benchmark == "roar" and self.measured != "accuracy":
            raise InputError(f"--measure {self.measure} with --benchmark roar, which measures accuracy; leave it out")
        if self.signed and self.measured == "accuracy":
            raise InputError("--signed is of changes of an output: give --measure logit or softmax")
        if self.benchmark == "roar" and self.data is not None:
            raise InputError(
                "--data with --benchmark roar: a run's training is repeated on its own images; leave it out"
            )
        if self.benchmark != "roar" and self.name is not None:
            raise InputError(f"--name {self.name} without --benchmark roar: nothing is trained; leave it out")

    @property
    def parts(self) -> tuple[float, ...]:
        """Of the pixels that go."""
        return self.fractions or FRACTIONS[self.benchmark]

    @property
    def order(self) -> str:
        """Which go first."""
        return self.first or ("least" if self.benchmark == "pixel" else "most")

    @property
    def measured(self) -> str:
        """What is measured."""
        return self.measure or ("logit" if self.benchmark == "pixel" else "accuracy")

    @property
    def in_nats(self) -> bool:
        """Whether changes are told as they are: log-densities have no zero that fractions could be of."""
        return self.measured == "logit" and self.explained.of == "log-density"

    @property
    def filled(self) -> str:
        """What stands where pixels were."""
        return "imputed" if self.benchmark == "road" else self.fill or ("mean" if self.benchmark == "roar" else "black")

    def asked(self, captum: bool) -> tuple[str, ...]:
        """The methods; where none are named, those that there are.

        Args:
            captum: whether it is installed, of which the others are.
        """
        if self.methods:
            return self.methods
        if self.benchmark == "roar":
            return RETRAINED
        return METHOD_NAMES if captum else OWN_METHODS

    @property
    def better(self) -> int:
        """Which scores speak for a map: 1, the higher; -1, the lower; 0 where neither do."""
        if self.signed:
            return -1 if self.order == "most" else 0
        high = self.order == ("least" if self.measured == "accuracy" else "most")
        return 1 if high else -1
