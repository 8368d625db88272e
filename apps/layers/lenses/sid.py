"""How much noise an image takes before a layer's features move too far: strict information discarding."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from apps.layers.lens import Layer, Lens, Look, Reading, Seen, Subject, mean_of

if TYPE_CHECKING:
    from torch import Tensor

    from analysis.discarding.information import Discarded

_OFF = 0.2
"""How far the mean of what noise achieves may be off 1 before that is said: .1 nats a pixel value."""
UNMOVED = Reading(math.nan, math.nan, 0, None, "no image moves it")
"""Of a layer that has no entropies."""


@dataclass(frozen=True)
class StrictDiscarding(Lens):
    """SID as the constraint has it, with delta_f^2 the mean over the images (see `analysis.discarded_information`).

    Attributes:
        alpha: how far features may move, in parts of delta_f^2 and squared pixel values.
        grid: cells a side that have a scale of noise of their own; as many as pixels where an image has fewer.
        shared: whether all channels of a pixel have one scale.
        cap: the largest scale.
        probes: slopes an image, for delta_f^2 and the start of the search.
        steps: of the search, a sixth of what `penult analyse discard` takes. On a lenet of MNIST means were within .004
            (first layer) to .15 nats (logits) of a search of 300; the closed form was .3 to .55 off.
        check: noisy images by which the constraint is met in the end.
    """

    alpha: float = 1.5e-4
    grid: int = 16
    shared: bool = True
    cap: float = 1.0
    probes: int = 16
    steps: int = 10
    check: int = 16
    what: ClassVar[str] = "how much noise an image takes before the layer moves, strict information discarding"
    title: ClassVar[str] = "SID"
    unit: ClassVar[str] = "nats a pixel value"
    meaning: ClassVar[str] = (
        "mean entropy of the widest noise on the image that moves a layer by a set part of how far even noise does; "
        "higher where more is discarded"
    )
    kept: ClassVar[int] = -1

    def gaps(self, subject: Subject) -> Mapping[str, str]:
        """None: what has no slopes is found by looking."""
        return {}

    def look(self, subject: Subject, layers: tuple[Layer, ...]) -> Look:
        """Find how far each layer moves by a pass over the images, then the widest noise of each batch."""
        from apps.layers.sites import deltas_of

        deltas = {layer.name: deltas_of(subject, layer, self.probes) for layer in layers}

        def rows(seen: Seen) -> dict[str, "Tensor"]:
            found = {}
            for layer in layers:
                if deltas[layer.name] > 0:  # else no image moves it: it has no entropies
                    own = self.measured(subject, layer, seen, deltas[layer.name])
                    parts = {"maps": own.entropy, "mean": own.mean, "achieved": own.achieved}
                    parts |= {"capped": own.capped.double() / math.prod(own.grid.shape)}
                    found |= {f"{layer.name}/{name}": part for name, part in parts.items()}
            return found

        return rows

    def slopes(self, subject: Subject, seen: Seen) -> dict[str, Any]:
        """By which slopes, and for which cells, the noise of a batch is found."""
        size = tuple(min(self.grid, side) for side in seen.images.shape[2:])
        own = {"grid": size, "shared": self.shared, "probes": self.probes}
        return own | {"seed": subject.seed, "index": seen.index, "alpha": self.alpha, "cap": self.cap}

    def measured(self, subject: Subject, layer: Layer, seen: Seen, delta: float) -> "Discarded":
        """Of a batch; once, however many lenses ask for it."""
        from analysis.discarding.information import discarded_information
        from apps.layers.sites import features_of

        def found() -> "Discarded":
            own = {"delta": delta, "steps": self.steps, "check": self.check}
            return discarded_information(features_of(subject, layer), seen.images, **own, **self.slopes(subject, seen))

        return seen.once((self, layer.name), found)

    def read(self, subject: Subject, layers: tuple[Layer, ...], rows: "Mapping[str, Tensor]") -> Mapping[str, Reading]:
        """The means over images, and what is off."""
        found = {}
        for layer in layers:
            if (mean := rows.get(f"{layer.name}/mean")) is None:
                found[layer.name] = UNMOVED
                continue
            achieved, capped = (float(rows[f"{layer.name}/{name}"].nanmean()) for name in ("achieved", "capped"))
            said = [f"{capped:.1%} of cells at the cap"] if capped else []
            said += [f"moves {achieved:.2g} times as far as it may"] if abs(achieved - 1) > _OFF else []
            found[layer.name] = mean_of(mean, ", ".join(said))
        return found

    def maps(self, subject: Subject, layers: tuple[Layer, ...], rows: "Mapping[str, Tensor]") -> "Mapping[str, Tensor]":
        """Less the entropy of each pixel: what is kept is bright, as in other lenses' maps."""
        return {layer.name: -self.entropies(subject, layer, rows).mean(1) for layer in layers}

    def entropies(self, subject: Subject, layer: Layer, rows: "Mapping[str, Tensor]") -> "Tensor":
        """By pixel value, (images, channels, height, width), or of one channel where all share theirs; NaN: none."""
        import torch

        from analysis.discarding.grids import grid_of

        shape = subject.images.image_shape
        if (maps := rows.get(f"{layer.name}/maps")) is None:
            return torch.full((len(subject.images), *shape), torch.nan)
        return grid_of(shape, tuple(maps.shape[2:]), self.shared).spread(maps)


LENS = StrictDiscarding()
