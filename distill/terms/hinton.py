"""Knowledge distillation: the teacher's softened posterior as soft labels."""

from dataclasses import dataclass, field

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from distill.term import Given, Loss, Needs, Setting, Term
from distill.trace import Trace
from priors.errors import InputError


def divergence(
    student: Float[Tensor, "batch classes"], teacher: Float[Tensor, "batch classes"], temperature: float
) -> Float[Tensor, ""]:
    """T^2 KL(p_t || p_s) of the softmaxes of logits over T, a mean over the batch (Hinton et al. 2015, section 2)."""
    s, t = ((logits.float() / temperature).log_softmax(1) for logits in (student, teacher))
    return temperature**2 * F.kl_div(s, t, reduction="batchmean", log_target=True)


class _Divergence(Loss):
    def __init__(self, config: "Hinton"):
        super().__init__()
        self.config = config

    def loss(self, student: Trace, teacher: Trace | None, given: Given):
        found = divergence(student.logits, teacher.logits, self.config.temperature)
        return given.risen(self.config.warmup) * found


@dataclass(frozen=True)
class Hinton(Term):
    """Divergence of the student's softened posterior from the teacher's.

    Weights and temperature are those of Tian et al. 2020's code, which has the factor T^2 as the paper has it.
    """

    paper = "Hinton, Vinyals and Dean, Distilling the knowledge in a neural network, 2015 (arXiv 1503.02531)"
    beside = 0.1
    zero = True

    weight: float = 0.9
    """Of the loss in the objective; .9, beside .1 for the labels, as in Tian et al. 2020."""
    temperature: float = 4.0
    """T (Tian et al. 2020)."""
    warmup: float = field(default=0.0, metadata={"before": 0.0})
    """Part of the training in which its weight rises from 0, as beside nd: 1/12 there."""

    @property
    def needs(self) -> Needs:
        """Logits of both, and how far the training is where the weight rises."""
        return Needs(teacher=True, passed=self.warmup > 0)

    def __post_init__(self):
        """Refuse what cannot be followed."""
        super().__post_init__()
        self.require("temperature", 0 < self.temperature < float("inf"), "a positive number")
        self.require("warmup", 0 <= self.warmup <= 1, "a part of the training, from 0 to 1")

    def build(self, setting: Setting) -> Loss:
        """The loss.

        Raises:
            InputError: another number of classes.
        """
        if setting.student.classes != setting.teacher.classes:
            raise InputError(
                f"the student has {setting.student.classes} classes and the teacher {setting.teacher.classes}: "
                "hinton compares them one by one"
            )
        return _Divergence(self)
