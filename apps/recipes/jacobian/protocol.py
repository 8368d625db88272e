"""How networks are trained: what the paper leaves to a supplement that is not published is ours, and says why."""

from dataclasses import dataclass

CLASSES = {"cifar100": 100, "cifar10": 10}
IMAGES = 50_000
"""To train on, of either data set."""


@dataclass(frozen=True)
class Schooling:
    """How one network is trained, given how many images it has.

    Updates and not epochs are fixed: a network with a hundredth of the images would else be a hundredth as trained.
    Neither their number, nor the batches, the optimiser, the rate nor the augmentation is in the paper.
    """

    updates: int
    """Of the weights."""
    batch: int = 64
    """Images of each."""
    rate: float = 0.05
    """Peak learning rate: that of the protocol of Tian, Krishnan and Isola (2020), whose batches are of 64 too."""
    decay: float = 5e-4
    """Weight decay: likewise."""
    validations: int = 10
    """On the test images, in all: of five images a class an epoch has eight updates, and is not worth one."""

    def flags(self, images: int) -> str:
        """Those of the command; crops and flips are what is usual for these data sets, and the default."""
        epochs = self.updates * self.batch / images
        return (
            f"--epochs {epochs:.10g} --batch-size {self.batch} --optimizer sgd --lr {self.rate:g} "
            f"--weight-decay {self.decay:g} --schedule cosine --validate-every {epochs / self.validations:.10g}"
        )


LAYERS = {
    #          32 pixels       16              8               4
    "vgg-4": ("body.block1", "body.block2", "body.block3"),
    "vgg-6": ("body.block1", "body.block2", "body.block3", "body.block4"),
    "vgg-9": ("body.block1", "body.block2", "body.block3", "body.block5"),
    "vgg-11": ("body.block1", "body.block2", "body.block3", "body.block5"),
}
"""By network, the last blocks of maps of 32, 16, 8 and 4 pixels a side, of CIFAR's images; each ends with batch norm.

The layouts behind the paper's names are not known; these are those of `penult ls classifiers`: VGG-9 has six
convolutions, and the linear layer in place of three.
"""
NORMS = {
    "vgg-4": ("1", "1", "1"),
    "vgg-6": ("1", "1", "1", "1"),
    "vgg-9": ("1", "1", "4", "1"),
    "vgg-11": ("1", "1", "4", "4"),
}
"""By network, the last batch norm within each of these blocks."""
COMPARED = 3
"""Layers that are compared: "three convolutional layers out of eleven" (section 7.1)."""


def compared(student: str, teacher: str) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Which of the `LAYERS` of both are compared: of the smallest maps that both have, of "same spatial dimensions".

    Which three the paper takes is not said. Late ones tell most of the classes, and early ones cost most.
    """
    count = min(len(LAYERS[student]), len(LAYERS[teacher]))
    places = tuple(range(count - COMPARED, count))
    return places, places


def blocks(network: str, places: tuple[int, ...]) -> str:
    """Names of blocks, whose outputs are compared as attention."""
    return " ".join(LAYERS[network][place] for place in places)


def norms(network: str, places: tuple[int, ...]) -> str:
    """Names of batch norms, whose bias-Jacobians are compared."""
    return " ".join(f"{LAYERS[network][place]}.{NORMS[network][place]}" for place in places)
