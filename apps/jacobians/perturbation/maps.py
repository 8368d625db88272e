"""All maps of a command, of some images: by methods, by the image alone or by chance, and each blurred."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from jaxtyping import Float
from torch import Tensor, nn

from analysis.jacobians.controls import blurred_maps, random_maps, sobel_maps
from apps.data.batches import Batch
from apps.jacobians.methods import Maps
from apps.seeds import derive
from priors.errors import InputError

BLURRED = ", blurred"
"""Ending of the name of a map that is blurred."""
RANDOM, EDGES = "random", "sobel"
"""Maps that do not hang on the network."""
WHOLE = "whole images"
"""What is called by that name has lost no pixels."""


@dataclass(frozen=True)
class Drawing:
    """Which maps are drawn of an image, and how.

    Attributes:
        methods: by name.
        controls: "random", "sobel" and "blurred".
        sigma: of the Gaussian that blurs, in pixels.
        of: what is explained.
        seed: of random maps and of what methods draw.
    """

    methods: Mapping[str, Maps]
    controls: tuple[str, ...]
    sigma: float
    of: str
    seed: int

    @property
    def names(self) -> list[str]:
        """Of all maps: methods, edges, each followed by itself blurred; then random ones."""
        plain = [*self.methods, *([EDGES] if EDGES in self.controls else [])]
        both = [name + ending for name in plain for ending in self._endings]
        return [*both, *([RANDOM] if RANDOM in self.controls else [])]

    @property
    def _endings(self) -> tuple[str, ...]:
        return ("", BLURRED) if "blurred" in self.controls else ("",)

    def apart(self) -> list["Drawing"]:
        """As many as there are maps before they are blurred, each of which draws one of them, and that blurred."""
        blurred = ("blurred",) if "blurred" in self.controls else ()
        methods = [replace(self, methods={name: one}, controls=blurred) for name, one in self.methods.items()]
        edges = [replace(self, methods={}, controls=(EDGES, *blurred))] if EDGES in self.controls else []
        chance = [replace(self, methods={}, controls=(RANDOM,))] if RANDOM in self.controls else []
        return [*methods, *edges, *chance]

    def draw(
        self, network: nn.Module, batch: Batch, target: Tensor, split: str
    ) -> Iterator[tuple[str, Float[Tensor, "batch height width"]]]:
        """The maps of a batch in turn, by name.

        Args:
            network: on the batch's device, in evaluation mode.
            batch: of images.
            target: the class of each that is explained.
            split: of the data set: its images get random maps of their own.

        Raises:
            InputError: a map that is not finite, or a network that a method cannot explain.
        """
        for name, method in self.methods.items():
            maps = method(network, batch.images, target, of=self.of, seed=self.seed).detach()
            if not bool(maps.isfinite().all()):
                raise InputError(f"{name} gives maps that are not finite: leave it out of --methods")
            yield from self._both(name, maps)
        if EDGES in self.controls:
            yield from self._both(EDGES, sobel_maps(batch.images))
        if RANDOM in self.controls:
            height, width = batch.images.shape[2:]
            yield RANDOM, random_maps(derive(self.seed, "random maps", split), batch.index, height, width)

    def _both(self, name: str, maps: Tensor) -> Iterator[tuple[str, Tensor]]:
        yield name, maps
        if "blurred" in self.controls:
            yield name + BLURRED, blurred_maps(maps.float(), self.sigma)
