"""Decoupled knowledge distillation: how sure the teacher is of an image's class, and apart from that, of the others."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from distill.full_precision import full
from distill.jacobians import check_classes
from distill.standardised import standardised
from distill.term import Given, Loss, Needs, Setting, Term
from distill.trace import Trace
from priors.errors import InputError


def decoupled(
    student: Float[Tensor, "batch classes"],
    teacher: Float[Tensor, "batch classes"],
    labels: Int64[Tensor, " batch"],
    alpha: float,
    beta: float,
    temperature: float,
) -> Float[Tensor, ""]:
    """T^2 (alpha TCKD + beta NCKD) of the softmaxes of logits over T, a mean over the batch (Zhao et al. 2022, eq. 7).

    TCKD is the divergence of (p, 1 - p), where p is the posterior of the image's own class; NCKD that of the posteriors
    of the others, given that it is one of them. With alpha = 1 and beta = 1 - p of the teacher it would be hinton.

    Args:
        student: its logits.
        teacher: likewise.
        labels: the images' classes.
        alpha: weight of TCKD.
        beta: weight of NCKD.
        temperature: T.
    """
    own = torch.zeros_like(student, dtype=torch.bool).scatter_(1, labels[:, None], True)
    target, others = zip(*(_parts(logits / temperature, own, labels) for logits in (student, teacher)), strict=True)
    divergences = (_divergence(*pair).sum(1).mean() for pair in (target, others))
    return temperature**2 * sum(weight * one for weight, one in zip((alpha, beta), divergences, strict=True))


def _parts(logits: Tensor, own: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """log (p, 1 - p), (batch, 2); and the others' log-posteriors among themselves, (batch, classes), 0 at the own."""
    logs = full(logits).log_softmax(1)
    rest = logs.masked_fill(own, -torch.inf).logsumexp(1, keepdim=True)  # by sums of p, nothing would be left of it
    return torch.cat([logs.gather(1, labels[:, None]), rest], 1), (logs - rest).masked_fill(own, 0.0)


def _divergence(student: Tensor, teacher: Tensor) -> Tensor:
    """What adds up to KL(p_t || p_s), from log p; 0 where both are equal, as at the own class."""
    return teacher.exp() * (teacher - student)


class _Decoupled(Loss):
    def __init__(self, config: "DKD"):
        super().__init__()
        self.config = config

    def loss(self, student: Trace, teacher: Trace | None, given: Given):
        config, pair = self.config, (student.logits.float(), teacher.logits.float())
        if config.standardise:
            pair = tuple(standardised(logits) for logits in pair)
        settings = (config.alpha, config.beta, config.temperature)
        return given.risen(config.warmup) * given.mean(lambda labels: decoupled(*pair, labels, *settings))


@dataclass(frozen=True)
class DKD(Term):
    """Divergences of the softened posteriors of the image's own class, and of the others among themselves.

    The settings are those of the authors' code for CIFAR-100: alpha 1, T = 4, and a beta by pair: 8 by default, 6 for
    pairs of wide residual networks or VGGs, 2 for ResNet-56 to 20 and ResNet-110 to 32 (`pairs`). For ImageNet it has
    beta .5, T = 1 and a warm-up of 1 of 100 epochs. There the weight rises from epoch to epoch, here from step to step.
    """

    paper = "Zhao, Cui, Song, Qiu and Liang, Decoupled knowledge distillation, 2022 (arXiv 2203.08679)"
    zero = True
    pairs = {
        ("wrn-40-2", "wrn-16-2"): {"beta": 6.0},
        ("wrn-40-2", "wrn-40-1"): {"beta": 6.0},
        ("vgg-13", "vgg-8"): {"beta": 6.0},
        ("vgg-13", "mobilenet-v2"): {"beta": 6.0},
        ("resnet-56", "resnet-20"): {"beta": 2.0},
        ("resnet-110", "resnet-32"): {"beta": 2.0},
    }

    weight: float = 1.0
    """Of the loss in the objective (the authors' code)."""
    alpha: float = 1.0
    """Weight of the own class's part (the authors' code)."""
    beta: float = 8.0
    """Weight of the other classes' part (the authors' code: 8, or 6 or 2 for some pairs)."""
    temperature: float = 4.0
    """T (the authors' code)."""
    warmup: float = 1 / 12
    """Part of the training in which its weight rises from 0: 20 of 240 epochs (the authors' code)."""
    standardise: bool = False
    """Whether logits are standardised first, as by the term standardised, whose authors take T = 2 then."""

    @property
    def needs(self) -> Needs:
        """Logits of both, and how far the training is where the weight rises."""
        return Needs(teacher=True, passed=self.warmup > 0)

    def __post_init__(self):
        """Refuse what cannot be followed."""
        super().__post_init__()
        self.require("alpha", 0 <= self.alpha < float("inf"), "a number of 0 or more")
        self.require("beta", 0 <= self.beta < float("inf"), "a number of 0 or more")
        self.require("temperature", 0 < self.temperature < float("inf"), "a positive number")
        self.require("warmup", 0 <= self.warmup <= 1, "a part of the training, from 0 to 1")

    def build(self, setting: Setting) -> Loss:
        """The loss.

        Raises:
            InputError: another number of classes, or one alone.
        """
        check_classes(self, setting)
        if setting.student.classes < 2:
            raise InputError("1 class: dkd compares what an image's other classes get, so two or more are needed")
        return _Decoupled(self)
