"""Jacobian matching: how the output of an image's class changes with the image."""

from dataclasses import dataclass

from distill.jacobians import Form, Jacobians, Norms, apart, check_classes
from distill.term import Given, Loss, Needs, Setting, Term
from distill.trace import Trace


class _Jacobian(Loss):
    def __init__(self, request: Jacobians, form: Form):
        super().__init__()
        self.request, self.form = request, form

    def loss(self, student: Trace, teacher: Trace | None, given: Given):
        ours, theirs = given.shared[self.request]
        return apart(ours.image, theirs.image, self.form)


@dataclass(frozen=True)
class Jacobian(Term):
    """Squared distance between the input-Jacobians of both, of the logit of each image's own class.

    The student's is derived once more to train by it, in full precision also under --precision bf16.
    """

    paper = (
        "Czarnecki et al., Sobolev training for neural networks, 2017 (arXiv 1706.04859); Srinivas and Fleuret, "
        "Knowledge transfer with Jacobian matching, 2018 (arXiv 1803.00443)"
    )
    zero = True

    weight: float = 1.0
    """Of the loss in the objective: ours, none is printed."""
    form: Form = "normalised"
    """Of the distance: of Jacobians over their norms, each image's its own (Srinivas and Fleuret 2018), or squared, of
    Jacobians as they are."""
    norms: Norms = "running"
    """Statistics of the student's batch norms in the pass that is derived: the running ones, by a pass of its own, or
    those of each batch, where an image's derivative holds part of what it does to the other images' outputs."""

    @property
    def request(self) -> Jacobians:
        """What it is computed from."""
        return Jacobians(self.norms, image=True)

    @property
    def needs(self) -> Needs:
        """Both networks' derivatives, which are shared."""
        return Needs(teacher=True, shared=(self.request,))

    def build(self, setting: Setting) -> Loss:
        """The loss.

        Raises:
            InputError: another number of classes.
        """
        check_classes(self, setting)
        return _Jacobian(self.request, self.form)
