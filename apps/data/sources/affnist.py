"""affNIST (Tieleman, 2013): the digits of MNIST under random affine maps, on a canvas of 40x40 pixels.

https://www.cs.toronto.edu/~tijmen/affNIST/. Its own files are read where they are in `affnist` under the root of data
sets: as many as are there of `training_and_validation_batches/*.mat`, and `test.mat` or `test_batches/*.mat`. Elsewhere
the set is made from MNIST, the same one on every machine: by affNIST's ranges, and by choices of ours where they leave
room.

- Each digit is put in the middle of the canvas (6 black pixels are added on every side), then scaled, sheared, turned
  (in this order, which is ours, about the middle) and shifted.
- Scale: uniform in [.8, 1.2], width and height apart. Shear: uniform in [-.2, .2], along the rows (ours). Rotation:
  uniform in [-20, 20] degrees.
- Shift: uniform among those of at most 8 pixels that lose nothing of the digit over the canvas's edge, horizontally
  and vertically apart.
- Between pixels it is interpolated linearly, in float64, and rounded to 0 ... 255 (ours).
- Six numbers an image are drawn, from a generator named by the split and the version.

affNIST has 32 versions of each image, 1,920,000 to train and validate on and 320,000 to test on. We make `VERSIONS` of
each, which is 1 on purpose: of several, a part held out at random has the originals of the rest, and says too little of
new digits.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float64, Int64, UInt8
from torch import Tensor

from apps.data.image_set import ImageSet
from apps.data.sources.affnist_files import TRAINING, own_files
from apps.data.sources.catalogue import DatasetInfo
from apps.seeds import generator
from priors.errors import InputError

SIDE = 40
"""Height and width of the canvas in pixels."""
VERSIONS = 1
"""Images that are made of each of MNIST's, of 1,600 bytes each."""
ROTATION = math.radians(20)
"""Largest angle of a rotation, in radians."""
SHEAR = 0.2
"""Largest shift of a row, over its distance from the middle."""
SCALE = 0.2
"""Largest distance of a factor from 1."""
SHIFT = 8.0
"""Largest shift, in pixels."""

_CHUNK = 100  # images at a time: what they take stays in the processor's cache


@dataclass(frozen=True)
class Maps:
    """One affine map an image: a point goes to `linear @ point + shift`, x to the right and y down from the middle."""

    linear: Float64[Tensor, "n 2 2"]
    """Scale, shear and rotation."""
    shift: Float64[Tensor, "n 2"]
    """In pixels."""


def read_affnist(info: DatasetInfo, split: str, root: Path, mnist: Callable[[], ImageSet]) -> ImageSet:
    """One split: affNIST's own files where they are in `root`; else made from what `mnist()` gives.

    Raises:
        InputError: MNIST cannot be had; or files of affNIST's are damaged, of another set, or of one split only.
    """
    folder = root / info.name
    files = own_files(folder)
    if not any(files.values()):
        return replace(transformed(mnist()), name=info.name)
    if not all(files.values()):
        missing = "test.mat or test_batches/*.mat" if files["train"] else f"{TRAINING}/*.mat"
        raise InputError(
            f"{folder} has no {missing}: put both splits there, or move the folder away to have the set made from MNIST"
        )
    parts = [_read(path) for path in files[split]]
    return ImageSet(
        name=info.name,
        split=split,
        images=torch.cat([images for images, _ in parts]),
        labels=torch.cat([labels for _, labels in parts]),
        class_names=info.class_names,
        source=str(folder),
    )


def transformed(originals: ImageSet, versions: int = VERSIONS) -> ImageSet:
    """Each image under `versions` maps: the whole set under the first ones, then under the second ones, and so on."""
    count = len(originals)
    images = torch.empty((versions * count, 1, SIDE, SIDE), dtype=torch.uint8)
    for version in range(versions):
        numbers = torch.rand(
            (count, 6), dtype=torch.float64, generator=generator("cpu", "affnist", originals.split, version)
        )
        for start in range(0, count, _CHUNK):
            pixels = originals.images[start : start + _CHUNK]
            place = version * count + start
            images[place : place + len(pixels)] = apply(pixels, maps_for(pixels, numbers[start : start + _CHUNK]))
    source = f"made from {originals.name} in {originals.source}"
    return replace(originals, images=images, labels=originals.labels.repeat(versions), source=source)


