"""A picture of the user's own, as a network takes it."""

import os
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from apps.command.console import say
from apps.data.sources.image_files import centre, decoded, opened
from priors.errors import InputError


def read_picture(path: Path, image_shape: tuple[int, int, int]) -> Float[Tensor, "channels height width"]:
    """A picture with values k / 255, brought to a network's size as the pictures of image folders are.

    The shorter side is resized and the centre cut out, which is said in a line; pictures of cameras are turned as they
    were held; colour becomes grey where the network takes grey.

    Raises:
        InputError: no file there, none that is a picture, or one of more than 8 bits a pixel.
    """
    channels, height, width = image_shape
    if height != width:
        raise InputError(f"--image {path}: pictures are brought to squares, and this network takes {height}x{width}")
    if not os.path.lexists(path):
        raise InputError(f"--image {path}: no such file")
    with opened(path) as image:
        picture = decoded(image, path, channels)
    if picture.size != (width, height):
        say(
            f"{path} is resized from {picture.height}x{picture.width} to {height}x{width} (height x width: "
            "shorter side resized, the centre cut out)."
        )
    pixels = np.array(centre(picture, height), dtype=np.uint8).reshape(height, width, channels)
    return torch.from_numpy(pixels).permute(2, 0, 1).float() / 255
