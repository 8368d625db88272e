"""What every network of the zoo is: images in [0, 1] in, normalised inside; of a classifier, logits out."""

import math
import re
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from priors.checks.floats import PIXELS, own_dtype, require_floats
from priors.errors import InputError, shown


class ImageNetwork(nn.Module, ABC):
    """A network of images in [0, 1], which it normalises itself, whose layers can be named.

    The mean and standard deviation that it normalises images by are buffers, saved and moved with it, so that nobody
    can feed it the wrong normalisation.

    Attributes:
        image_shape: (channels, height, width) of its images; None where any is taken.
        stages: names of the modules whose outputs are its stages, for `priors.reading.taps`, first to last.
        architecture: how to make another one, as JSON has it; None for a module that is not known by name.
        mean, std: (channels,) or (1,) buffers.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        *,
        image_shape: tuple[int, int, int] | None,
        mean: int | float | Sequence[int] | Sequence[float] | None,
        std: int | float | Sequence[int] | Sequence[float] | None,
        stages: Sequence[str],
        architecture: dict[str, Any] | None,
    ):
        super().__init__()
        channels = image_shape[0] if image_shape else None
        self.image_shape = image_shape
        self.stages = tuple(stages)
        self.architecture = architecture
        self.register_buffer("mean", torch.tensor(_per_channel("mean", 0.0 if mean is None else mean, channels)))
        self.register_buffer("std", torch.tensor(_per_channel("std", 1.0 if std is None else std, channels)))

    @property
    @abstractmethod
    def ends(self) -> dict[str, str]:
        """The taps of what stands behind the stages, by the names that people have for them, first to last."""

    def normalise(self, images: Shaped[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """Images minus the mean, over the standard deviation, in the type of the network's weights.

        Raises:
            InputError: not a batch of floating-point images of the network's own size.
        """
        if images.ndim != 4:
            raise InputError(f"images have shape {tuple(images.shape)}: (batch, channels, height, width) was expected")
        require_floats(images, "images", PIXELS)
        if self.image_shape is not None and images.shape[1:] != self.image_shape:
            raise InputError(
                f"images are {_as_text(images.shape[1:])} (channels x height x width), but this network takes"
                f" {_as_text(self.image_shape)}"
            )
        normalised = (images - self.mean.view(-1, 1, 1)) / self.std.view(-1, 1, 1)
        return normalised.to(own_dtype(self) or normalised.dtype)


class Classifier(ImageNetwork):
    """A network that maps images in [0, 1] to logits through penultimate activations and a final linear layer.

    Attributes:
        class_names: one a class, in the order of the logits.
        head_name: name of the final linear layer; `penultimate_tap` names its input.
        provenance: where its weights come from, in words, by subject: "data", "weights", ... Saved with it.
        head: the final linear layer: the rows of its weight are the classes' directions.

    Those that every `ImageNetwork` has are as there; `architecture` is what `priors.zoo.build` takes.
    """

    head: nn.Linear

    def __init__(self, *, class_names: Sequence[str], head_name: str, **description: Any):
        super().__init__(**description)
        self.class_names = tuple(class_names)
        self.head_name = head_name
        self.provenance: dict[str, str] = {}

    @property
    def classes(self) -> int:
        """The number of classes."""
        return len(self.class_names)

    @property
    def penultimate_tap(self) -> str:
        """The name under which `priors.reading.taps` gives the penultimate activations."""
        return f"{self.head_name}:input"

    @property
    def ends(self) -> dict[str, str]:
        """The penultimate activations and the logits."""
        return {"penultimate": self.penultimate_tap, "logits": self.head_name}

    @abstractmethod
    def penultimate(self, images: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch m"]:
        """The head's input for images in [0, 1]."""

    @abstractmethod
    def forward(self, images: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch classes"]:
        """Logits for images in [0, 1]."""


class Network(Classifier):
    """A classifier built by name: a body, a linear projection where one was asked for, and a linear head.

    Final: another architecture is another body.
    """

    def __init__(self, body: nn.Module, projection: nn.Linear | None, head: nn.Linear, **description: Any):
        super().__init__(head_name="head", **description)
        self.body = body
        self.projection = nn.Identity() if projection is None else projection
        self.head = head

    def penultimate(self, images: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch m"]:
        """The head's input for images in [0, 1]."""
        return self.projection(self.body(self.normalise(images)))

    def forward(self, images: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch classes"]:
        """Logits for images in [0, 1]."""
        return self.head(self.penultimate(images))


def names_of_classes(classes: int | Sequence[str]) -> tuple[str, ...]:
    """Class names from a count ("0", "1", ...) or from names, which must differ.

    Raises:
        InputError: fewer than two classes, a name that is no text, or one given twice.
    """
    if isinstance(classes, bool) or not isinstance(classes, int | Sequence) or isinstance(classes, str):
        raise InputError(f"classes is {shown(classes)}: a number of classes or a list of their names was expected")
    names = tuple(str(index) for index in range(classes)) if isinstance(classes, int) else tuple(classes)
    count = classes if isinstance(classes, int) else len(names)
    if count < 2:
        raise InputError(f"{count} class{'es' * (count != 1)}: at least two were expected")
    seen = set()
    for label, name in enumerate(names):
        if not isinstance(name, str):
            raise InputError(f"the class name {shown(name)} is no text: names were expected, such as {str(label)!r}")
        if name in seen:
            raise InputError(f"the class name {name!r} is given twice: names tell classes apart")
        seen.add(name)
    return names


def same_classes(theirs: Sequence[str], ours: Sequence[str]) -> bool:
    """Whether a model's classes are a data set's: by name, or in order where names are bare numbers or WordNet's.

    Numbers in an order that no list of folders has, as of chosen classes, are names.

    Args:
        theirs: names of the model's.
        ours: of the data set's.

    Example:
        >>> same_classes(["0", "1"], ["cat", "dog"]), same_classes(["cat", "dog"], ["dog", "cat"])
        (True, False)
        >>> same_classes(["0", "1"], ["1", "0"])
        False
    """
    theirs, ours = tuple(theirs), tuple(ours)
    by_number = theirs == tuple(map(str, range(len(theirs)))) and not _renumbered(ours)
    by_number |= all(re.fullmatch(r"n\d{8}", name) for name in ours)
    return len(theirs) == len(ours) and (theirs == ours or by_number)


def _renumbered(names: Sequence[str]) -> bool:
    """Whether names are numbers that stand neither in order nor as texts are sorted."""
    numbers = all(name.isdecimal() for name in names)
    return numbers and list(names) != sorted(names) and list(names) != sorted(names, key=int)


def _as_text(shape: Sequence[int]) -> str:
    return " x ".join(str(size) for size in shape)


def _per_channel(what: str, values: int | float | Sequence[int] | Sequence[float], channels: int | None) -> list[float]:
    """One finite number a channel (positive for a standard deviation)."""
    numbers = [float(values)] if isinstance(values, int | float) else [float(value) for value in values]
    if channels is not None and len(numbers) == 1:
        numbers *= channels
    if not numbers or (channels is not None and len(numbers) != channels):
        raise InputError(
            f"{what} has {len(numbers)} values: one, or one for each of {channels or 'the'} channels was expected"
        )
    if not all(math.isfinite(number) for number in numbers) or (what == "std" and min(numbers) <= 0):
        raise InputError(f"{what} is {values}: finite{' positive' if what == 'std' else ''} numbers were expected")
    return numbers
