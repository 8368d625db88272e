"""All maps of a command, of some images: by methods, by the image alone or by chance, and each blurred."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from jaxtyping import Float, Int, Int64
from torch import Tensor, nn

from analysis.jacobians.controls import blurred_maps, central_map, random_maps, sobel_maps
from apps.jacobians.methods import Maps
from apps.jacobians.subject import Subject
from apps.seeds import derive
from priors import ClassifierPrior
from priors.errors import InputError
from priors.files.tensors import digest_of

BLURRED = ", blurred"
"""Ending of the name of a map that is blurred."""
RANDOM, EDGES, CENTRE = "random", "sobel", "centre"
"""Maps that do not hang on the network."""
CONTROLS = (RANDOM, EDGES, CENTRE)
"""All of these."""
WHOLE = "whole images"
"""What is called by that name has lost no pixels."""
_BLUR = 16
"""Parts of an image's shorter side that maps are blurred by, where no number of pixels is given."""


@dataclass(frozen=True)
class Drawing:
    """Which maps are drawn of an image, and how.

    Attributes:
        methods: by name.
        controls: "random", "sobel", "centre" and "blurred".
        sigma: of the Gaussian that blurs, in pixels.
        of: what is explained.
        seed: of random maps and of what methods draw.
        prior: under which, of log-densities, on the device.
    """

    methods: Mapping[str, Maps]
    controls: tuple[str, ...]
    sigma: float
    of: str
    seed: int
    prior: ClassifierPrior | None = None

    @property
    def names(self) -> list[str]:
        """Of all maps: methods, edges, each followed by itself blurred; then the middle and random ones."""
        plain = [*self.methods, *([EDGES] if EDGES in self.controls else [])]
        both = [name + ending for name in plain for ending in self._endings]
        return [*both, *(name for name in (CENTRE, RANDOM) if name in self.controls)]

    def told(self) -> dict[str, str]:
        """What is explained, by which results are known again."""
        return {"of": self.of} | ({} if self.prior is None else {"prior": digest_of(self.prior.state_dict())})

    @property
    def _endings(self) -> tuple[str, ...]:
        return ("", BLURRED) if "blurred" in self.controls else ("",)

    def apart(self) -> list["Drawing"]:
        """As many as there are maps before they are blurred, each of which draws one of them, and that blurred."""
        blurred = ("blurred",) if "blurred" in self.controls else ()
        methods = [replace(self, methods={name: one}, controls=blurred) for name, one in self.methods.items()]
        edges = [replace(self, methods={}, controls=(EDGES, *blurred))] if EDGES in self.controls else []
        others = [replace(self, methods={}, controls=(name,)) for name in (CENTRE, RANDOM) if name in self.controls]
        return [*methods, *edges, *others]

    def subject(self, network: nn.Module, images: Tensor, target: Int[Tensor, " batch"]) -> Subject:
        """What is explained of a batch of images."""
        return Subject(network, images, target, self.of, self.prior, self.seed)

    def draw(
        self, subject: Subject, index: Int64[Tensor, " batch"], split: str
    ) -> Iterator[tuple[str, Float[Tensor, "batch height width"]]]:
        """The maps of a batch in turn, by name.

        Args:
            subject: what is explained.
            index: of its images, in their set.
            split: of the set: its images get random maps of their own.

        Raises:
            InputError: a map that is not finite, or a network that a method cannot explain.
        """
        count, _, height, width = subject.images.shape
        for name, method in self.methods.items():
            maps = method(subject).detach()
            if not bool(maps.isfinite().all()):
                raise InputError(f"{name} gives maps that are not finite: leave it out of --methods")
            yield from self._both(name, maps)
        if EDGES in self.controls:
            yield from self._both(EDGES, sobel_maps(subject.images))
        if CENTRE in self.controls:
            yield CENTRE, central_map(height, width).to(subject.images.device).expand(count, -1, -1)
        if RANDOM in self.controls:
            yield RANDOM, random_maps(derive(subject.seed, "random maps", split), index, height, width)

    def _both(self, name: str, maps: Tensor) -> Iterator[tuple[str, Tensor]]:
        yield name, maps
        if "blurred" in self.controls:
            yield name + BLURRED, blurred_maps(maps.float(), self.sigma)


def hangs_on_nothing(name: str) -> bool:
    """Whether a map, or the one that was blurred to it, does not hang on the network."""
    return name.removesuffix(BLURRED) in CONTROLS


def usual_blur(height: int, width: int) -> float:
    """The deviation that maps are blurred by where none is given, in pixels."""
    return min(height, width) / _BLUR
