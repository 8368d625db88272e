"""Mixing each image of a batch with the one before it, and their labels alike: mixup and CutMix."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from apps.data.augment_words import MIXUP, augment_words
from apps.data.batches import Batch
from apps.seeds import derive


@dataclass(frozen=True)
class Mixed:
    """A batch's images as they were mixed.

    Attributes:
        images: (batch, channels, height, width).
        labels: (batch,), of each image's own class.
        others: (batch,), of the class of what was mixed in.
        weight: of the own class in the targets, in [0, 1].
    """

    images: Float[Tensor, "batch channels height width"]
    labels: Int64[Tensor, " batch"]
    others: Int64[Tensor, " batch"]
    weight: float

    def mean(self, loss: Callable[[Tensor], Tensor]) -> Tensor:
        """A loss of labels for the mixed targets: it is linear in these."""
        return self.weight * loss(self.labels) + (1 - self.weight) * loss(self.others)


@dataclass(frozen=True)
class Mixing:
    """How batches are mixed.

    An image's other one is that before it in the whole batch, and the first's is the last: the order of a batch is
    random already, so a neighbour is a random other image. Kind, weight and place are drawn once for a batch, by its
    step and the seed alone, on the CPU: no device is waited for, and neither parts nor processes change them.

    Attributes:
        kinds: some of `apps.data.augment_words.MIXES`; of two, one is drawn for each batch, each as often.
        alpha: parameter of the beta distribution of mixup's weights; CutMix's are uniform.
        seed: of the run.
    """

    kinds: tuple[str, ...]
    alpha: float
    seed: int

    def of(self, batch: Batch, step: int) -> Mixed:
        """The batch of a step, mixed."""
        images, others = batch.before()
        if self.kind(step) == "mixup":
            weight = mixup_weight(self.alpha, self.seed, step)
            return Mixed(torch.lerp(images, batch.images, weight), batch.labels, others, weight)
        height, width = batch.images.shape[2:]
        x1, y1, x2, y2 = cut_box(self.seed, step, height, width)
        shown = batch.images.clone()
        shown[:, :, y1:y2, x1:x2] = images[:, :, y1:y2, x1:x2]
        return Mixed(shown, batch.labels, others, 1.0 - (x2 - x1) * (y2 - y1) / (width * height))

    def kind(self, step: int) -> str:
        """What a step's batch is mixed by."""
        if len(self.kinds) == 1:
            return self.kinds[0]
        return self.kinds[int(np.random.default_rng(derive(self.seed, "mixing", step)).integers(len(self.kinds)))]


def mixing_for(augment: str, mixup: float | None, seed: int) -> Mixing | None:
    """What --augment and --mixup ask for; None where nothing is mixed.

    `--augment mixup` is `--mixup 1`, which says another parameter.

    Args:
        augment: what --augment says.
        mixup: what --mixup says; None where it is not given.
        seed: of the run.

    Raises:
        InputError: as for `augment_words`.
    """
    kinds = augment_words(augment).mixes or (("mixup",) if mixup is not None else ())
    return Mixing(kinds, MIXUP if mixup is None else mixup, seed) if kinds else None


def mixup_weight(alpha: float, seed: int, step: int) -> float:
    """The weight from Beta(alpha, alpha) by which mixup (Zhang et al. 2018, arXiv 1710.09412) mixes a step's batch."""
    return float(np.random.default_rng(derive(seed, "mixup", step)).beta(alpha, alpha))


def cut_box(seed: int, step: int, height: int, width: int) -> tuple[int, int, int, int]:
    """The box that CutMix (Yun et al. 2019, arXiv 1905.04899) fills from other images: its left, top, right, bottom.

    Its area is 1 - lambda of the image's, lambda uniform (Beta(1, 1)), where its middle, a uniform pixel, lets it lie
    within the image; it ends at the edges.
    """
    drawn = np.random.default_rng(derive(seed, "cutmix", step))
    own = float(drawn.beta(1.0, 1.0))
    return box_of(own, int(drawn.integers(width)), int(drawn.integers(height)), height, width)


def box_of(own: float, x: int, y: int, height: int, width: int) -> tuple[int, int, int, int]:
    """The box about a pixel with what is left by a share of the image, as torchvision rounds it."""
    half = 0.5 * (1.0 - own) ** 0.5
    wide, tall = int(half * width), int(half * height)
    return max(x - wide, 0), max(y - tall, 0), min(x + wide, width), min(y + tall, height)
