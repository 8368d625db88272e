"""Slopes of student and teacher at an image: of the output of its class, in its pixels and in some layers' biases."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from analysis.jacobians.bias import summed_over_channels
from distill.biased_layers import spread
from distill.feature_maps import smaller
from distill.term import Needs, Setting, Shared, Term
from distill.trace import Trace
from distill.unit import unit
from priors.errors import InputError

Norms = Literal["running", "batch"]
"""Statistics of the student's batch norms in the pass that is derived."""
Form = Literal["normalised", "squared"]
"""Of a distance: of tensors over their norms, each image's its own, or of tensors as they are."""
LAYERS = 3
"""How many layers are compared where none are named (section 7.1 of the paper)."""


@dataclass(frozen=True)
class Slopes:
    """The full-Jacobian of one network, or the part of it that was asked for.

    Attributes:
        image: (batch, channels, height, width), of the output of each image's class in the image; None where it was not
            asked for.
        biases: of each layer in turn, its bias-Jacobian summed over channels: (batch, height, width), or (batch,).
    """

    image: Float[Tensor, "batch channels height width"] | None
    biases: tuple[Float[Tensor, "batch *_"], ...]


@dataclass(frozen=True)
class Jacobians(Shared):
    """The slopes of both networks, from one pass back through each: a pair of `Slopes`, the student's on the graph.

    Attributes:
        norms: statistics of the student's batch norms.
        image: whether the slope in the image is asked for.
        student: layers whose bias-Jacobians are.
        teacher: one for each of them.
    """

    norms: Norms
    image: bool
    student: tuple[str, ...] = ()
    teacher: tuple[str, ...] = ()

    @property
    def needs(self) -> Needs:
        """Passes that can be derived, and the layers."""
        return Needs(
            teacher=True,
            derivatives=self.norms == "batch",
            running=self.norms == "running",
            student_biases=self.student,
            teacher_biases=self.teacher,
        )

    @property
    def name(self) -> str:
        """Its options in short; there is nothing to be saved."""
        return f"jacobians-{hashlib.sha256(repr(self).encode()).hexdigest()[:12]}"

    def build(self, setting: Setting) -> nn.Module:
        """What takes the derivatives; it has no parameters."""
        return _Derived(self)


class _Derived(nn.Module):
    def __init__(self, request: Jacobians):
        super().__init__()
        self.request = request

    def forward(self, student: Trace, teacher: Trace) -> tuple[Slopes, Slopes]:
        request = self.request
        seen = student.running if request.norms == "running" else student
        ours = slopes(seen, request.image, request.student)
        return ours, slopes(teacher, request.image, request.teacher, graph=False)


def slopes(trace: Trace, image: bool, layers: Sequence[str] = (), *, graph: bool = True) -> Slopes:
    """Those of one trace, by one pass back: through the layers on the way to the image, or as far as the first layer.

    Args:
        trace: with labels and images, as for derivatives.
        image: whether the slope in the image is wanted.
        layers: names of those whose bias-Jacobians are, in this order.
        graph: whether a loss of what is found trains the network.

    Raises:
        InputError: the class's output does not hang on a layer.
    """
    inputs = [trace.images] * image + [trace.layers[name] for name in layers]
    with torch.autocast(trace.logits.device.type, enabled=False):
        found = list(
            torch.autograd.grad(trace.chosen.sum(), inputs, create_graph=graph, retain_graph=True, allow_unused=True)
        )
        own = found.pop(0) if image else None
        if image and own is None:
            own = torch.zeros_like(trace.images)
        biases = []
        for name, slope in zip(layers, found, strict=True):
            if slope is None:
                raise InputError(f"layer {name!r}: the output of a class does not hang on it")
            bias = trace.biases[name]
            biases.append(summed_over_channels(slope, bias if graph else bias.detach()))
    return Slopes(own, tuple(biases))


def apart(
    student: Float[Tensor, "batch *rest"], teacher: Float[Tensor, "batch *rest"], form: Form
) -> Float[Tensor, ""]:
    """Squared distance of each image's two tensors, a mean over the batch, in float32 at least.

    Args:
        student: slopes.
        teacher: of the same shape.
        form: "squared", of tensors as they are; "normalised", of each one over its norm: 0 to 4, 2 where they have
            nothing to do with each other (Srinivas and Fleuret 2018).
    """
    dtype = torch.promote_types(torch.promote_types(student.dtype, teacher.dtype), torch.float32)
    s, t = (one.to(dtype).reshape(len(one), -1) for one in (student, teacher))
    if form == "normalised":
        s, t = unit(s), unit(t)
    return (s - t).square().sum(1).mean()


def summed_alike(
    student: Float[Tensor, "batch *_"], teacher: Float[Tensor, "batch *_"]
) -> tuple[Float[Tensor, "batch *space"], Float[Tensor, "batch *space"]]:
    """Bias-Jacobians at the smaller height and width of both: what is larger, summed over what falls together.

    The sum over all positions, which is what a layer adds to the output, stays as it is.
    """
    if student.shape == teacher.shape:
        return student, teacher
    size = smaller(student.shape, teacher.shape)

    def brought(maps: Tensor) -> Tensor:
        if maps.shape[1:] == size:
            return maps
        areas = maps.shape[1] * maps.shape[2] / (size[0] * size[1])
        return F.adaptive_avg_pool2d(maps[:, None], size)[:, 0] * areas

    return brought(student), brought(teacher)


def layers_of(named: tuple[str, ...]) -> tuple[str, ...]:
    """The layers that are named, or some that are spread over the network."""
    return tuple(named) or spread(LAYERS)


def check_classes(term: Term, setting: Setting) -> None:
    """Refuse networks that have other classes.

    Raises:
        InputError: both numbers.
    """
    student, teacher = setting.student.classes, setting.teacher.classes
    if student != teacher:
        raise InputError(
            f"the student has {student} classes and the teacher {teacher}: {term.name()} compares them one by one"
        )


def check_layers(term: Term, setting: Setting, student: tuple[str, ...], teacher: tuple[str, ...]) -> None:
    """Refuse layers that cannot be compared one by one.

    Raises:
        InputError: another number of them, or maps against vectors.
    """
    flags = f"--{term.name()}.student-layers and --{term.name()}.teacher-layers"
    if len(student) != len(teacher):
        raise InputError(
            f"{term.name()} compares layers one by one, and of the student there are {len(student)}, of the teacher "
            f"{len(teacher)}: name as many of each by {flags}"
        )
    for s, t in zip(student, teacher, strict=True):
        ours, theirs = setting.student.layers[s], setting.teacher.layers[t]
        if (len(ours), len(theirs)) not in ((1, 1), (3, 3)):
            names = setting.student.biased.get(s, s), setting.teacher.biased.get(t, t)
            raise InputError(
                f"{term.name()}: the student's layer {names[0]!r} gives {ours} and the teacher's {names[1]!r} "
                f"{theirs}: (channels, height, width) of both, or (channels,) of both, were expected; name others by "
                f"{flags}"
            )
