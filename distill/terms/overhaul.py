"""Overhaul of feature distillation: the teacher's stages above a margin, from the student's before its ReLU."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from distill.levels import levels
from distill.reduced_maps import ReducedMaps
from distill.term import Given, Loss, Needs, Setting, Term, paired
from distill.trace import Trace


def partial_distance(
    student: Float[Tensor, "batch channels height width"], teacher: Float[Tensor, "batch channels height width"]
) -> Float[Tensor, ""]:
    """(s - t)^2 where s > t or t > 0, a sum over units and a mean over the batch (Heo et al. 2019, equation 2).

    A unit that the teacher has off may be anything below its value.

    Args:
        student: s, after the connector.
        teacher: t, none below its channel's margin.
    """
    free = (student <= teacher) & (teacher <= 0)  # said so that what is no number stays none
    return torch.where(free, 0, student - teacher).square().sum() / len(student)


class _Overhaul(Loss):
    def __init__(self, config: "Overhaul"):
        super().__init__()
        self.config = config

    def loss(self, student: Trace, teacher: Trace | None, given: Given):
        pairs = given.shared[ReducedMaps()]
        found = [partial_distance(pair.student, pair.teacher) for pair in pairs]
        return levels(found, self.config.decay) / self.config.divisor


@dataclass(frozen=True)
class Overhaul(Term):
    """Squared distance of the student's units from the teacher's above a margin, where either is on.

    Stages must be taken before their ReLU, as the zoo's are. Each of the student's goes through a 1x1 convolution
    without bias and batch norm, which are trained, with weight decay, beside the student; those of the teacher are cut
    off below the mean of the channel's negatives. spectral-l1 and cross-power act on the same maps and share the
    connectors. The authors let the teacher's batch norm take each batch's statistics: --teacher-norms batch.

    Beside spectral-l1 or cross-power the weight is that of Rotman and Wolf 2021, equation 10, whose print has lost
    which of its three weights is whose: this and spectral-l1 are sums over units, and so have the two that are alike
    and small. They do not say whether it stands beside the divisor or in its place; with --overhaul.divisor 1 the term
    is about as large as spectral-l1.
    """

    needs = Needs(teacher=True, stages=True, shared=(ReducedMaps(),))
    paper = "Heo, Kim, Yun, Park, Kwak and Choi, A comprehensive overhaul of feature distillation, 2019 (1904.01866)"

    weight: float | None = None
    """Of the loss in the objective; unset: 1, as Heo et al. have it, or 1e-4 beside spectral-l1 or cross-power (Rotman
    and Wolf 2021, equation 10; 1e-5 on ImageNet)."""
    divisor: float = 1000.0
    """Of the sum over units, a mean over the batch: 1,000, or 10,000 on ImageNet (the authors' code)."""
    decay: float = 0.5
    """Weight of a stage in that of the next: of three, a quarter, a half and the whole (the authors' code)."""

    def __post_init__(self):
        """Refuse what cannot be followed."""
        self.require("weight", self.weight is None or 0 <= self.weight < float("inf"), "a number of 0 or more")
        self.require("divisor", 0 < self.divisor < float("inf"), "a positive number")
        self.require("decay", 0 < self.decay <= 1, "a number above 0, and 1 at most")

    @property
    def published_weight(self) -> float:
        """Alone, the authors' own."""
        return 1.0

    def build(self, setting: Setting) -> Loss:
        """The loss; what it learns is shared.

        Raises:
            InputError: no stages, or another number of them.
        """
        paired(self, setting)
        return _Overhaul(self)
