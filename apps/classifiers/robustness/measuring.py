"""What is measured of a classifier's robustness: a pass over images and classes, which goes on where it was stopped."""

import math
from dataclasses import dataclass
from pathlib import Path

import torch
from accelerate import Accelerator
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from apps.classifiers.robustness.attacks import attack
from apps.classifiers.robustness.settings import RobustnessMeasuring
from apps.data.batches import Batch
from apps.data.image_set import ImageSet
from apps.data.sweep import fewer_if_large, sweep
from apps.seeds import derive
from priors.errors import InputError
from priors.files.tensors import digest_of
from priors.zoo import Classifier

_PAIRS = 320
"""Images and classes a batch at most, which is what is lost at most where a pass is stopped."""


@dataclass(frozen=True)
class Robustness:
    """Changes of images towards wrong classes, the most probable first.

    Attributes:
        norm: L2 norm in pixel values in [0, 1]; 0 where the network gave the class already, NaN where it was not
            reached; (n, wrong).
        target: the class; (n, wrong).
        already: whether the network gave it before; (n, wrong).
        right: whether the network gives an image its label; None where its classes are others.
        values: of an image: channels times height times width.
    """

    norm: Float[Tensor, "n wrong"]
    target: Int64[Tensor, "n wrong"]
    already: Bool[Tensor, "n wrong"]
    right: Bool[Tensor, " n"] | None
    values: int

    @property
    def reached(self) -> Bool[Tensor, "n wrong"]:
        """Which were reached."""
        return self.norm.isfinite()

    def mean(self, which: Bool[Tensor, "n wrong"] | None = None) -> tuple[float, float]:
        """The mean norm and its standard error: of each image over its classes, then over images.

        Args:
            which: that count; None: all that were reached.
        """
        counted = self.reached if which is None else which & self.reached
        norms, numbers = torch.where(counted, self.norm, 0.0), counted.sum(1)
        each = (norms.sum(1) / numbers)[numbers > 0]
        if not len(each):
            return math.nan, math.nan
        return float(each.mean()), float(each.std() / math.sqrt(len(each))) if len(each) > 1 else math.nan


def measure(
    config: RobustnessMeasuring,
    network: Classifier,
    images: ImageSet,
    known: bool,
    store: Path | None,
    accelerator: Accelerator,
) -> Robustness:
    """Change each image towards each of its most probable wrong classes.

    Args:
        config: what was asked for.
        network: on the accelerator's device, in evaluation mode.
        images: that are changed.
        known: whether their labels are the network's classes.
        store: folder in which finished parts are kept; None: they are not.
        accelerator: of this process.

    Raises:
        InputError: no class was reached of any image.
    """
    wrong = min(config.wrong, network.classes - 1)
    most = min(_PAIRS, fewer_if_large(images))

    def of(batch: Batch) -> dict[str, Tensor]:
        with torch.no_grad():
            logits = network(batch.images)
        predicted = logits.argmax(1)
        departure = batch.labels if config.departure == "label" else predicted
        others = logits.nan_to_num(-math.inf).scatter(1, departure[:, None], -math.inf)
        targets = others.topk(wrong, 1).indices
        pairs = batch.images.repeat_interleave(wrong, 0)
        seed = derive(config.seed, "robustness", batch.number) % 2**63
        found = [  # several where one image has more classes than a batch has places
            attack(config.method, network, *some, config.steps, seed)
            for some in zip(pairs.split(most), targets.flatten().split(most), strict=True)
        ]
        return {
            "norm": torch.cat([one.norm for one in found]).view(-1, wrong),
            "already": torch.cat([one.already for one in found]).view(-1, wrong),
            "target": targets,
            "predicted": predicted,
            "label": batch.labels,
        }

    rows = sweep(
        images,
        of,
        batch_size=max(1, most // wrong),
        accelerator=accelerator,
        description=f"robustness of {config.model}",
        store=store,
        key={
            "network": digest_of(network.state_dict()),
            "wrong": wrong,
            "from": config.departure,
            "method": config.method,
            "steps": config.steps,
            "seed": config.seed,
        },
        gradients=True,
    )
    right = rows["predicted"] == rows["label"] if known else None
    found = Robustness(rows["norm"], rows["target"], rows["already"], right, math.prod(images.image_shape))
    if not bool(found.reached.any()):
        raise InputError(
            f"{config.model}: no wrong class was reached of any image within {config.steps} steps: the network is "
            "dead, or give more --steps"
        )
    return found
