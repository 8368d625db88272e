"""Images of another kind than a classifier was trained on, brought to the shape that it takes."""

import os
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import interpolate
from torchvision.transforms.functional import rgb_to_grayscale

from apps.data import sources
from apps.data.image_set import ImageSet
from apps.data.sources.catalogue import DATASETS, takes_size
from apps.data.sources.finding import is_birds, is_split
from apps.data.sources.folder import read_pictures
from apps.data.sources.forms import holds_shards, is_form
from apps.data.sources.npz_arrays import is_npz
from apps.seeds import generator
from priors.errors import InputError, unknown

NOISE = "noise"
"""The name of uniform noise."""
_NOISE_BYTES = 2**28


@dataclass(frozen=True)
class Conversion:
    """Brings images to a shape: first their colours, then their size.

    Attributes:
        given: (channels, height, width) of the images.
        wanted: the same, as the classifier takes them.
        cut: whether they were pictures of any size that were brought to the given one as they were read.
    """

    given: tuple[int, int, int]
    wanted: tuple[int, int, int]
    cut: bool = False

    def __post_init__(self):
        """Only grey and RGB are known."""
        if self.given[0] != self.wanted[0] and {self.given[0], self.wanted[0]} != {1, 3}:
            raise InputError(f"images of {self.given[0]} channels for a classifier of {self.wanted[0]}: give 1 or 3")

    def __call__(self, images: Float[Tensor, "batch _ _ _"]) -> Float[Tensor, "batch channels height width"]:
        """Convert images in [0, 1]."""
        if self.given[0] == 3 and self.wanted[0] == 1:
            images = rgb_to_grayscale(images)
        elif self.given[0] != self.wanted[0]:
            images = images.expand(-1, self.wanted[0], -1, -1)
        if images.shape[2:] != self.wanted[1:]:
            images = interpolate(images, self.wanted[1:], mode="bilinear", antialias=True).clamp(0, 1)
        return images

    def __str__(self) -> str:
        """What is done, in words; nothing where nothing is."""
        said = [f"shorter side resized to {self.given[1]} and the centre cut out"] if self.cut else []
        if self.given[0] != self.wanted[0]:
            said.append(
                "made grey (ITU-R 601 luma)" if self.wanted[0] == 1 else "made RGB (the grey channel three times)"
            )
        if self.given[1:] != self.wanted[1:]:
            before, after = (f"{shape[1]}x{shape[2]}" for shape in (self.given, self.wanted))
            said.append(f"resized from {before} to {after} (bilinear, antialiased)")
        return ", ".join(said)


def outliers(
    name: str, wanted: tuple[int, int, int], count: int, *, root: Path | None = None, seed: int = 0
) -> ImageSet:
    """The test images of a data set, all pictures of a folder, or noise.

    Args:
        name: a data set's name, or hf:, wds: or import:, an .npz file (of a data set, or as `penult sample` writes), a
            folder with test/CLASS/*, any other folder of pictures, or "noise": pixels uniform in 0 ... 255,
            independent.
        wanted: (channels, height, width) that a classifier takes. Noise has this shape; pictures in folders are brought
            to its height (shorter side resized, centre cut out), in colour.
        count: images of noise, at most; fewer where they are large.
        root: folder of the data sets.
        seed: of the noise.

    Raises:
        InputError: there is no such set (the nearest is offered), or no pictures in it.
    """
    channels, height, width = wanted
    if name == NOISE:
        count = max(1, min(count, _NOISE_BYTES // (channels * height * width)))
        stream = generator("cpu", seed, "noise")
        pixels = torch.randint(0, 256, (count, *wanted), dtype=torch.uint8, generator=stream)
        return ImageSet(NOISE, "test", pixels, torch.zeros(count, dtype=torch.int64), ("unlabelled",))
    if name in DATASETS or is_form(name) or is_npz(name):
        size = height if takes_size(name) else None
        return sources.load_pictures(name, "test", root=root, image_size=size)
    folder = Path(name)
    if not folder.is_dir():
        if os.sep in name:
            return sources.load(name, "test", root=root)  # says what is not there
        raise unknown("data set", name, [NOISE, *DATASETS], "or give the path of an .npz file or of a folder")
    if is_birds(folder) or is_split(folder, "test") or holds_shards(folder):
        return sources.load(name, "test", root=root, image_size=height)
    return read_pictures(folder, image_size=height, memory_limit=sources.IN_MEMORY_BYTES, colour=True)


def are_pictures(name: str) -> bool:
    """Whether a name of `outliers` means pictures that may have any size, as those of a folder."""
    return name != NOISE and takes_size(name)


def are_centres(name: str) -> bool:
    """Whether it means pictures of which the centre is cut out, rather than the box of an object."""
    if name in DATASETS:
        return takes_size(name) and DATASETS[name].box is None
    return are_pictures(name) and not is_birds(Path(name))
