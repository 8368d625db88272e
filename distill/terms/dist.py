"""Distillation from a stronger teacher: posteriors that rise and fall with the teacher's, over classes and images."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from distill.jacobians import check_classes
from distill.standardised import centred
from distill.term import Given, Loss, Needs, Setting, Term
from distill.trace import Trace
from distill.unit import unit


def relation(student: Float[Tensor, "rows columns"], teacher: Float[Tensor, "rows columns"]) -> Float[Tensor, ""]:
    """1 - Pearson's correlation of the student's row with the teacher's, a mean over rows (Huang et al. 2022, eq. 6).

    A row of equal numbers is correlated with none.
    """
    return 1 - (unit(centred(student)) * unit(centred(teacher))).sum(1).mean()


def relations(
    student: Float[Tensor, "batch classes"],
    teacher: Float[Tensor, "batch classes"],
    beta: float,
    gamma: float,
    temperature: float,
) -> Float[Tensor, ""]:
    """T^2 (beta inter + gamma intra) of the softmaxes of logits over T (Huang et al. 2022, equations 9 to 11).

    Args:
        student: its logits for all images of a batch.
        teacher: likewise.
        beta: weight of the relations between classes, image by image; where it is 0, they are not computed.
        gamma: weight of those within a class, over the batch, likewise. One of both must be positive.
        temperature: T.
    """
    y, t = ((logits / temperature).softmax(1) for logits in (student, teacher))
    parts = ((beta, lambda: relation(y, t)), (gamma, lambda: relation(y.T, t.T)))
    return temperature**2 * sum(weight * part() for weight, part in parts if weight > 0)


class _Relations(Loss):
    def __init__(self, config: "DIST", setting: Setting):
        super().__init__()
        self.config = config
        self.gather = setting.gather_with_gradients

    def loss(self, student: Trace, teacher: Trace | None, given: Given):
        s, t = (self.gather(trace.logits.float()) for trace in (student, teacher))
        return relations(s, t, self.config.beta, self.config.gamma, self.config.temperature)


@dataclass(frozen=True)
class DIST(Term):
    """Correlation of the student's posterior with the teacher's: over the classes, and of each class over the images.

    The settings are those of the paper for CIFAR-100: beta and gamma 2, and T = 4, with a factor of T^2. For ImageNet T
    is 1.
    """

    needs = Needs(teacher=True)
    paper = "Huang, You, Wang, Qian and Xu, Knowledge distillation from a stronger teacher, 2022 (arXiv 2205.10536)"
    zero = True
    couples = True

    weight: float = 1.0
    """Of the loss in the objective."""
    beta: float = 2.0
    """Weight of the relations between classes, image by image (section 4)."""
    gamma: float = 2.0
    """Weight of the relations within a class, over the images of a batch (section 4)."""
    temperature: float = 4.0
    """T (section 4: 4 on CIFAR-100, 1 on ImageNet)."""

    def __post_init__(self):
        """Refuse what cannot be followed."""
        super().__post_init__()
        self.require("beta", 0 <= self.beta < float("inf"), "a number of 0 or more")
        self.require("gamma", 0 <= self.gamma < float("inf"), "a number of 0 or more")
        self.require("gamma", self.beta + self.gamma > 0, "a positive number where --dist.beta is 0")
        self.require("temperature", 0 < self.temperature < float("inf"), "a positive number")

    def build(self, setting: Setting) -> Loss:
        """The loss.

        Raises:
            InputError: another number of classes.
        """
        check_classes(self, setting)
        return _Relations(self, setting)
