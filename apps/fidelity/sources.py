"""Images to score, or to score against: a data set by name, an .npz, a folder."""

from pathlib import Path

from apps.data import sources
from apps.data.image_set import ImageSet
from apps.data.sources.catalogue import DATASETS
from apps.data.sources.forms import is_form
from apps.data.sources.npz_arrays import is_npz
from priors.errors import InputError, unknown


def given_images(
    source: str,
    split: str = "train",
    *,
    root: Path | None = None,
    image_size: int | None = None,
    resize: int | None = None,
    classes: str | None = None,
) -> ImageSet:
    """The images that a word on the command line means.

    Args:
        source: a data set's name, or hf:, wds: or import:; an .npz of a data set, or as `penult sample` writes; a
            folder with train/CLASS/* and test/CLASS/*, or any other folder of pictures, at any depth.
        split: "train" or "test", of what has splits.
        root: folder of the data sets.
        image_size: height and width that the pictures of a folder are brought to.
        resize: their shorter side before the centre is cut out; None: the image size.
        classes: which of a data set's are wanted; None: all.

    Raises:
        InputError: there is no such thing, or no images in it.
    """
    path = Path(source)
    if path.is_dir() and source not in DATASETS and (path / "config.json").is_file():
        raise InputError(f"{source} is a run: give images, such as the data set it was trained on")
    if source in DATASETS or is_form(source) or path.is_dir() or (path.is_file() and is_npz(source)):
        return sources.load_pictures(source, split, root=root, image_size=image_size, resize=resize, classes=classes)
    if path.exists():
        raise InputError(f"{source} is no images: give a folder of pictures, an .npz, or a data set's name")
    hint = "or give a run's folder, a folder of pictures, or an .npz"
    raise unknown("images", source, DATASETS, hint)
