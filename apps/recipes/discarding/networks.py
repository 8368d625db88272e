"""Figure 3: what the layers of classifiers and of auto-encoders discard."""

from dataclasses import dataclass

from apps.recipes.discarding.by_layer import Networks, by_layer, trained
from apps.recipes.discarding.protocol import CIFAR10, MAPS, SHORT, VECTORS, Protocol

_PICTURES = "Curves and maps are in the folders of scores: discard.png, discard-sid.png and discard-ru.png"


@dataclass(frozen=True)
class Encoding:
    """Auto-encoders of ResNets (footnote 2)."""

    how: Protocol
    """Of the batches, and of what is measured."""
    epochs: float
    """Of encoder and decoder together, from the start. No word of it."""
    width: int = 64
    """Channels of the decoder: "the same as that for the computation of RU" (footnote 2)."""
    code: str = "maps"
    """What is decoded: the last maps. "All layers of the residual network before the FC layer" may mean the vector that
    they are averaged to as well, in which little of an image can be kept."""
    rate: float = 1e-3
    """Peak rate of Adam along a cosine: no word of it. Decoders alone are trained at .01, as in the authors' code."""

    def networks(self, arch: str, metrics: str) -> Networks:
        """One auto-encoder; its layers are the encoder's."""

        def subject(seed: int) -> tuple[str, tuple[str, ...]]:
            name = self.how.name("autoencoder", arch, f"seed{seed}")
            return name, (
                f"train autoencoder --data {self.how.data} --arch {arch} --code {self.code} "
                f"--decoder-width {self.width} --epochs {self.epochs:g} --batch-size {self.how.schooling.batch} "
                f"--optimizer adam --lr {self.rate:g} --schedule cosine --seed {seed} --name {name}",
            )

        maps = MAPS[arch]
        return Networks(
            self.how, f"autoencoder-{arch}-discarded", {f"autoencoder-{arch}": subject}, maps, metrics, len(maps)
        )


def _classifier(how: Protocol, arch: str, metrics: str) -> Networks:
    layers = MAPS[arch] | VECTORS
    return Networks(how, f"{arch}-discarded", {arch: trained(how, arch)}, layers, metrics, maps=len(MAPS[arch]))


_LONG, _SHORT = Encoding(CIFAR10, epochs=CIFAR10.schooling.epochs), Encoding(SHORT, epochs=2.0, width=16)
_RESNETS = ("resnet-20", "resnet-32", "resnet-44")

TABLES = {
    "networks": by_layer(
        "Figure 3: SID and RU of the layers of classifiers and auto-encoders on CIFAR-10; nothing of it is published",
        "The figure has no printed numbers: a deep network usually has higher values than a shallow one, and SID of "
        "auto-encoders is much as of classifiers (section 4). 1 to 5: a convolution of AlexNet, a block of a VGG, a "
        f"group of a ResNet. {_PICTURES}.",
        [
            *(_classifier(CIFAR10, arch, "sid,ru") for arch in ("alexnet-small", "vgg-16", "vgg-19", *_RESNETS)),
            *(_LONG.networks(arch, "sid,ru") for arch in _RESNETS),
        ],
    ),
    "networks-short": by_layer(
        "Figure 3 at a size for a CPU: SID of networks on CIFAR-10, RU of ResNet-20; nothing of it is published",
        "Classifiers: five epochs. The auto-encoder: two, its decoder of 16 channels. Decoders: two, of 5,000 images. "
        f"{_PICTURES}.",
        [
            _classifier(SHORT, "alexnet-small", "sid"),
            _classifier(SHORT, "vgg-8", "sid"),
            _classifier(SHORT, "resnet-20", "sid,ru"),
            _classifier(SHORT, "resnet-32", "sid"),
            _SHORT.networks("resnet-20", "sid"),
        ],
    ),
}
