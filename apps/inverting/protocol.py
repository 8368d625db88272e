"""What an inversion is made of, as options; imports no torch."""

from collections.abc import Sequence
from dataclasses import dataclass, fields

from apps.command.ranges import EpochsFromZero, Layers, Width
from priors.errors import InputError, unknown


@dataclass(frozen=True)
class Density:
    """What the density is."""

    density: str = "pixelcnn"
    """pixelcnn, or import:MODULE:FACTORY for one of your own: called with an image's shape and a context's, the factory
    gives a torch.nn.Module with log_prob(images, context), in nats an image, and sample(context)."""
    layers: Layers = 3
    """Gated layers in each block of the PixelCNN++; the paper has 3, PixelCNN++ 5."""
    filters: Width = 64
    """Channels of the PixelCNN++; the paper has 64 for grey images and 196 for colour."""
    dropout: tuple[str, ...] = ("0.5",)
    """Dropout rate in the density; LAYER=RATE sets another where that layer of the network is inverted, such as 0.5
    conv1=0.1, which the paper has for colour images."""
    context_dropout: tuple[str, ...] = ("0",)
    """Dropout rate of the context's projections, given likewise; the paper has 0 fc3=0.2 for CIFAR."""

    def __post_init__(self):
        """Refuse what is no rate, and PixelCNN++'s options for another density."""
        self.of("")
        if self.density == "pixelcnn":
            return
        if not self.density.startswith("import:"):
            raise unknown("density", self.density, ["pixelcnn", "import:MODULE:FACTORY"])
        given = [part for part in fields(self)[1:] if getattr(self, part.name) != part.default]
        if given:
            flags = ", ".join(f"--{part.name.replace('_', '-')}" for part in given)
            raise InputError(f"{flags} with --density {self.density}: they are PixelCNN++'s; leave them out")

    def of(self, layer: str) -> dict[str, int | float | str]:
        """How the density of one layer of the network is built."""
        if self.density != "pixelcnn":
            return {"density": self.density}
        rates = {name.replace("-", "_")[2:]: _rates(name, given, usual) for name, given, usual in self._given()}
        return {
            "layers": self.layers,
            "filters": self.filters,
            **{name: found.get(layer, found[""]) for name, found in rates.items()},
        }

    def check(self, layers: Sequence[str]) -> None:
        """Whether the layers with a rate of their own are among those that are inverted.

        Raises:
            InputError: one is not (the nearest is offered).
        """
        for flag, given, usual in self._given():
            for layer in _rates(flag, given, usual):
                if layer and layer not in layers:
                    raise unknown("layer", layer, layers, f"{flag} names some of --taps")

    def _given(self) -> tuple[tuple[str, tuple[str, ...], float], ...]:
        """Flags, what they were given, and the rate of layers that this does not name."""
        return (
            ("--dropout", self.dropout, float(Density.dropout[0])),
            ("--context-dropout", self.context_dropout, float(Density.context_dropout[0])),
        )


def _rates(flag: str, given: Sequence[str], usual: float) -> dict[str, float]:
    """Rates by layer; "" for all that are not named."""
    found: dict[str, float] = {}
    for part in given:
        layer, equals, rate = part.rpartition("=")
        try:
            value = float(rate)
        except ValueError:
            value = -1.0
        if not 0 <= value < 1 or layer in found or (equals and not layer):
            raise InputError(
                f"{flag} {' '.join(given)}: a rate of 0 or more, below 1, was expected, and LAYER=RATE for layers with "
                "one of their own, each once"
            )
        found[layer] = value
    return {"": usual} | found


@dataclass(frozen=True)
class Decoder:
    """What the least-squares decoder is."""

    decoder_filters: Width = 32
    """Channels of the least-squares decoder at the image's resolution; twice as many at its half, and so on."""
    decoder_epochs: EpochsFromZero = 10.0
    """Passes over the training images of the least-squares decoder; 0: none is trained."""
