"""What a density of images given a layer tells of them: the negative cross-entropy of an inversion of that layer."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from apps.layers.lens import Layer, Lens, Look, Reading, Seen, Subject, mean_of

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class CrossEntropy(Lens):
    """NCE of the newest finished density of each layer that is among the runs (Nash, Kushman and Williams 2019)."""

    what: ClassVar[str] = (
        "what an inversion of the layer tells of an image, where penult analyse invert has trained one"
    )
    title: ClassVar[str] = "NCE"
    unit: ClassVar[str] = "nats"
    meaning: ClassVar[str] = (
        "mean log p(image | layer) by an inversion; with H(image), which all layers share, it bounds what a layer "
        "tells of an image from below, and a difference of two is no bound"
    )
    kept: ClassVar[int] = 1

    def gaps(self, subject: Subject) -> Mapping[str, str]:
        """Layers that no run inverts."""
        from apps.inverting.inverted import DENSITY
        from apps.layers.trained import places, runs_of_layers

        found = runs_of_layers(subject, DENSITY)
        missing = f"no finished run in {places(subject)} inverts this layer of this network (see penult analyse invert)"
        return {layer.name: missing for layer in subject.layers if layer.tap not in found}

    def look(self, subject: Subject, layers: tuple[Layer, ...]) -> Look:
        """Give log p of each image by each layer's density."""
        from apps.inverting.inverted import DENSITY, inverted_run
        from apps.layers.trained import runs_of_layers
        from apps.models.representation import as_context

        found, device = runs_of_layers(subject, DENSITY), subject.accelerator.device
        models = {layer.name: inverted_run(found[layer.tap].folder).model.to(device) for layer in layers}

        def rows(seen: Seen) -> dict[str, "Tensor"]:
            import torch

            with torch.no_grad():
                return {
                    name: model.log_prob(seen.images, as_context(seen.values[name]), check=False)
                    for name, model in models.items()
                }

        return rows

    def read(self, subject: Subject, layers: tuple[Layer, ...], rows: "Mapping[str, Tensor]") -> Mapping[str, Reading]:
        """The mean, and which run it is of."""
        from apps.inverting.inverted import DENSITY
        from apps.layers.trained import runs_of_layers

        found = runs_of_layers(subject, DENSITY)
        return {layer.name: mean_of(rows[layer.name], found[layer.tap].folder.name) for layer in layers}


LENS = CrossEntropy()
