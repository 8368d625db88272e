"""What is set beside a network or images: other networks, and other images, from files or drawn by a run."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from accelerate import Accelerator

from apps.data.image_set import ImageSet
from apps.data.outliers import are_pictures, outliers
from apps.models.named import classifier, is_run, open_run
from apps.models.other_images import check_shape
from apps.models.registry import CLASSIFIER, kind_of
from apps.pretrained_models.finding import place_of
from apps.runs.run import Run
from priors.errors import InputError
from priors.zoo import Classifier


@dataclass(frozen=True)
class Beside:
    """One of --against, found before anything is measured.

    Attributes:
        name: as on the command line.
        network: that it means; None of images.
        run: whose images are to be drawn; None of others.
        images: that it means; None where they are to be drawn, or of a network.
        note: how pictures were brought to a size, in words; nothing where they were not.
    """

    name: str
    network: Classifier | None = None
    run: Run | None = None
    images: ImageSet | None = None
    note: str = ""

    def drawn(self, like: ImageSet, accelerator: Accelerator, seed: int) -> ImageSet | None:
        """Its images; as many as a set has where they are drawn. None of a network."""
        if self.run is None:
            return self.images
        return kind_of(self.run).drawn(self.run, like, accelerator, seed)


def beside(names: Sequence[str], own: ImageSet, root: Path | None, seed: int) -> list[Beside]:
    """Find what --against names.

    Args:
        names: as given.
        own: the images that others are compared with.
        root: folder of the data sets.
        seed: of noise.

    Raises:
        InputError: one is given twice, is not there, holds no images, or is the images themselves.
    """
    if twice := [name for at, name in enumerate(names) if name in names[:at]]:
        raise InputError(f"--against {twice[0]} is given twice: leave one out")
    return [_found(name, own, root, seed) for name in names]


def _found(name: str, own: ImageSet, root: Path | None, seed: int) -> Beside:
    if not is_run(name):
        return _network(name, own)
    if (place_of(name) / "config.json").is_file():
        run = open_run(name)
        kind = kind_of(run)
        if kind is CLASSIFIER:
            return _network(name, own)
        if kind.drawn is None:
            raise InputError(f"--against {name} is {kind.family}, which draws no images: give another run")
        return Beside(name, run=run)
    images = outliers(name, own.image_shape, len(own), root=root, seed=seed)
    if images.digest == own.digest:
        raise InputError(f"--against {name}: these are the same images; give others")
    size = f"its pictures are resized to {images.image_shape[1]} pixels, which changes a spectrum"
    return Beside(name, images=images, note=size if are_pictures(name) else "")


def _network(name: str, own: ImageSet) -> Beside:
    network = classifier(name)
    check_shape(network.image_shape, f"--against {name}", own)
    return Beside(name, network=network)
