"""What data sets there are, and where they are kept. Nothing heavy is imported: listing them is instant."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from apps.data.sources.forms import is_form

Augment = Literal["auto", "none", "flip", "crop", "crop+flip", "resized-crop", "resized-crop+flip"]
"""What --augment takes where images are neither mixed nor altered by a policy."""

BIRDS = "CUB_200_2011"
"""The folder of CUB-200-2011, as Caltech publishes it."""
RANDOM = "random-images"
"""The folder of what birds are told from."""


@dataclass(frozen=True)
class DatasetInfo:
    """What is known of a data set before it is loaded.

    Attributes:
        name: what it is called on the command line.
        description: one line for people.
        image_shape: (channels, height, width) of its images; None where they are pictures in colour of any size, which
            are brought to --image-size.
        class_names: one a class, in the order of the labels; none where its files say them.
        train: how many training images are published; None where its files say it.
        test: how many test images are published, likewise.
        home: the class of torchvision.datasets that downloads it; None where nothing is downloaded.
        augmentation: what classifiers are usually trained with: "none", "flip", "crop" or "crop+flip".
        made_from: the data set that it is made from; None where it is not.
        files: where torchvision keeps it under the root of data sets, some files that are there when all are.
        folders: of pictures under the root of data sets, which it is read from; they are put there by hand.
        box: how many times as wide and as high as the object's box the part of a picture is that is taken; None: all.
        said_classes: how many classes its files say.
    """

    name: str
    description: str
    image_shape: tuple[int, int, int] | None
    class_names: tuple[str, ...]
    train: int | None
    test: int | None
    home: str | None = None
    augmentation: str = "none"
    made_from: str | None = None
    files: tuple[str, ...] = ()
    folders: tuple[str, ...] = ()
    box: float | None = None
    said_classes: int = 0

    @property
    def classes(self) -> int:
        """How many classes there are."""
        return len(self.class_names) or self.said_classes


def _mnist(home: str) -> tuple[str, ...]:
    """Files of a set that is laid out as MNIST."""
    return tuple(
        f"{home}/raw/{part}-{what}-ubyte" for part in ("train", "t10k") for what in ("images-idx3", "labels-idx1")
    )


def _birds(name: str, description: str, box: float | None) -> DatasetInfo:
    """CUB-200-2011, with the part of each picture that is taken."""
    return DatasetInfo(
        name, description, None, (), 5994, 5794, augmentation="flip", folders=(BIRDS,), box=box, said_classes=200
    )


_DIGITS = tuple("0123456789")
_FASHION = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")
_KANA = ("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo")
_CIFAR10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
_CIFAR100 = tuple(
    """apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus butterfly camel can
    castle caterpillar cattle chair chimpanzee clock cloud cockroach couch crab crocodile cup dinosaur dolphin
    elephant flatfish forest fox girl hamster house kangaroo keyboard lamp lawn_mower leopard lion lizard lobster man
    maple_tree motorcycle mountain mouse mushroom oak_tree orange orchid otter palm_tree pear pickup_truck pine_tree
    plain plate poppy porcupine possum rabbit raccoon ray road rocket rose sea seal shark shrew skunk skyscraper snail
    snake spider squirrel streetcar sunflower sweet_pepper table tank telephone television tiger tractor train trout
    tulip turtle wardrobe whale willow_tree wolf woman worm""".split()
)

DATASETS: dict[str, DatasetInfo] = {
    info.name: info
    for info in (
        DatasetInfo("digits", "handwritten digits of scikit-learn; nothing to download", (1, 8, 8), _DIGITS, 1437, 360),
        DatasetInfo("mnist", "handwritten digits", (1, 28, 28), _DIGITS, 60000, 10000, "MNIST", files=_mnist("MNIST")),
        DatasetInfo(
            "affnist",
            "mnist's, scaled, sheared, turned and shifted",
            (1, 40, 40),
            _DIGITS,
            60000,
            10000,
            made_from="mnist",
        ),
        DatasetInfo(
            "fashion-mnist",
            "articles of clothing",
            (1, 28, 28),
            _FASHION,
            60000,
            10000,
            "FashionMNIST",
            files=_mnist("FashionMNIST"),
        ),
        DatasetInfo(
            "kmnist", "cursive Japanese characters", (1, 28, 28), _KANA, 60000, 10000, "KMNIST", files=_mnist("KMNIST")
        ),
        DatasetInfo(
            "svhn",
            "house numbers in street views",
            (3, 32, 32),
            _DIGITS,
            73257,
            26032,
            "SVHN",
            files=("train_32x32.mat", "test_32x32.mat"),
        ),
        DatasetInfo(
            "cifar10",
            "photographs of 10 kinds of things",
            (3, 32, 32),
            _CIFAR10,
            50000,
            10000,
            "CIFAR10",
            "crop+flip",
            files=("cifar-10-batches-py/data_batch_5", "cifar-10-batches-py/test_batch"),
        ),
        DatasetInfo(
            "cifar100",
            "photographs of 100 kinds of things",
            (3, 32, 32),
            _CIFAR100,
            50000,
            10000,
            "CIFAR100",
            "crop+flip",
            files=("cifar-100-python/train", "cifar-100-python/test"),
        ),
        _birds("cub-200-2011", "200 species of birds, the box of each", 1.0),
        _birds("cub-200-2011-1.5", "the same, 1.5 times that box", 1.5),
        _birds("cub-200-2011-whole", "the same, whole photographs", None),
        DatasetInfo(
            "birds-against-random",
            "the birds' boxes, and any other pictures",
            None,
            ("bird", "random"),
            None,
            None,
            augmentation="flip",
            folders=(BIRDS, RANDOM),
            box=1.0,
        ),
    )
}


def data_root(root: str | Path | None = None) -> Path:
    """The folder of data sets: `root` if given, else `$PENULT_DATA`, else `data` in the current folder."""
    return Path(root or os.environ.get("PENULT_DATA") or "data")


def takes_size(data: str) -> bool:
    """Whether pictures of a data set have any size, and are brought to --image-size: those of folders, hf:, wds:..."""
    return DATASETS[data].image_shape is None if data in DATASETS else is_form(data) or Path(data).is_dir()


def augmenting(augment: str, data: str) -> str:
    """How images are augmented: what --augment says, with what is usual for a data set for "auto"."""
    usual = DATASETS[data].augmentation if data in DATASETS else "none"
    words = [word for word in augment.split("+") if word != "auto"]
    if len(words) == len(augment.split("+")):
        return augment
    return "+".join([usual, *words] if usual != "none" or not words else words)
