"""Full-Jacobian matching: the input-Jacobian and some layers' bias-Jacobians together, from one pass back."""

from dataclasses import dataclass

from distill.jacobians import Form, Jacobians, Norms, apart, check_classes, check_layers, layers_of
from distill.term import Given, Loss, Needs, Setting, Term
from distill.terms.bias_jacobian import distance
from distill.trace import Trace


class _FullJacobian(Loss):
    def __init__(self, config: "FullJacobian"):
        super().__init__()
        self.config = config

    def loss(self, student: Trace, teacher: Trace | None, given: Given):
        config = self.config
        ours, theirs = given.shared[config.request]
        slope = apart(ours.image, theirs.image, config.form)
        return config.input_weight * slope + config.bias_weight * distance(ours.biases, theirs.biases, config.form)


@dataclass(frozen=True)
class FullJacobian(Term):
    """The sum of jacobian and bias-jacobian, each with a weight: both of the parts of the plane that f is locally.

    It is what these two terms give, in less time: on the way back to the image the layers are passed anyway. With
    activation, and with attention by --attention.p 1, it is the paper's best.
    """

    paper = "Srinivas and Fleuret, Full-Jacobian representation of neural networks, 2019 (arXiv 1905.00780)"
    zero = True

    weight: float = 1.0
    """Of the loss in the objective."""
    input_weight: float = 1.0
    """Of the input-Jacobian in the loss: ours, none is printed."""
    bias_weight: float = 1.0
    """Of the bias-Jacobians in the loss: likewise."""
    student_layers: tuple[str, ...] = ()
    """Batch norms, convolutions or linear layers of the student; unset: three, each the last of a stage, spread over
    the network."""
    teacher_layers: tuple[str, ...] = ()
    """One of the teacher's for each of them; unset: likewise."""
    form: Form = "normalised"
    """Of the distances: of tensors over their norms, each image's its own, or squared, of tensors as they are."""
    norms: Norms = "running"
    """Statistics of the student's batch norms in the pass that is derived: the running ones, by a pass of its own, or
    those of each batch, where an image's derivative holds part of what it does to the other images' outputs."""

    def __post_init__(self):
        """Refuse weights that are none."""
        super().__post_init__()
        for name in ("input_weight", "bias_weight"):
            self.require(name, 0 <= getattr(self, name) < float("inf"), "a number of 0 or more")

    @property
    def request(self) -> Jacobians:
        """What it is computed from."""
        return Jacobians(self.norms, True, layers_of(self.student_layers), layers_of(self.teacher_layers))

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
        return _FullJacobian(self)
