"""Similarity-preserving distillation: which images of a batch are alike."""

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from distill.feature_maps import Activation, activated
from distill.term import Given, Loss, Needs, Setting, Term, paired
from distill.trace import Trace
from distill.unit import unit


def similarities(maps: Float[Tensor, "batch *rest"]) -> Float[Tensor, "batch batch"]:
    """G = F F^T of the flattened maps F, each row over its norm (Tung and Mori 2019, equations 1 and 2)."""
    flat = maps.float().flatten(1)
    with torch.autocast(flat.device.type, enabled=False):
        return unit(flat @ flat.T)


def difference(student: Float[Tensor, "batch *_"], teacher: Float[Tensor, "batch *_"]) -> Float[Tensor, ""]:
    """|G_t - G_s|_F^2 / batch^2 (Tung and Mori 2019, equation 3); maps of both may have any shape."""
    return (similarities(student) - similarities(teacher)).square().mean()


class _Similarity(Loss):
    def __init__(self, first: int, activation: Activation, setting: Setting):
        super().__init__()
        self.first = first
        self.activation = activation
        self.gather = setting.gather_with_gradients

    def loss(self, student: Trace, teacher: Trace | None, given: Given):
        pairs = zip(student.stages[self.first :], teacher.stages[self.first :], strict=True)
        return sum(difference(*(activated(self.gather(maps), self.activation) for maps in pair)) for pair in pairs)


@dataclass(frozen=True)
class SP(Term):
    """Squared distance between the matrices of similarities within a batch.

    Activation maps are compared: hence the ReLU, as in Tian et al. 2020's code of residual networks and VGGs, which the
    authors have checked. Of a wide residual network it takes the last group's sum as it is, without norm and ReLU:
    activation none and the tap body.group3. It compares the last stages, and divides each row by its norm.
    """

    needs = Needs(teacher=True, stages=True)
    paper = "Tung and Mori, Similarity-preserving knowledge distillation, 2019 (arXiv 1907.09682)"
    zero = True
    couples = True

    weight: float = 3000.0
    """Of the loss in the objective (Tian et al. 2020)."""
    stages: Literal["last", "all"] = "last"
    """Where images are compared; all: a sum over the stages."""
    activation: Activation = "relu"
    """What follows the stages."""

    def build(self, setting: Setting) -> Loss:
        """The loss; feature maps of all shapes can be compared.

        Raises:
            InputError: no stages, or another number of them.
        """
        paired(self, setting)
        return _Similarity(-1 if self.stages == "last" else 0, self.activation, setting)
