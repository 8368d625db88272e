"""What a run found of each test image, so that two of them can be compared image by image."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Shaped
from torch import Tensor

from priors.errors import InputError
from priors.files.tensors import read_tensors, write_tensors

FILE = "by-image.safetensors"
_DIGEST = "data_digest"


@dataclass(frozen=True)
class ByImage:
    """Scores of the same images, one each.

    Attributes:
        scores: by name, such as "accuracy": 1 where the class was found, and 0; (images,).
        digest: of the images, with what else two runs must have been asked alike.
    """

    scores: Mapping[str, Shaped[Tensor, " images"]]
    digest: str


def keep_by_image(folder: Path, scores: Mapping[str, Tensor], digest: str, replace: bool = True) -> None:
    """Write what was found of each image into a run's folder.

    Args:
        folder: the run's.
        scores: by name; (images,). Ones and zeros are kept in a byte each.
        digest: of the images, with what else two runs must have been asked alike.
        replace: whether to take the place of what is there of other images.
    """
    if not replace and (there := by_image(folder)) is not None and there.digest != digest:
        return
    kept = {name: _small(values) for name, values in scores.items()}
    write_tensors(folder / FILE, kept, {_DIGEST: digest})


def by_image(folder: Path) -> ByImage | None:
    """What is kept of each test image; None where nothing that can be read is, as of runs of before."""
    if not (folder / FILE).is_file():
        return None
    with suppress(InputError):
        scores, said = read_tensors(folder / FILE, "scores of images")
        return ByImage(scores, said.get(_DIGEST, ""))
    return None


def _small(values: Tensor) -> Tensor:
    yes_or_no = bool(((values == 0) | (values == 1)).all())
    return values.to(torch.uint8 if yes_or_no else torch.float32).cpu()
