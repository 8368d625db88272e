"""Activation matching: the teacher's logits as they are, by their squared error."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from distill.jacobians import check_classes
from distill.term import Given, Loss, Needs, Setting, Term
from distill.trace import Trace


def squared_error(
    student: Float[Tensor, "batch classes"], teacher: Float[Tensor, "batch classes"]
) -> Float[Tensor, ""]:
    """||z_s - z_t||^2 / 2 of the logits, a mean over the batch (Ba and Caruana 2014, equation 1)."""
    return (student.float() - teacher.float()).square().sum(1).mean() / 2


class _Activation(Loss):
    def loss(self, student: Trace, teacher: Trace | None, given: Given):
        return squared_error(student.logits, teacher.logits)


@dataclass(frozen=True)
class Activation(Term):
    """Half the squared distance of the student's logits from the teacher's.

    It is the baseline "activation matching" of Srinivas and Fleuret 2019, who do not print its weight.
    """

    needs = Needs(teacher=True)
    paper = "Ba and Caruana, Do deep nets really need to be deep?, 2014 (arXiv 1312.6184)"
    zero = True

    weight: float = 0.1
    """Of the loss in the objective: ours. At 1 the final layer of a network with 512 activations grows without bounds
    at the usual learning rates of .05 and .1, since the loss is a sum over classes."""

    def build(self, setting: Setting) -> Loss:
        """The loss.

        Raises:
            InputError: another number of classes.
        """
        check_classes(self, setting)
        return _Activation()
