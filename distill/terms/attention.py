"""Attention transfer: where in its images a network is active."""

from dataclasses import dataclass, field
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from distill.feature_maps import Activation, activated, pooled
from distill.term import Given, Loss, Needs, Setting, Term, paired
from distill.trace import Trace
from distill.unit import unit


def attention(maps: Float[Tensor, "batch channels height width"], p: int = 2) -> Float[Tensor, "batch positions"]:
    """Q / |Q| with Q = mean_c |f_c|^p at each position (Zagoruyko and Komodakis 2017, section 3.1)."""
    maps = maps.float()
    return unit((maps.abs() if p == 1 else maps.square()).mean(1).flatten(1))


def difference(
    student: Float[Tensor, "batch _ _ _"],
    teacher: Float[Tensor, "batch _ _ _"],
    form: Literal["squared", "norm"] = "squared",
    p: int = 2,
) -> Float[Tensor, ""]:
    """How far apart the attention of both is, a mean over the batch.

    Args:
        student: feature maps (batch, channels, height, width).
        teacher: likewise, with any number of channels; the larger of both is pooled.
        form: "squared" is the mean square over positions; "norm" is half the Euclidean norm over their number
            (Zagoruyko and Komodakis 2017, equation 2, where the number divides the weight).
        p: power of activations.
    """
    s, t = (attention(maps, p) for maps in pooled(student, teacher))
    if form == "norm":
        return torch.linalg.vector_norm(s - t, dim=1).mean() / (2 * s.shape[1])
    return (s - t).square().mean()


class _Attention(Loss):
    def __init__(self, form: Literal["squared", "norm"], activation: Activation, p: int):
        super().__init__()
        self.form, self.activation, self.p = form, activation, p

    def loss(self, student: Trace, teacher: Trace | None, given: Given):
        pairs = zip(student.stages, teacher.stages, strict=True)
        return sum(
            difference(activated(s, self.activation), activated(t, self.activation), self.form, self.p)
            for s, t in pairs
        )


@dataclass(frozen=True)
class Attention(Term):
    """Distance between the normalised spatial attention of both, summed over the stages.

    Attention is that of activations (section 3.1): hence the ReLU, as in Tian et al. 2020's code of residual networks
    and VGGs. Of a wide residual network that code and the authors' take each group's sum as it is, without norm and
    ReLU: activation none and the taps body.group1 body.group2 body.group3. Both take mean squares; half a norm over
    the number of positions is what is printed (equation 2).
    """

    needs = Needs(teacher=True, stages=True)
    paper = "Zagoruyko and Komodakis, Paying more attention to attention, 2017 (arXiv 1612.03928)"
    zero = True

    weight: float = 1000.0
    """Of the loss in the objective (the authors' code; Tian et al. 2020)."""
    form: Literal["squared", "norm"] = "squared"
    """Of the difference: its mean square, as in public codes, or its norm, as in the paper."""
    activation: Activation = "relu"
    """What follows the stages."""
    p: int = field(default=2, metadata={"before": 2})
    """Power of the activations that are averaged over channels: 2, or 1, their size, as beside full-jacobian (Srinivas
    and Fleuret 2019, section 7.1)."""

    def __post_init__(self):
        """Refuse what cannot be followed."""
        super().__post_init__()
        self.require("p", self.p in (1, 2), "1 or 2")

    def build(self, setting: Setting) -> Loss:
        """The loss; feature maps of all sizes can be compared.

        Raises:
            InputError: no stages, or another number of them.
        """
        paired(self, setting)
        return _Attention(self.form, self.activation, self.p)
