"""What a lens is: a way to look at a network's layers, which gives a number a layer, or says why it gives none.

Nothing here imports torch, so that help is instant.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal

if TYPE_CHECKING:
    from pathlib import Path

    from accelerate import Accelerator
    from torch import Tensor

    from apps.data.image_set import ImageSet
    from priors.zoo import Classifier


@dataclass(frozen=True)
class Layer:
    """A layer of a network.

    Attributes:
        name: as it is printed.
        tap: in the network.
        shape: of what it gives for an image: (channels, height, width), or (units,).
        penultimate: whether it gives what the final linear layer is given.
        last: whether it gives the logits.
    """

    name: str
    tap: str
    shape: tuple[int, ...]
    penultimate: bool
    last: bool


@dataclass(frozen=True)
class Subject:
    """What lenses look at.

    Attributes:
        model: the network, as on the command line.
        network: on the accelerator's device, in evaluation mode.
        layers: in the order in which they are computed.
        images: what it is shown.
        objects: (images, height, width) truth values, where in each the object is; None where nothing says so.
        known: whether their labels are classes of the network.
        runs: folders in which other runs may be of this network.
        accelerator: of this process.
        seed: of what is drawn.
        made: what lenses share, see `once`.
    """

    model: str
    network: "Classifier"
    layers: tuple[Layer, ...]
    images: "ImageSet"
    objects: "Tensor | None"
    known: bool
    runs: tuple["Path", ...]
    accelerator: "Accelerator"
    seed: int
    made: dict[Hashable, Any] = field(default_factory=dict, repr=False, compare=False)

    def once(self, key: Hashable, make: Callable[[], Any]) -> Any:
        """What is found of all images for several lenses: the first that asks finds it."""
        if key not in self.made:
            self.made[key] = make()
        return self.made[key]


@dataclass(frozen=True)
class Seen:
    """A batch, once for all lenses.

    Attributes:
        images: (batch, channels, height, width), in [0, 1].
        labels: (batch,).
        index: (batch,), places in the set.
        values: by the layer's name, what it gives.
        penultimate: (batch, m), what the final linear layer is given.
        made: what lenses share, see `once`.
    """

    images: "Tensor"
    labels: "Tensor"
    index: "Tensor"
    values: Mapping[str, "Tensor"]
    penultimate: "Tensor"
    made: dict[Hashable, Any] = field(default_factory=dict, repr=False)

    def once(self, key: Hashable, make: Callable[[], Any]) -> Any:
        """What is made of the batch for several lenses: the first that asks makes it."""
        if key not in self.made:
            self.made[key] = make()
        return self.made[key]


@dataclass(frozen=True)
class Reading:
    """What a lens says of one layer.

    Attributes:
        value: the mean over images, where there are values of images.
        error: its standard error over images.
        images: how many it is of.
        each: (images,), one value an image, NaN where there is none; None where the value is of all images together.
        note: what else is to be said of it, such as the run that it was read from.
    """

    value: float
    error: float
    images: int
    each: "Tensor | None" = None
    note: str = ""


Look = Callable[[Seen], Mapping[str, "Tensor"]]
"""From a batch to rows by name, one an image."""


class Lens(ABC):
    """A way to look at layers. Subclasses are frozen dataclasses, whose fields are what they can be told.

    A lens is a file in `apps/layers/lenses/`, with the lens as its `LENS`; the file's name is what it is called.

    Attributes:
        what: it looks at, in a few words for help.
        title: of its panel and column.
        unit: of its values; empty where they have none.
        meaning: what a value says, in a clause for captions.
        kept: 1 where a higher value says that more of an image is left, -1 where it says that less is, 0 where neither:
            such a lens is compared with no other.
        of: "layer" where a value is of the layer; "stretch" where it is of what lies between the layer before (or the
            image) and this one, so that values of several stretches add up.
        usual: whether it is looked through where no lens is named; costly ones are not.
    """

    what: ClassVar[str]
    title: ClassVar[str]
    unit: ClassVar[str] = ""
    meaning: ClassVar[str]
    kept: ClassVar[Literal[-1, 0, 1]]
    of: ClassVar[Literal["layer", "stretch"]] = "layer"
    usual: ClassVar[bool] = True

    @abstractmethod
    def gaps(self, subject: Subject) -> Mapping[str, str]:
        """Layers that it has no value for, each with the reason in a clause. It is asked before any work."""

    @abstractmethod
    def look(self, subject: Subject, layers: tuple[Layer, ...]) -> Look:
        """Begin with the layers that are no gaps; what is given back is called with each batch, in one pass for all.

        Raises:
            InputError: it cannot look at this network; then all its layers are gaps, for that reason.
        """

    def read(self, subject: Subject, layers: tuple[Layer, ...], rows: Mapping[str, "Tensor"]) -> Mapping[str, Reading]:
        """What the rows of all images say, by layer; unless a lens says otherwise, rows are named after layers."""
        return {layer.name: mean_of(rows[layer.name]) for layer in layers}

    def maps(self, subject: Subject, layers: tuple[Layer, ...], rows: Mapping[str, "Tensor"]) -> Mapping[str, "Tensor"]:
        """By layer, where in each image what it says is: (images, height, width), brighter where more is kept or used.

        Of a lens that has none, nothing.
        """
        return {}

    @property
    def told(self) -> dict[str, Any]:
        """What its values depend on, as JSON."""
        return asdict(self)


def mean_of(each: "Tensor", note: str = "") -> Reading:
    """The mean over the images that have a value."""
    import math

    known = each[each.isfinite()].double()
    count = len(known)
    value = float(known.mean()) if count else math.nan
    error = float(known.std()) / math.sqrt(count) if count > 1 else math.nan
    return Reading(value, error, count, each.double(), note)
