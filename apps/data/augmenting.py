"""What --augment names, made for a training set."""

from typing import TYPE_CHECKING

from apps.data.augment import Augmentation, augmentation_for
from apps.data.augment_words import RESIZED_CROP, augment_words
from apps.data.policies import Policy
from apps.data.resized_crop import ResizedCrop
from priors.errors import InputError

if TYPE_CHECKING:
    from apps.data.image_set import ImageSet

Augmenting = Augmentation | ResizedCrop | Policy
"""What may be done to a batch at random."""


def augmentation_by(word: str, images: "ImageSet", fill: str) -> Augmenting | None:
    """What --augment names, for a training set; None where that is nothing.

    Args:
        word: "none", or "flip", one of "crop" (of 4 pixels of padding) and "resized-crop", and a policy, joined by +;
            what mixes images is not of one image, and passed over.
        images: the training set.
        fill: what the padding is, as for `augmentation_for`.

    Raises:
        InputError: as for `augmentation_for`, or a padding is given for crops that have none.
    """
    said = augment_words(word)
    parts = said.moves.split("+")
    if RESIZED_CROP not in parts:
        moves = augmentation_for(images, flip="flip" in parts, padding=4 if "crop" in parts else 0, fill=fill)
    elif fill != "black":
        raise InputError(f"--crop-fill {fill}: --augment {word} pads nothing; leave it out")
    else:
        moves = ResizedCrop("flip" in parts)
    return moves if said.policy is None else Policy(moves or Augmentation(), said.policy)
