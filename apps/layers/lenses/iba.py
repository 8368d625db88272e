"""How much of a layer the class hangs on: information bottleneck attribution."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from apps.layers.lens import Layer, Lens, Look, Reading, Seen, Subject, mean_of

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class InformationBottleneck(Lens):
    """What of a layer must come through noise for the predicted class (Schulz et al. 2020, for each image by itself).

    Beside it stands the cross-entropy of that class under the bottleneck: where it is large, the noise has taken what
    the class needs, and the value says less.

    Attributes:
        weight: of the information, a mean over the layer's values, against the cross-entropy; the authors' beta.
        steps: of the search.
        samples: noisy passes a step.
        smoothing: of what is let through, in pixels of the layer's maps.
    """

    weight: float = 10.0
    steps: int = 30
    samples: int = 4
    smoothing: float = 1.0
    what: ClassVar[str] = (
        "how much of the layer the predicted class hangs on, by information bottlenecks, which take a hundred passes a "
        "layer and are left out where no lens is named"
    )
    title: ClassVar[str] = "IBA"
    unit: ClassVar[str] = "nats a pixel value"
    meaning: ClassVar[str] = (
        "information of a layer's values that a bottleneck lets through for the predicted class, an upper bound, over "
        "the values of the image; higher where the class hangs on more"
    )
    kept: ClassVar[int] = 1
    usual: ClassVar[bool] = False

    def gaps(self, subject: Subject) -> Mapping[str, str]:
        """The logits, which are what is compared."""
        return {layer.name: "the class is read off this layer itself" for layer in subject.layers if layer.last}

    def look(self, subject: Subject, layers: tuple[Layer, ...]) -> Look:
        """Find the mean and deviation of all values by a pass over the images, then bottlenecks of each batch."""
        import math

        from analysis.discarding.bottleneck import information_bottleneck
        from apps.layers.sites import moments_of, rest_of
        from priors.reading.dry_pass import constant_parameters

        moments = moments_of(subject.network, subject.images, [layer.tap for layer in layers])
        values = math.prod(subject.images.image_shape)

        def rows(seen: Seen) -> dict[str, "Tensor"]:
            found = {}
            target = subject.network.head(seen.penultimate).argmax(1)
            for layer in layers:
                given = seen.values[layer.name]
                mean, deviation = moments[layer.tap]
                flat = _flat(given.shape)
                with constant_parameters(subject.network):
                    own = information_bottleneck(
                        _unflattened(rest_of(subject.network, layer.tap, seen.images), given.shape[1:], flat),
                        given.reshape(len(given), *flat),
                        target,
                        mean.reshape(flat),
                        deviation.reshape(flat),
                        weight=self.weight,
                        steps=self.steps,
                        samples=self.samples,
                        smoothing=self.smoothing,
                        seed=subject.seed,
                        index=seen.index,
                    )
                found[layer.name] = own.total / values
                if own.kept.ndim == 4:
                    found[f"{layer.name}/maps"] = own.kept.sum(1)
                found[f"{layer.name}/cross-entropy"] = own.cross_entropy
            return found

        return rows

    def read(self, subject: Subject, layers: tuple[Layer, ...], rows: "Mapping[str, Tensor]") -> Mapping[str, Reading]:
        """The mean, and how surely the class is still found."""
        return {
            layer.name: mean_of(
                rows[layer.name], f"cross-entropy {float(rows[f'{layer.name}/cross-entropy'].mean()):.2g} nats"
            )
            for layer in layers
        }

    def maps(self, subject: Subject, layers: tuple[Layer, ...], rows: "Mapping[str, Tensor]") -> "Mapping[str, Tensor]":
        """Nats a pixel, over the positions of a layer's maps; a layer without maps has none."""
        from torch.nn.functional import interpolate

        _, height, width = subject.images.image_shape
        found = {layer.name: rows[f"{layer.name}/maps"] for layer in layers if f"{layer.name}/maps" in rows}
        return {
            name: interpolate(one[:, None], (height, width), mode="bilinear")[:, 0]
            * (one[0].numel() / (height * width))
            for name, one in found.items()
        }


def _flat(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Of maps their shape, of anything else one axis of units."""
    import math

    return tuple(shape[1:]) if len(shape) == 4 else (math.prod(shape[1:]),)


def _unflattened(rest: "Callable[[Tensor], Tensor]", shape: tuple[int, ...], flat: tuple[int, ...]) -> "Callable":
    return rest if tuple(shape) == flat else lambda features: rest(features.reshape(len(features), *shape))


LENS = InformationBottleneck()
