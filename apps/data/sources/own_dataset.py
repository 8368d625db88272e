"""A torch data set of the user's own, import:package.module:factory, as a set of images."""

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any

import numpy as np
import torch
from jaxtyping import Int64
from PIL import Image
from torch import Tensor

from apps.command.own_code import described, factory_of, require
from apps.data.image_set import ImageSet
from apps.data.sources.forms import Form
from apps.data.sources.kept_listing import bar
from apps.data.sources.labelled import UNKNOWN, Labelled, check_names, image_set
from apps.data.sources.stored_images import Brought, RowImages
from apps.data.sources.table_images import pixels_as_image
from priors.errors import InputError

_HASHED = 1_000
"""Images whose pixels a fingerprint is of, evenly spaced."""
_COMPARED = 100
"""Items whose classes are compared with what a data set says of them all."""
_STEADY = 16
"""Items whose images are asked for twice, evenly spaced."""


@dataclass(frozen=True)
class OwnImages(RowImages):
    """The images of some items of a map-style data set.

    Attributes:
        items: gives (image, class) by number; an image is a PIL image, an array or a tensor.
        source: its factory, for people.
        rows: which of them, in order.
    """

    items: Any = field(repr=False)
    source: str
    rows: Int64[np.ndarray, " n"] = field(repr=False)
    image_shape: tuple[int, int, int]
    resized: bool = False
    side: int | None = None

    def called(self, position: int) -> str:
        """The item's number."""
        return f"item {self.rows[position]} of {self.source}"

    @contextmanager
    def opened(self, position: int) -> Iterator[Image.Image]:
        """The picture of an item.

        Raises:
            InputError: there is none, the data set raises, or its pixels are none of images.
        """
        yield _picture(_item(self.items, int(self.rows[position]), self.source)[0], self.called(position))

    def fingerprint(self) -> bytes:
        """A digest of the pixels of some images, evenly spaced, and of the shape they decode to and how."""
        hashed = blake2b(repr((self.image_shape, self.resized, self.side)).encode(), digest_size=16)
        for position in range(0, len(self.rows), max(1, -(-len(self.rows) // _HASHED))):
            hashed.update(self.read(position).numpy().tobytes())
        return hashed.digest()


def read_own(form: Form, split: str, brought: Brought) -> ImageSet:
    """One split of a data set that the user's code makes.

    The factory is called with the split where it takes one, as `split=` or as its one argument; else it gives a dict of
    both. The names of the classes are what `.classes` says, where there are such.

    Args:
        form: the factory.
        split: "train" or "test".
        brought: to which size, and how it is held.

    Raises:
        InputError: the command line does not name this code, the factory raises, or it gives no such data set.
    """
    require(form.given, "the run")
    factory, name, _ = factory_of(form.given)
    make = _by_split(form.given, name, factory)

    def read(part: str) -> Labelled:
        items = make(part)
        source = f"{form.given} ({part})"
        names = _class_names(items) or _class_names(getattr(items, "dataset", None))
        names = None if names is None else check_names(names, form.given)
        images = OwnImages(items, source, np.arange(len(items)), UNKNOWN)
        _check_steady(images)
        return Labelled(images, _labels(items, source), names, part)

    return image_set(form.label, form.given, split, read, brought)


def _class_names(items: Any) -> list[str] | None:
    """What `.classes` says, by some name for each; None where it says nothing, or how many there are."""
    try:
        return [str(each) for each in getattr(items, "classes", ())] or None
    except TypeError:
        return None


def _by_split(given: str, name: str, factory: Callable) -> Callable[[str], Any]:
    """Gives the data set of a split, which is made once.

    Raises:
        InputError: the factory raises, or gives no data set.
    """
    try:
        takes = list(inspect.signature(factory).parameters.values())
    except (TypeError, ValueError):  # of some built in, nothing is known
        takes = []
    plain = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    needed = [each for each in takes if each.default is each.empty and each.kind in plain]
    asked = [each for each in takes if each.name == "split"] or needed
    made: dict[str, Any] = {}

    def make(split: str) -> Any:
        if split not in made:
            told = {asked[0].name: split} if asked and asked[0].kind != asked[0].POSITIONAL_ONLY else {}
            shown = ", ".join(f"{key}={value!r}" for key, value in told.items())
            try:
                found = factory(*([split] if asked and not told else []), **told)
            except (Exception, SystemExit) as error:
                raise InputError(f"{given}: {name}({shown}) raised {described(error)}") from error
            if not asked:
                if not isinstance(found, dict) or split not in found:
                    raise InputError(
                        f"{given}: {name} takes no split, and gave a {type(found).__name__}: expected a parameter "
                        "split, or a dict with train and test"
                    )
                found = found[split]
            if isinstance(found, dict) or not (hasattr(found, "__len__") and hasattr(found, "__getitem__")):
                raise InputError(
                    f"{given}: {name}({shown}) gave a {type(found).__name__}, expected a map-style torch Dataset: one "
                    "with a length, and items by number"
                )
            made[split] = found
        return made[split]

    return make


def _item(items: Any, number: int, source: str) -> tuple[Any, Any]:
    """An item, which is an image and its class.

    Raises:
        InputError: the data set raises, or gives something else.
    """
    try:
        item = items[number]
    except Exception as error:
        raise InputError(f"item {number} of {source} raised {described(error)}") from error
    if not isinstance(item, tuple | list) or len(item) != 2:
        raise InputError(f"item {number} of {source} is a {type(item).__name__}, expected (image, class)")
    return item[0], item[1]


def _picture(image: Any, name: str) -> Image.Image:
    """An image as a picture: as it is given, whatever its EXIF says."""
    if isinstance(image, Image.Image):
        image = image.copy()
        image.info = {}
        return image
    if isinstance(image, Tensor):
        image = image.detach().cpu()
        image = (image.float() if image.dtype == torch.bfloat16 else image).numpy()  # which numpy has not
    if not isinstance(image, np.ndarray):
        raise InputError(f"{name} is a {type(image).__name__}, expected a PIL image, an array or a tensor")
    return pixels_as_image(image, name)


def _labels(items: Any, source: str) -> list[int]:
    """The class of each item: what `.targets` or `.labels` says where it says the same, else what the items say."""
    count = len(items)
    some = range(0, count, max(1, -(-count // _COMPARED)))
    for name in ("targets", "labels"):
        said = getattr(items, name, None)
        try:
            said = None if said is None or len(said) != count else [int(value) for value in said]
        except (TypeError, ValueError, RuntimeError, OverflowError):
            continue
        if said is not None and all(_number(items, number, source) == said[number] for number in some):
            return said
    return [_number(items, number, source) for number in bar(range(count), count, "classes")]


def _number(items: Any, number: int, source: str) -> int:
    """The class of an item.

    Raises:
        InputError: it is no whole number.
    """
    label = _item(items, number, source)[1]
    try:
        found = int(label)
        if found == label:
            return found
    except (TypeError, ValueError, RuntimeError, OverflowError):
        pass
    raise InputError(f"item {number} of {source} has the class {label!r}, expected a whole number from 0")


def _check_steady(images: OwnImages) -> None:
    """Refuse a data set that augments by itself: its images would hang on who asks, and when.

    Several are looked at: of images that are flipped at random, every other one is the same twice.

    Raises:
        InputError: one of them is another one the second time.
    """
    for position in range(0, len(images), max(1, -(-len(images) // _STEADY))):
        name, number = images.called(position), int(images.rows[position])
        first, second = (np.asarray(_picture(_item(images.items, number, images.source)[0], name)) for _ in range(2))
        if first.shape != second.shape or not (first == second).all():
            raise InputError(
                f"{name} is another image each time: give images as they are, and augment them by --augment, which is "
                "the same after a resumption and on several processes"
            )
