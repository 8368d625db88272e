"""How uncertain an image is that a decoder makes of a layer: reconstruction uncertainty."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from apps.layers.lens import Layer, Lens, Look, Reading, Seen, Subject, mean_of
from apps.layers.lenses.sid import UNMOVED, StrictDiscarding

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Reconstruction(Lens):
    """RU by the newest finished decoder of each layer that is among the runs, with delta_f^2 the mean over the images.

    Attributes:
        noise: SID's, and how it is found.
        steps: in which the most uncertain noise is looked for; 0: it is that of SID's closed form, by which RU is at
            most as large, and which spares the passes that `penult analyse discard` takes.
        drawn: noisy images that errors are the mean of.
        centre: what errors are taken from, the image or what the decoder makes of it without noise.
    """

    noise: StrictDiscarding = field(default_factory=StrictDiscarding)
    steps: int = 0
    drawn: int = 16
    centre: str = "image"
    what: ClassVar[str] = (
        "how uncertain a decoder's image is, where penult analyse discard --metrics ru has trained one"
    )
    title: ClassVar[str] = "RU"
    unit: ClassVar[str] = "nats a pixel value"
    meaning: ClassVar[str] = (
        "mean entropy of what a decoder makes of the layer under SID's noise; higher where less of the image comes back"
    )
    kept: ClassVar[int] = -1

    def gaps(self, subject: Subject) -> Mapping[str, str]:
        """Layers that no run decodes."""
        from apps.discarding.decoders import DECODER
        from apps.layers.trained import places, runs_of_layers

        found = runs_of_layers(subject, DECODER)
        missing = (
            f"no finished run in {places(subject)} decodes this layer of this network (see penult analyse discard "
            "--metrics ru)"
        )
        return {layer.name: missing for layer in subject.layers if layer.tap not in found}

    def look(self, subject: Subject, layers: tuple[Layer, ...]) -> Look:
        """Find how far each layer moves, by a pass over the images; then draw noisy images, and decode their layers."""
        from analysis.discarding.uncertainty import reconstruction_uncertainty
        from apps.discarding.decoders import DECODER, trained_decoder
        from apps.layers.sites import deltas_of, features_of
        from apps.layers.trained import runs_of_layers

        runs, device = runs_of_layers(subject, DECODER), subject.accelerator.device
        decoders = {layer.name: trained_decoder(runs[layer.tap]).to(device) for layer in layers}
        features = {layer.name: features_of(subject, layer) for layer in layers}
        delta = {layer.name: deltas_of(subject, layer, self.noise.probes) for layer in layers}

        def rows(seen: Seen) -> dict[str, "Tensor"]:
            return {  # a layer that no image moves has no noise to go by
                name: reconstruction_uncertainty(
                    features[name],
                    decoder,
                    seen.images,
                    delta=delta[name],
                    centre=self.centre,
                    steps=self.steps,
                    measured=self.drawn,
                    **self.noise.slopes(subject, seen),
                ).mean
                for name, decoder in decoders.items()
                if delta[name] > 0
            }

        return rows

    def read(self, subject: Subject, layers: tuple[Layer, ...], rows: "Mapping[str, Tensor]") -> Mapping[str, Reading]:
        """The mean, and which run it is of."""
        from apps.discarding.decoders import DECODER
        from apps.layers.trained import runs_of_layers

        found = runs_of_layers(subject, DECODER)
        return {
            layer.name: mean_of(rows[layer.name], found[layer.tap].folder.name) if layer.name in rows else UNMOVED
            for layer in layers
        }


LENS = Reconstruction()
