"""What --augment can say: moves of the image, a policy of torchvision's, and mixing, joined by +. No torch here."""

from dataclasses import dataclass

from priors.errors import InputError, unknown

RESIZED_CROP = "resized-crop"
"""The word for random parts of images, see `apps.data.resized_crop`."""
MOVES = ("flip", "crop", RESIZED_CROP)
"""Random flips, crops of the padded image, and parts brought to its size."""
POLICIES = ("autoaugment", "autoaugment-cifar10", "autoaugment-svhn", "randaugment", "trivial")
"""Policies of torchvision v2: AutoAugment as found on ImageNet, CIFAR-10 or SVHN, RandAugment, TrivialAugmentWide."""
MIXES = ("mixup", "cutmix")
"""What mixes an image of a batch with another one, and their labels alike."""
_WHOLE = ("auto", "none")
MIXUP = 1.0
"""The parameter of the beta distribution of the word mixup, as torchvision has it."""


@dataclass(frozen=True)
class AugmentWords:
    """What is done to training images, in this order: moves, then a policy, then mixing.

    Attributes:
        moves: "auto", "none", or one or two of `MOVES` joined by +, as they were given.
        policy: one of `POLICIES`; None for none.
        mixes: some of `MIXES`; of several, one is drawn for each batch.
    """

    moves: str = "none"
    policy: str | None = None
    mixes: tuple[str, ...] = ()


def augment_words(text: str) -> AugmentWords:
    """Take --augment apart; the order of the words does not matter.

    Raises:
        InputError: an unknown word, one that is there twice, or two that do not go together.

    Example:
        >>> augment_words("crop+flip+randaugment+cutmix")
        AugmentWords(moves='crop+flip', policy='randaugment', mixes=('cutmix',))
    """
    words = text.split("+")
    for word in words:
        if word not in (*_WHOLE, *MOVES, *POLICIES, *MIXES):
            raise unknown("augmentation", word, (*_WHOLE, *MOVES, *POLICIES, *MIXES), "join several by +")
    if len(set(words)) < len(words):
        raise InputError(f"--augment {text}: a word is there twice")
    moves = [word for word in words if word in (*_WHOLE, *MOVES)]
    policies = [word for word in words if word in POLICIES]
    if len(moves) > 1 and set(moves) & set(_WHOLE):
        raise InputError(
            f"--augment {text}: {moves[0]} beside {moves[1]}; auto and none say of themselves what is moved"
        )
    if {"crop", RESIZED_CROP} <= set(moves):
        raise InputError(f"--augment {text}: both are crops; leave one out")
    if len(policies) > 1:
        raise InputError(f"--augment {text}: {' and '.join(policies)} are two policies; leave one out")
    return AugmentWords(
        "+".join(moves) or "none", policies[0] if policies else None, tuple(word for word in words if word in MIXES)
    )


def check_augment(text: str, mixup: float | None = None) -> None:
    """Refuse what --augment cannot be, and --mixup beside a mixing that it does not say anything of.

    Raises:
        InputError: as for `augment_words`, or --mixup is given with cutmix alone.
    """
    mixes = augment_words(text).mixes
    if mixup is not None and mixes and "mixup" not in mixes:
        raise InputError(
            f"--mixup {mixup:g} with --augment {text}: that mixes by cutmix; add mixup to it, or leave one out"
        )
