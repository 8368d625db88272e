"""Images that a model was not trained on: whether it can be shown them, and that they are others."""

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from apps.command.console import say
from apps.data.image_set import ImageSet
from apps.data.sources.finding import readable
from apps.data.sources.forms import form_of, is_form
from apps.data.sources.npz_arrays import is_npz
from priors.errors import InputError


def check_shape(image_shape: Sequence[int] | None, source: str, images: ImageSet) -> None:
    """Make sure that images have the shape that a model takes, before any is given to it.

    Args:
        image_shape: (channels, height, width) of the model's; None where it takes any.
        source: the model, on the command line.
        images: what it is to be shown.

    Raises:
        InputError: another shape.
    """
    if image_shape is not None and tuple(image_shape) != images.image_shape:
        theirs, ours = ("x".join(map(str, shape)) for shape in (images.image_shape, image_shape))
        raise InputError(f"the images of {images.name} are {theirs} (channels x height x width): {source} takes {ours}")


def say_if_other(source: str, made_of: str | None, images: ImageSet, more: str = "") -> None:
    """Say in a line where a model is of other images than those that it is to be shown.

    Args:
        source: the model, on the command line.
        made_of: what it was trained on, as it recorded it; None or "unknown" where it did not.
        images: what it is to be shown.
        more: to be said with it.
    """
    if made_of not in (None, "unknown") and not is_of(made_of, images):
        say(f"Note: {source} is of {made_of}, and these images are of {images.name}{'; ' + more if more else ''}.")


def is_of(recorded: str, images: ImageSet) -> bool:
    """Whether a recorded data set is this one, by its name: a set may have been moved.

    Args:
        recorded: as a command line named it.
        images: the set.
    """
    if is_form(recorded):
        with suppress(InputError):  # damaged, and of no set
            return images.name == form_of(recorded).label
        return False
    name = Path(recorded).stem if is_npz(recorded) else Path(recorded).resolve().name
    return images.name in (recorded, readable(name))
