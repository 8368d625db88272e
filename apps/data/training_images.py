"""The two splits that a classifier or a student is trained and tested on."""

from pathlib import Path

from apps.command.config import Data
from apps.data import sources
from apps.data.augment_words import RESIZED_CROP
from apps.data.image_set import ImageSet


def train_and_test(data: Data, root: Path | None, augment: str) -> tuple[ImageSet, ImageSet]:
    """The training and the test images.

    A folder's pictures that parts are to be cut out of at random stay in their files, however few they are: in memory
    they would be of the size that they are brought to, and have lost their margins.

    Args:
        data: which images.
        root: where data sets are kept.
        augment: what --augment says.

    Raises:
        InputError: as for `apps.data.sources.load`.
    """
    whole = data.image_size is not None and RESIZED_CROP in augment
    limits = {"train": 0 if whole else sources.IN_MEMORY_BYTES, "test": sources.IN_MEMORY_BYTES}
    return tuple(
        sources.load(data.data, split, root=root, memory_limit=limit, **data.sizes) for split, limit in limits.items()
    )
