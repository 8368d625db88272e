"""The images to run a classifier on, with a margin where they are pictures: resized, and then their centre cut out."""

from functools import partial
from pathlib import Path

from torch import Tensor
from torchvision.transforms.functional import center_crop

from apps.data import sources
from apps.data.image_set import ImageSet
from apps.models import named
from apps.models.activations import images_for
from priors.errors import InputError
from priors.zoo import Classifier


def cut_images(
    model: str,
    network: Classifier,
    split: str,
    *,
    data: str | None,
    image_size: int | None,
    resize: int | None,
    root: Path | None,
    same_classes: bool = True,
    again: bool = False,
) -> tuple[ImageSet, partial[Tensor] | None]:
    """The images of a split, and what cuts out their centre where there is a margin.

    Args:
        model: as on the command line.
        network: what it means.
        split: "train" or "test".
        data: name, .npz or folder; None for what the run was trained on.
        image_size: height and width that pictures are brought to; None: as trained, or the network's own.
        resize: shorter side of pictures before their centre is cut out; None: no margin.
        root: folder of the data sets.
        same_classes: whether the set's classes must be the network's.
        again: whether images of the set were asked for before, so that nothing need be said of it once more.

    Raises:
        InputError: no such images, other classes than the network's or another shape, or a margin of what are no
            pictures in a folder, or a negative one.
    """
    if image_size is None and data and Path(data).is_dir() and not named.is_run(model):
        image_size = network.image_shape[1] if network.image_shape else None
    if resize is None:
        given = {"data": data, "image_size": image_size, "root": root, "same_classes": same_classes, "again": again}
        return images_for(model, network, split, **given), None
    if image_size is None or not data:
        raise InputError(f"--resize {resize} is for image folders: give --data FOLDER, and --image-size")
    if resize < image_size:
        raise InputError(f"--resize {resize}: nothing of {image_size}x{image_size} can be cut out of that")
    images = sources.load(data, split, root=root, image_size=resize)
    if same_classes:
        made_of = None if again else network.provenance.get("data")
        named.check_classes(network.class_names, model, images, made_of)
    return images, partial(center_crop, output_size=[image_size, image_size])
