"""How far the slopes of a student's outputs are turned from its teacher's: the angle between their input-Jacobians."""

from dataclasses import dataclass

import torch
from torch import nn

from apps.data.batches import Batch
from apps.data.image_set import ImageSet
from apps.training.task import Sweep
from distill.angles import angle
from distill.jacobians import slopes
from distill.trace import trace

NAME = "jacobian angle"
"""Of the metric, in degrees."""
MOST = 256
"""Images that it is measured on at most."""
_AT_A_TIME = 64


@dataclass(frozen=True)
class JacobianAngle:
    """A mean over images of the angle between two networks' derivatives of the logit of the image's class in the image.

    Figures 2 and 3 of Srinivas and Fleuret 2019 follow it over a training. Both networks are in evaluation mode.

    Attributes:
        teacher: the network that is compared with.
        images: what both are shown, as they are, without augmentation.
    """

    teacher: nn.Module
    images: ImageSet

    def of(self, student: nn.Module, sweep: Sweep) -> float:
        """The mean angle in degrees, 0 to 180, the same on every process."""

        def angles(batch: Batch) -> dict[str, torch.Tensor]:
            found = []
            for network in (student, self.teacher):
                seen = trace(network, batch.images, derivatives=True, labels=batch.labels)
                found.append(slopes(seen, True, graph=False).image)
            return {NAME: angle(*found)}

        return float(sweep(self.images, angles, batch_size=_AT_A_TIME, gradients=True)[NAME].double().mean())


def some_of(images: ImageSet) -> ImageSet:
    """At most `MOST` of the images, evenly spaced."""
    if len(images) <= MOST:
        return images
    return images.subset(torch.linspace(0, len(images) - 1, MOST).long(), f"{images.split}-{MOST}")
