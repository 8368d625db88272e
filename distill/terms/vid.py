"""Variational information distillation: how well the student predicts the teacher's stages."""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from distill.feature_maps import Activation, activated, pooled
from distill.regressor import Regressor, convolution
from distill.term import Given, Loss, Needs, Setting, Term, paired
from distill.trace import Trace
from priors.rare_constants import load_rare_constants

load_rare_constants()

_LEAST = 1e-5
"""Variance at least."""


def negative_log_likelihood(
    mean: Float[Tensor, "batch channels height width"],
    teacher: Float[Tensor, "batch channels height width"],
    variance: Float[Tensor, " channels"],
) -> Float[Tensor, ""]:
    """((f_t - mu)^2 / v_c + log v_c) / 2, a mean over all entries (Ahn et al. 2019, where it is a sum).

    It is -log q(f_t | f_s) up to a constant, q being Gaussian with a variance for each channel, so that it bounds the
    information that student and teacher share. It can be negative.
    """
    variance = variance.float()[:, None, None]
    return ((mean.float() - teacher.float()).square() / variance + variance.log()).mean() / 2


def variance(rho: Float[Tensor, " channels"]) -> Float[Tensor, " channels"]:
    """softplus(rho) + 1e-5 (Ahn et al. 2019)."""
    return F.softplus(rho.float()) + _LEAST


class _Information(Loss):
    def __init__(
        self,
        channels: list[tuple[int, int, int]],
        start: float,
        activation: Activation,
        generator: torch.Generator | None,
    ):
        super().__init__()
        self.activation = activation
        self.regressors = nn.ModuleList(
            Regressor(
                convolution(nn.Conv2d, student, hidden, 1, generator, bias=False),
                nn.ReLU(),
                convolution(nn.Conv2d, hidden, hidden, 1, generator, bias=False),
                nn.ReLU(),
                convolution(nn.Conv2d, hidden, teacher, 1, generator, bias=False),
            )
            for student, hidden, teacher in channels
        )
        start -= _LEAST
        rho = start + math.log(-math.expm1(-start))  # softplus's inverse
        self.rho = nn.ParameterList(torch.full((teacher,), rho) for _, _, teacher in channels)

    def loss(self, student: Trace, teacher: Trace | None, given: Given):
        total = 0.0
        for s, t, regress, rho in zip(student.stages, teacher.stages, self.regressors, self.rho, strict=True):
            s, t = pooled(activated(s, self.activation), activated(t, self.activation))
            total = total + negative_log_likelihood(regress(s), t, variance(rho))
        return total


@dataclass(frozen=True)
class VID(Term):
    """Negative log-likelihood of the teacher's stages under a Gaussian about what the student's predict.

    The predictions are by three 1x1 convolutions without bias, and ReLUs between them, as Tian et al. 2020's code has
    them; the larger map is pooled, and the loss is summed over the stages. A Gaussian lies on both sides of 0: hence
    no ReLU after the stages. That code has none of a wide residual network, whose groups it takes as they are summed
    (the taps body.group1 body.group2 body.group3), and one of residual networks and VGGs (activation relu).
    """

    needs = Needs(teacher=True, stages=True)
    paper = "Ahn, Hu, Damianou, Lawrence and Dai, Variational information distillation, 2019 (arXiv 1904.05835)"

    weight: float = 1.0
    """Of the loss in the objective (Tian et al. 2020)."""
    variance: float = 5.0
    """Of all channels at the start (Tian et al. 2020's code)."""
    hidden: int | None = None
    """Channels between the convolutions; unset: the teacher's (Tian et al. 2020's code)."""
    activation: Activation = "none"
    """What follows the stages."""

    def __post_init__(self):
        """Refuse what cannot be followed."""
        super().__post_init__()
        self.require("variance", _LEAST < self.variance < float("inf"), f"a number above {_LEAST:g}")
        self.require("hidden", self.hidden is None or self.hidden >= 1, "a positive number of channels")

    def build(self, setting: Setting) -> Loss:
        """The loss, with fresh predictions.

        Raises:
            InputError: no stages, or another number of them.
        """
        channels = [(s, self.hidden or t, t) for (s, _, _), (t, _, _) in paired(self, setting)]
        return _Information(channels, self.variance, self.activation, setting.generator)
