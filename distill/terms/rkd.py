"""Relational knowledge distillation: distances and angles between a batch's penultimate activations."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from distill.term import Given, Loss, Needs, Setting, Term
from distill.trace import Trace
from distill.unit import unit


def differences(vectors: Float[Tensor, "batch m"]) -> Float[Tensor, "batch batch m"]:
    """x_i - x_j at [j, i]. Taken before any product: |x|^2 + |y|^2 - 2 x.y cancels where two of them are close."""
    vectors = vectors.float()
    return vectors - vectors[:, None]


def distances(apart: Float[Tensor, "batch batch m"]) -> Float[Tensor, "batch batch"]:
    """|x_i - x_j| over the mean of those that are positive (Park et al. 2019, section 3.2.1)."""
    found = torch.linalg.vector_norm(apart, dim=2)  # its gradient is taken as 0 at 0
    mean = found.sum() / (found > 0).sum().clamp(min=1)
    return found / torch.where(mean > 0, mean, 1)


def cosines(apart: Float[Tensor, "batch batch m"]) -> Float[Tensor, "batch batch batch"]:
    """At [j, i, k] the cosine of the angle at x_j between x_i and x_k (Park et al. 2019, section 3.2.2)."""
    with torch.autocast(apart.device.type, enabled=False):
        directions = unit(apart)
        return directions @ directions.mT


def relations(
    student: Float[Tensor, "batch _"], teacher: Float[Tensor, "batch _"], distance: float, angle: float
) -> Float[Tensor, ""]:
    """Weighted Huber losses of distances and of cosines, means over all pairs and triplets (Park et al. 2019, 3.2).

    Args:
        student: activations, one row an image.
        teacher: likewise, of any width.
        distance: weight of the pairs; where it is 0, they are not computed.
        angle: weight of the triplets, likewise. One of both must be positive.
    """
    s, t = differences(student), differences(teacher)
    parts = ((distance, distances), (angle, cosines))
    return sum(weight * F.smooth_l1_loss(relation(s), relation(t)) for weight, relation in parts if weight > 0)


class _Relations(Loss):
    def __init__(self, distance: float, angle: float, setting: Setting):
        super().__init__()
        self.distance = distance
        self.angle = angle
        self.gather = setting.gather_with_gradients

    def loss(self, student: Trace, teacher: Trace | None, given: Given):
        s, t = self.gather(student.penultimate), self.gather(teacher.penultimate)
        return relations(s, t, self.distance, self.angle)


@dataclass(frozen=True)
class RKD(Term):
    """Difference of the distances and of the angles between the images of a batch.

    Means are over all pairs and triplets, also of an image with itself, as in the authors' code and Tian et al. 2020's.
    Both compare the final layer's inputs, the averaged last stage.
    """

    needs = Needs(teacher=True, penultimate=True)
    paper = "Park, Kim, Lu and Cho, Relational knowledge distillation, 2019 (arXiv 1904.05068)"
    zero = True
    couples = True

    weight: float = 1.0
    """Of the loss in the objective (Tian et al. 2020)."""
    distance: float = 25.0
    """Weight of the distances in it (Tian et al. 2020)."""
    angle: float = 50.0
    """Weight of the angles in it (Tian et al. 2020)."""

    def __post_init__(self):
        """Refuse what cannot be followed."""
        super().__post_init__()
        self.require("distance", 0 <= self.distance < float("inf"), "a number of 0 or more")
        self.require("angle", 0 <= self.angle < float("inf"), "a number of 0 or more")
        self.require("angle", self.distance + self.angle > 0, "a positive number where --rkd.distance is 0")

    def build(self, setting: Setting) -> Loss:
        """The loss; activations of all widths can be compared."""
        return _Relations(self.distance, self.angle, setting)
