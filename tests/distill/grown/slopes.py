"""Slopes: how a small change of the image changes the label's logit, for teacher and student, in learnt directions."""

from dataclasses import dataclass

from torch import nn

from distill.derivatives import derivative
from distill.regressor import convolution
from distill.term import Loss, Needs, Shared, Term


@dataclass(frozen=True)
class Reduced(Shared):
    """Both networks' penultimate activations in a few learnt directions: (batch, dim) of each."""

    needs = Needs(teacher=True, penultimate=True)
    dim: int

    @property
    def name(self):
        return f"reduced-{self.dim}"

    def build(self, setting):
        return _Reduction(setting, self.dim)


class _Reduction(nn.Module):
    def __init__(self, setting, dim):
        super().__init__()
        widths = setting.student.penultimate, setting.teacher.penultimate
        self.student, self.teacher = (convolution(nn.Conv2d, width, dim, 1, setting.generator) for width in widths)

    def forward(self, student, teacher):
        pairs = (self.student, student.penultimate), (self.teacher, teacher.penultimate)
        return tuple(reduce(seen.to(reduce.weight.dtype)[:, :, None, None]).flatten(1) for reduce, seen in pairs)


@dataclass(frozen=True)
class Saliency(Shared):
    """The derivative of the teacher's largest logit in the image, for all who ask: (batch, channels, height, width)."""

    needs = Needs(teacher=True, derivatives=True)

    @property
    def name(self):
        return "saliency"

    def build(self, setting):
        return _Saliency()


class _Saliency(nn.Module):
    def forward(self, student, teacher):
        return derivative(teacher.logits.amax(1), teacher.images, graph=False)


class _Slopes(Loss):
    def __init__(self, config):
        super().__init__()
        self.config = config

    def loss(self, student, teacher, given):
        s, t = given.shared[Reduced(self.config.dim)]
        theirs = given.shared[Saliency()]
        assert not theirs.requires_grad and theirs.any()
        ours = derivative(student.logits.gather(1, given.labels[:, None]).squeeze(1), student.images)
        hidden = derivative(s.sum(1), student.layers[self.config.layer])
        apart = (ours - theirs).square().flatten(1).sum(1).mean()
        return apart + hidden.square().flatten(1).sum(1).mean() + (s - t).square().mean()


@dataclass(frozen=True)
class Slopes(Term):
    """Squared distance of the derivatives in the image, in a layer, and of what both have in learnt directions."""

    paper = "made up"
    weight: float = 0.5
    dim: int = 3
    layer: str = "body.hidden1"

    @property
    def needs(self):
        return Needs(
            teacher=True,
            derivatives=True,
            student_layers=(self.layer,),
            shared=(Reduced(self.dim), Saliency()),
        )

    def build(self, setting):
        assert len(setting.student.layers[self.layer]) == 1
        return _Slopes(self)
