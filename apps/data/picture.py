"""A picture of the user's own, as a network takes it."""

import os
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from apps.command.console import say
from apps.data.sources.decoding import centre, decoded, opened
from priors.errors import InputError


def read_picture(
    path: Path, image_shape: tuple[int, int, int], shorter: int | None = None, given: str = "--image "
) -> Float[Tensor, "channels height width"]:
    """A picture with values k / 255, brought to a network's size as the pictures of image folders are.

    The shorter side is resized and the centre cut out, which is said in a line; pictures of cameras are turned as they
    were held; colour becomes grey where the network takes grey.

    Args:
        path: of the file.
        image_shape: (channels, height, width) that is wanted.
        shorter: the shorter side before the centre is cut out; None: the size itself.
        given: what messages put before the path.

    Raises:
        InputError: no file there, none that is a picture, or one of more than 8 bits a pixel.
    """
    channels, height, width = image_shape
    if height != width:
        raise InputError(f"{given}{path}: pictures are brought to squares, and this network takes {height}x{width}")
    if not os.path.lexists(path):
        raise InputError(f"{given}{path}: no such file")
    with opened(path) as image:
        picture = decoded(image, path, channels)
    if picture.size != (width, height) or (shorter or height) != height:
        first = "" if (shorter or height) == height else f" to {shorter}"
        say(
            f"{path} is resized from {picture.height}x{picture.width} to {height}x{width} (height x width: "
            f"shorter side resized{first}, the centre cut out)."
        )
    pixels = np.array(centre(picture, height, shorter), dtype=np.uint8).reshape(height, width, channels)
    return torch.from_numpy(pixels).permute(2, 0, 1).float() / 255