def maps_for(pixels: UInt8[Tensor, "n 1 height width"], numbers: Float64[Tensor, "n 6"]) -> Maps:
    """A map an image by numbers in [0, 1): of its rotation, shear, scales and shifts, horizontal before vertical."""
    angle, shear, *scales = (2 * numbers[:, :4] - 1).unbind(1)
    angle, shear, (wide, high) = ROTATION * angle, SHEAR * shear, (1 + SCALE * scale for scale in scales)
    cos, sin = angle.cos(), angle.sin()
    # Rotation @ [[1, shear], [0, 1]] @ [[wide, 0], [0, high]].
    rows = [cos * wide, (cos * shear - sin) * high, sin * wide, (sin * shear + cos) * high]
    linear = torch.stack(rows, 1).view(-1, 2, 2)
    x, y = (torch.arange(side, dtype=torch.float64) - (side - 1) / 2 for side in (pixels.shape[3], pixels.shape[2]))
    places = linear[:, :, 0, None, None] * x + linear[:, :, 1, None, None] * y[:, None]
    ink, reach = pixels > 0, linear.abs().sum(2)  # a pixel's value is felt up to its neighbours, one pixel away
    lowest = torch.where(ink, places, torch.inf).amin((2, 3)) - reach
    highest = torch.where(ink, places, -torch.inf).amax((2, 3)) + reach
    beyond = (SIDE + 1) / 2  # where the first pixels outside the canvas would be
    least, most = (-beyond - lowest).clamp_min(-SHIFT), (beyond - highest).clamp_max(SHIFT)
    middle = (least + most) / 2  # where what does not fit goes
    least, most = torch.minimum(least, middle), torch.maximum(most, middle)
    return Maps(linear, least + numbers[:, 4:] * (most - least))


def apply(pixels: UInt8[Tensor, "n 1 height width"], maps: Maps) -> UInt8[Tensor, "n 1 40 40"]:
    """Images under their maps, on the canvas."""
    (a, b), (c, d) = (row.unbind(1) for row in maps.linear.unbind(1))
    back = torch.stack([torch.stack([d, -b], 1), torch.stack([-c, a], 1)], 1) / (a * d - b * c)[:, None, None]
    # grid_sample counts halves of the image from its middle.
    halves = torch.tensor([pixels.shape[3] / 2, pixels.shape[2] / 2], dtype=torch.float64)
    back = back / halves[:, None]
    canvas = torch.arange(SIDE, dtype=torch.float64) - (SIDE - 1) / 2
    x, y = (canvas - shift[:, None] for shift in maps.shift.unbind(1))
    grid = back[:, None, None, :, 0] * x[:, None, :, None] + back[:, None, None, :, 1] * y[:, :, None, None]
    found = F.grid_sample(pixels.double(), grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    return found.round_().to(torch.uint8)


def _read(path: Path) -> tuple[UInt8[Tensor, "n 1 40 40"], Int64[Tensor, " n"]]:
    """Images and labels of one of affNIST's files.

    Raises:
        InputError: it is damaged, or holds something else.
    """
    from scipy.io import loadmat

    try:
        held = loadmat(path, variable_names=["affNISTdata"])["affNISTdata"]
        images, labels = held["image"][0, 0], held["label_int"][0, 0].ravel()
    except Exception as error:
        # The reader lets through whatever struct, zlib and its own checks raise.
        said = str(error).partition("\n")[0]
        raise InputError(f"{path} is damaged or no file of affNIST ({type(error).__name__}: {said})") from None
    if images.dtype != np.uint8 or images.shape != (SIDE * SIDE, len(labels)) or not len(labels):
        raise InputError(
            f"{path} holds {images.dtype} images of shape {images.shape} and {len(labels)} labels: uint8 of shape "
            f"({SIDE * SIDE}, N) and N labels were expected"
        )
    if not np.isin(labels, range(10)).all():
        raise InputError(f"{path} holds labels other than the digits 0 to 9")
    pixels = torch.from_numpy(np.ascontiguousarray(images.T)).view(-1, 1, SIDE, SIDE)
    return pixels, torch.from_numpy(labels.astype(np.int64))
