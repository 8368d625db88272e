"""Activation boundaries: which of the teacher's units are on, not how much they are."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from distill.levels import levels
from distill.regressor import connector, regressor
from distill.term import Given, Loss, Needs, Setting, Term, paired
from distill.trace import Trace


def boundary(
    student: Float[Tensor, "batch channels height width"],
    teacher: Float[Tensor, "batch channels height width"],
    margin: float = 1.0,
) -> Float[Tensor, ""]:
    """(s + m)^2 where s > -m and t <= 0, (s - m)^2 where s <= m and t > 0, a sum over units and a mean over the batch.

    The alternative loss of Heo et al. 2019: 0 where each unit of the student is on the teacher's side of its boundary,
    by the margin m or more.

    Args:
        student: the student's units before their ReLU, in the teacher's shape.
        teacher: the teacher's, before their ReLU.
        margin: m.
    """
    s = student.float()
    wrong = torch.where(teacher > 0, margin - s, margin + s).clamp(min=0)
    return wrong.square().sum() / len(s)


class _Boundaries(Loss):
    def __init__(self, connectors: list[nn.Module], config: "AB"):
        super().__init__()
        self.connectors = nn.ModuleList(connectors)
        self.config = config

    def idle(self, pretraining: bool) -> bool:
        """After its own phase, unless it goes on."""
        return not (pretraining or self.config.joint)

    def loss(self, student: Trace, teacher: Trace | None, given: Given):
        config = self.config
        if self.idle(given.pretraining):
            return student.logits[:0].float().sum()  # 0, on the graph
        pairs = zip(student.stages, teacher.stages, self.connectors, strict=True)
        return config.scale * levels([boundary(connect(s), t, config.margin) for s, t, connect in pairs], config.decay)


@dataclass(frozen=True)
class AB(Term):
    """Squared distance of the student's units from the teacher's side of their boundaries, by a margin.

    Stages must be taken before their ReLU, as the zoo's are. Each of the student's goes through a 1x1 convolution
    without bias and batch norm (through a strided or transposed one where sizes differ, as in Tian et al. 2020's code),
    or as it is where it has the teacher's shape.

    The authors' code and that of Tian et al. 2020 have it in a first phase alone, and train by the labels or the
    teacher's posterior afterwards; `joint=True` goes on with it. In that phase all but the final layer is trained; Tian
    et al. leave out a wide residual network's last batch norm as well, which stays as it starts.
    """

    needs = Needs(teacher=True, stages=True)
    paper = (
        "Heo, Lee, Yun and Choi, Knowledge transfer via distillation of activation boundaries formed by hidden "
        "neurons, 2019 (arXiv 1811.03233)"
    )
    pretrains = "student"

    weight: float = 1.0
    """Of the loss in the objective (Tian et al. 2020)."""
    margin: float = 1.0
    """m (the authors' code)."""
    decay: float = 0.5
    """Weight of a stage in that of the next: of n stages, the l-th has 1 / 2^(n - l) (the authors' code)."""
    scale: float = 0.003
    """Of the sum over units, a mean over the batch: 3/1000, or 1/1000 for images of 224 pixels (the authors' code)."""
    joint: bool = False
    """Whether it goes on beside the other terms after its own phase; as published it does not."""

    def __post_init__(self):
        """Refuse what cannot be followed."""
        super().__post_init__()
        self.require("margin", 0 < self.margin < float("inf"), "a positive number")
        self.require("decay", 0 < self.decay <= 1, "a number above 0, and 1 at most")
        self.require("scale", 0 < self.scale < float("inf"), "a positive number")

    def build(self, setting: Setting) -> Loss:
        """The loss, with fresh connectors.

        Raises:
            InputError: no stages, another number of them, or no connector leads from one shape to the other.
        """
        return _Boundaries([_connector(*pair, setting.generator) for pair in paired(self, setting)], self)


def _connector(
    student: tuple[int, int, int], teacher: tuple[int, int, int], generator: torch.Generator | None
) -> nn.Module:
    if student == teacher:
        return nn.Identity()
    if student[1:] != teacher[1:]:
        return regressor(student, teacher, generator)
    return connector(student[0], teacher[0], generator)
