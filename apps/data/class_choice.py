"""Some of a set's classes, as --classes names them."""

from collections.abc import Sequence
from dataclasses import replace

import torch

from apps.data.image_set import ImageSet
from priors.errors import InputError, unknown
from priors.zoo.network import same_classes


def chosen(images: ImageSet, classes: str, known: Sequence[str] | bool = False) -> ImageSet:
    """The images of some classes, in their order in the set; the classes are numbered in the order they are given.

    Args:
        images: a split, whole.
        classes: names or numbers, joined by commas. A number that is no name counts from 0; a name with a comma in it
            is given by its number.
        known: the classes of a network that is to be shown these images; where they are those of the whole set, labels
            and names stay as they are. Or whether they do.

    Raises:
        InputError: there is no such class, one is named twice, or one has no images.

    Example:
        >>> pixels = torch.zeros(4, 1, 2, 2, dtype=torch.uint8)
        >>> animals = ImageSet("animals", "test", pixels, torch.tensor([0, 1, 2, 1]), ("ant", "bee", "cat"))
        >>> found = chosen(animals, "cat,bee")
        >>> found.labels.tolist(), found.class_names
        ([1, 0, 1], ('cat', 'bee'))
    """
    numbers = _numbers(images, classes)
    new = torch.full((images.classes,), -1, dtype=torch.int64)
    new[numbers] = torch.arange(len(numbers))
    labels = new[images.labels.cpu()]
    found = images.subset((labels >= 0).nonzero().flatten())
    counts = found.labels.cpu().bincount(minlength=images.classes)
    for number in numbers:
        if not counts[number]:
            raise InputError(
                f"--classes {classes}: {images.name} has no {images.split} images of class {number} "
                f"({images.class_names[number]})"
            )
    if known is True or (known and same_classes(known, images.class_names)):
        return found
    return replace(found, labels=new[found.labels.cpu()], class_names=tuple(images.class_names[n] for n in numbers))


def _numbers(images: ImageSet, classes: str) -> list[int]:
    """The classes that are named, by their numbers."""
    names, found = list(images.class_names), []
    for word in (part.strip() for part in classes.split(",")):
        if word in names:
            number = names.index(word)
        elif word.isdecimal() and int(word) < len(names):
            number = int(word)
        else:
            hint = f"names or numbers from 0 to {len(names) - 1} are joined by commas, as in {names[0]},{names[-1]}"
            raise unknown(f"class of {images.name}", word, names, hint)
        if number in found:
            raise InputError(f"--classes {classes}: class {number} ({names[number]}) is there twice; name it once")
        found.append(number)
    return found
