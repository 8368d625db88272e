"""Data sets by name: what there is, and one way to load any of them.

Listing names loads neither torch nor numpy; the readers are imported when a set is loaded.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from priors.errors import InputError, unknown

if TYPE_CHECKING:
    from apps.image_set import ImageSet

IN_MEMORY_BYTES = 2**30
"""Image folders of up to this many bytes of pixels are held in memory, larger ones decoded as they are needed."""


@dataclass(frozen=True)
class DatasetInfo:
    """What is known of a data set before it is loaded.

    Attributes:
        name: what it is called on the command line.
        description: one line for people.
        image_shape: (channels, height, width) of its images.
        class_names: one a class, in the order of the labels.
        train: how many training images are published.
        test: how many test images are published.
        home: the class of torchvision.datasets that downloads it; None where nothing is downloaded.
        augmentation: what classifiers are usually trained with: "none", "flip", "crop" or "crop+flip".
        made_from: the data set that it is made from; None where it is not.
    """

    name: str
    description: str
    image_shape: tuple[int, int, int]
    class_names: tuple[str, ...]
    train: int
    test: int
    home: str | None = None
    augmentation: str = "none"
    made_from: str | None = None

    @property
    def classes(self) -> int:
        """How many classes there are."""
        return len(self.class_names)


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
        DatasetInfo("mnist", "handwritten digits", (1, 28, 28), _DIGITS, 60000, 10000, "MNIST"),
        DatasetInfo(
            "affnist",
            "mnist's, scaled, sheared, turned and shifted",
            (1, 40, 40),
            _DIGITS,
            60000,
            10000,
            made_from="mnist",
        ),
        DatasetInfo("fashion-mnist", "articles of clothing", (1, 28, 28), _FASHION, 60000, 10000, "FashionMNIST"),
        DatasetInfo("kmnist", "cursive Japanese characters", (1, 28, 28), _KANA, 60000, 10000, "KMNIST"),
        DatasetInfo("svhn", "house numbers in street views", (3, 32, 32), _DIGITS, 73257, 26032, "SVHN"),
        DatasetInfo(
            "cifar10", "photographs of 10 kinds of things", (3, 32, 32), _CIFAR10, 50000, 10000, "CIFAR10", "crop+flip"
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
        ),
    )
}


def data_root(root: str | Path | None = None) -> Path:
    """The folder of data sets: `root` if given, else `$PENULT_DATA`, else `data` in the current folder."""
    return Path(root or os.environ.get("PENULT_DATA") or "data")


def load(
    name_or_path: str | Path,
    split: str = "train",
    *,
    root: str | Path | None = None,
    image_size: int | None = None,
    memory_limit: int = IN_MEMORY_BYTES,
) -> ImageSet:
    """Load one split of a data set.

    Args:
        name_or_path: a name in `DATASETS`, an `.npz` file, or a folder with `train/CLASS/*` and `test/CLASS/*`.
        split: "train" or "test".
        root: where data sets are kept, see `data_root`. `NAME.npz` there is taken first; otherwise torchvision
            downloads into it.
        image_size: height and width in pixels that the images of a folder are brought to (shorter side resized, then
            the centre cut out); needed where they differ in size. Of other sets it can only confirm the size.
        memory_limit: bytes of decoded pixels over which a folder's images are decoded as they are needed.

    Raises:
        InputError: the set is unknown, unreadable or inconsistent, or its download failed; one line says which and what
            to do.
    """
    if split not in ("train", "test"):
        raise unknown("split", split, ("train", "test"))
    name = str(name_or_path)
    if name in DATASETS:
        found = _named(DATASETS[name], split, data_root(root))
    elif Path(name).is_dir():
        from apps.datasets.folder import read_folder

        return read_folder(Path(name), split, image_size=image_size, memory_limit=memory_limit)
    elif name.endswith(".npz"):
        from apps.datasets.npz import read_npz

        found = read_npz(Path(name), split)
    elif os.sep in name or Path(name).exists():
        raise InputError(
            f"no data set at {name}: an .npz file or a folder with train/CLASS/* and test/CLASS/* was expected"
        )
    else:
        raise unknown("data set", name, DATASETS, "or give the path of an .npz file or of an image folder")
    _, height, width = found.image_shape
    if image_size is not None and (height, width) != (image_size, image_size):
        raise InputError(
            f"image size {image_size} asked for, but {name} has {height}x{width} images: only image folders are resized"
        )
    return found


def _named(info: DatasetInfo, split: str, root: Path) -> ImageSet:
    """A data set of the table: from `root/NAME.npz` if it is there, else from where it is published."""
    from dataclasses import replace

    local = root / f"{info.name}.npz"
    if local.is_file():
        from apps.datasets.npz import read_npz

        found = read_npz(local, split, class_names=info.class_names)
        if found.image_shape != info.image_shape or found.classes != info.classes:
            raise InputError(
                f"{local} holds {found.classes} classes of images of shape {found.image_shape}, but {info.name} has "
                f"{info.classes} of shape {info.image_shape}: move it away, or give it as a path under another name"
            )
        return replace(found, name=info.name)
    if info.made_from is not None:
        from apps.datasets.affnist import read_affnist

        return read_affnist(info, split, root)
    from apps.datasets.published import read_digits, read_torchvision

    return read_digits(info, split) if info.home is None else read_torchvision(info, split, root)
