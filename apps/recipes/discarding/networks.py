"""Figure 3: what the layers of classifiers and of auto-encoders discard, and the concentration of birds."""

from apps.recipes.discarding.by_layer import Networks, by_layer, trained
from apps.recipes.discarding.protocol import CIFAR10, MAPS, SHORT, VECTORS, Protocol

_PICTURES = "Curves and maps are in the runs' folders: discard.png and discard-sid.png"


def _classifier(how: Protocol, arch: str, metrics: str, vectors: bool = True) -> Networks:
    layers = MAPS[arch] | (VECTORS if vectors else {})
    return Networks(how, f"{arch}-discarded", {arch: trained(how, arch)}, layers, metrics, maps=len(MAPS[arch]))


TABLES = {
    "networks": by_layer(
        "Figure 3: SID and RU of the layers of classifiers on CIFAR-10; nothing of it is published",
        "The figure has no printed numbers: a deep network usually has higher values than a shallow one (section 4). "
        f"1 to 5: a convolution of AlexNet, a block of a VGG, a group of a ResNet. {_PICTURES}, discard-ru.png.",
        [_classifier(CIFAR10, arch, "sid,ru") for arch in MAPS if arch != "vgg-8"],
    ),
    "networks-short": by_layer(
        "Figure 3 at a size for a CPU: SID of classifiers on CIFAR-10, RU of ResNet-20; nothing of it is published",
        f"Classifiers: five epochs. Decoders: two, of 5,000 images. {_PICTURES}, discard-ru.png.",
        [
            _classifier(SHORT, "alexnet-small", "sid"),
            _classifier(SHORT, "vgg-8", "sid"),
            _classifier(SHORT, "resnet-20", "sid,ru"),
            _classifier(SHORT, "resnet-32", "sid"),
        ],
    ),
}
