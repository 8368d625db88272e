"""Bias-Jacobian matching: what each of some layers adds to the output of an image's class, at each position."""

from collections.abc import Sequence
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from distill.jacobians import (
    Form,
    Jacobians,
    Norms,
    apart,
    check_classes,
    check_layers,
    layers_of,
    summed_alike,
)
from distill.term import Given, Loss, Needs, Setting, Term
from distill.trace import Trace


def distance(
    student: Sequence[Float[Tensor, "batch *_"]], teacher: Sequence[Float[Tensor, "batch *_"]], form: Form
) -> Float[Tensor, ""]:
    """Of bias-Jacobians layer by layer, a sum over layers; where maps differ in size, the larger is summed up."""
    pairs = (summed_alike(s, t) for s, t in zip(student, teacher, strict=True))
    return sum(apart(s, t, form) for s, t in pairs)


class _BiasJacobian(Loss):
    def __init__(self, request: Jacobians, form: Form):
        super().__init__()
        self.request, self.form = request, form

    def loss(self, student: Trace, teacher: Trace | None, given: Given):
        ours, theirs = given.shared[self.request]
        return distance(ours.biases, theirs.biases, self.form)


@dataclass(frozen=True)
class BiasJacobian(Term):
    """Squared distance between the bias-Jacobians of both in some layers, summed over channels.

    Of the logit f of each image's own class and a layer's output z it is sum_c b_c df/dz_c at each position. Of a batch
    norm b is beta + gamma (a - mu) / sqrt(var + eps), a being the bias of the convolution before it and 0 where there
    is none; of a convolution or linear layer, its bias. Maps of different sizes are compared at the smaller one, the
    larger summed over what falls together. Which three of eleven layers the paper takes it does not say.
    """

    paper = "Srinivas and Fleuret, Full-Jacobian representation of neural networks, 2019 (arXiv 1905.00780)"
    zero = True

    weight: float = 1.0
    """Of the loss in the objective: ours, none is printed."""
    student_layers: tuple[str, ...] = ()
    """Batch norms, convolutions or linear layers of the student; unset: three, each the last of a stage, spread over
    the network."""
    teacher_layers: tuple[str, ...] = ()
    """One of the teacher's for each of them; unset: likewise."""
    form: Form = "normalised"
    """Of the distance: of a layer's map over its norm, each image's its own, or squared, of maps as they are."""
    norms: Norms = "running"
    """Statistics of the student's batch norms in the pass that is derived: the running ones, by a pass of its own, or
    those of each batch, where an image's derivative holds part of what it does to the other images' outputs."""

    @property
    def request(self) -> Jacobians:
        """What it is computed from."""
        return Jacobians(self.norms, False, layers_of(self.student_layers), layers_of(self.teacher_layers))

    @property
    def needs(self) -> Needs:
        """Both networks' derivatives, which are shared."""
        return Needs(teacher=True, shared=(self.request,))

    def build(self, setting: Setting) -> Loss:
        """The loss.

        Raises:
            InputError: another number of classes, or layers that cannot be compared one by one.
        """
        check_classes(self, setting)
        check_layers(self, setting, self.request.student, self.request.teacher)
        return _BiasJacobian(self.request, self.form)
