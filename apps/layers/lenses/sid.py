"""How much noise an image takes before a layer's features move too far: strict information discarding."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from apps.layers.lens import Layer, Lens, Look, Reading, Seen, Subject, mean_of

if TYPE_CHECKING:
    from torch import Tensor

    from analysis.discarding.sensitivity import PixelSensitivity


@dataclass(frozen=True)
class StrictDiscarding(Lens):
    """SID in closed form, with delta_f^2 the mean over the images (see `analysis.discarded_information`).

    Attributes:
        alpha: how far features may move, in parts of delta_f^2 and squared pixel values.
        grid: cells a side that have a scale of noise of their own; as many as pixels where an image has fewer.
        shared: whether all channels of a pixel have one scale.
        cap: the largest scale.
        probes: slopes an image.
    """

    alpha: float = 1.5e-4
    grid: int = 16
    shared: bool = True
    cap: float = 1.0
    probes: int = 16
    what: ClassVar[str] = "how much noise an image takes before the layer moves, strict information discarding"
    title: ClassVar[str] = "SID"
    unit: ClassVar[str] = "nats a pixel value"
    meaning: ClassVar[str] = (
        "mean entropy of the widest noise on the image that moves a layer by a set part of how far even noise does, "
        "as if it were linear; higher where more is discarded"
    )
    kept: ClassVar[int] = -1

    def gaps(self, subject: Subject) -> Mapping[str, str]:
        """None: what has no slopes is found by looking."""
        return {}

    def look(self, subject: Subject, layers: tuple[Layer, ...]) -> Look:
        """Measure how far each layer moves with each cell of an image."""

        def rows(seen: Seen) -> dict[str, "Tensor"]:
            found = {}
            for layer in layers:
                own = self.measured(subject, layer, seen)
                parts = {"value": own.value, "spread": own.spread, "bias": own.log_bias, "error": own.mean_log_error}
                found |= {f"{layer.name}/{name}": part for name, part in parts.items()}
            return found

        return rows

    def slopes(self, subject: Subject, seen: Seen) -> dict[str, Any]:
        """By which slopes, and for which cells, the noise of a batch is found."""
        size = tuple(min(self.grid, side) for side in seen.images.shape[2:])
        own = {"grid": size, "shared": self.shared, "probes": self.probes}
        return own | {"seed": subject.seed, "index": seen.index}

    def measured(self, subject: Subject, layer: Layer, seen: Seen) -> "PixelSensitivity":
        """Of a batch; once, however many lenses ask for it."""
        from analysis.discarding.sensitivity import pixel_sensitivity
        from apps.layers.sites import features_of

        def found() -> "PixelSensitivity":
            return pixel_sensitivity(features_of(subject, layer), seen.images, **self.slopes(subject, seen))

        return seen.once((self, layer.name), found)

    def read(self, subject: Subject, layers: tuple[Layer, ...], rows: "Mapping[str, Tensor]") -> Mapping[str, Reading]:
        """Entropies under one delta_f^2 for all images, as the paper has it."""
        found = {}
        for layer in layers:
            entropy, capped = self.entropies(subject, layer, rows)
            at_cap = f"{capped:.1%} of cells at the cap" if capped else ""
            found[layer.name] = mean_of(entropy.flatten(1).mean(1), at_cap)
        return found

    def entropies(self, subject: Subject, layer: Layer, rows: "Mapping[str, Tensor]") -> "tuple[Tensor, float]":
        """By pixel value, (images, channels, height, width); and which part of all cells is at the cap."""
        import torch

        from analysis.discarding.closed_form import linear_entropy
        from analysis.discarding.grids import grid_of
        from analysis.discarding.sensitivity import PixelSensitivity

        value, spread, bias, error = (rows[f"{layer.name}/{name}"] for name in ("value", "spread", "bias", "error"))
        cells = grid_of(subject.images.image_shape, tuple(value.shape[2:]), self.shared)
        none, unit = torch.zeros_like(spread), torch.ones(len(subject.images.image_shape[:1]), 1, 1)
        own = PixelSensitivity(value, spread, none, none, bias, none, error, self.probes, False, cells, unit)
        usual = spread[spread.isfinite()].mean()
        if not bool(usual > 0):
            return cells.spread(torch.full_like(value, torch.nan)), 0.0
        solved = linear_entropy(own, alpha=self.alpha, delta=float(usual), cap=self.cap)
        return cells.spread(solved.entropy), float(solved.capped.sum()) / value.numel()


LENS = StrictDiscarding()
