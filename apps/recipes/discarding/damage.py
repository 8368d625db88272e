"""Figure 4a and appendix G: what the layers of a VGG discard where one convolution has four filters left."""

from collections.abc import Mapping
from dataclasses import dataclass

from apps.recipes.discarding.by_layer import Networks, Subject, by_layer, trained
from apps.recipes.discarding.protocol import BIRDS_OR_NOT, FEW, MAPS, PUBLISHED, VECTORS, VGG_16, VGG_19, Protocol


@dataclass(frozen=True)
class Damaging:
    """A network as it is, and with another layer in the place of its last or second last convolution."""

    how: Protocol
    """Of all trainings: damaged networks are trained from the start, as whole ones are ("trained both")."""
    arch: str
    """Its architecture."""
    damaged: Mapping[str, str]
    """By the end of the row's name, the convolution that is revised."""
    filters: int = 4
    """Of the revised layer (section 4)."""
    kernel: int = 7
    """Their height and width; the padding is 3."""

    def _revised(self, where: str) -> Subject:
        """The network with a revised layer."""

        def subject(seed: int) -> tuple[str, tuple[str, ...]]:
            name = self.how.name(self.arch, "without", where, f"seed{seed}")
            more = f" --narrow {self.damaged[where]} --narrow-filters {self.filters} --narrow-kernel {self.kernel}"
            return name, (self.how.training(self.arch, seed, more, name),)

        return subject

    def networks(self, row: str, layers: Mapping[str, str], maps: int, metrics: str) -> Networks:
        """The whole network and the damaged ones."""
        subjects = {row: trained(self.how, self.arch)} | {f"{row}-{end}": self._revised(end) for end in self.damaged}
        return Networks(self.how, f"{self.arch}-damaged", subjects, layers, metrics, maps)


_VGGS = {
    #         architecture  last convolution and second last one, as they are called
    "vgg-16": (VGG_16, {"last": "features.28", "second-last": "features.26"}),
    "vgg-19": (VGG_19, {"last": "features.34", "second-last": "features.32"}),
}
_SAID = (
    "The figure has no printed numbers: information discarding was boosted at the revised layer. -last, -second-last: "
    "the convolution in whose place are 4 filters of 7x7 pixels, trained from the start."
)


def _birds(row: str) -> Networks:
    """The networks of a VGG; of their layers that behind the second last convolution as well."""
    arch, damaged = _VGGS[row]
    layers = dict(PUBLISHED[arch])
    # Each convolution is followed by its ReLU.
    last = {"second-last": f"features.{int(damaged['second-last'].rpartition('.')[2]) + 1}", "last": layers["conv5"]}
    maps = {name: layer for name, layer in layers.items() if name in ("conv1", "conv2", "conv3", "conv4")} | last
    layers = maps | {name: layers[name] for name in ("fc6", "fc7", "fc8")}
    return Damaging(BIRDS_OR_NOT, arch, damaged).networks(row, layers, len(maps), "sid,ru")


DAMAGED_BIRDS = [_birds(row) for row in _VGGS]
"""Whole and damaged networks, birds against random images."""


TABLES = {
    "damage": by_layer(
        "Figure 4a: SID and RU of whole and damaged VGGs, birds against random images; nothing of it is published",
        f"{_SAID} Appendix G's maps are in the folders of scores: discard-sid.png.",
        DAMAGED_BIRDS,
    ),
    "damage-short": by_layer(
        "Figure 4a at a size for a CPU: SID of a VGG-8 on CIFAR-10, whole and damaged; nothing of it is published",
        f"{_SAID} Five epochs each. Appendix G's maps are in the folder of scores: discard-sid.png.",
        [
            Damaging(FEW, "vgg-8", {"last": "block5.0", "second-last": "block4.0"}).networks(
                "vgg-8", MAPS["vgg-8"] | VECTORS, 5, "sid"
            )
        ],
    ),
}
