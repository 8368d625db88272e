"""Class-wise knowledge distillation: soft labels from a class prior, without any teacher."""

from dataclasses import dataclass, field
from typing import Literal

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from distill.term import Given, Loss, Needs, Setting, Term
from distill.trace import Trace
from priors.errors import InputError


def soft_cross_entropy(
    logits: Float[Tensor, "batch classes"],
    labels: Int64[Tensor, " batch"],
    posterior: Float[Tensor, "classes classes"],
    temperature: float,
) -> Float[Tensor, ""]:
    """-T^2 sum_j p(j|i) log softmax(z / T)_j for label i, a mean over the batch (Seo et al. 2021, equation 9)."""
    targets = posterior.index_select(0, labels)
    return -(temperature**2) * (targets * (logits.float() / temperature).log_softmax(1)).sum(1).mean()


def evened(posterior: Float[Tensor, "classes classes"]) -> Float[Tensor, "classes classes"]:
    """The same soft labels with what is left for other classes shared out evenly: label smoothing of equal strength."""
    own = posterior.diagonal().unsqueeze(1)
    return torch.where(torch.eye(len(own), dtype=torch.bool, device=own.device), own, (1 - own) / (len(own) - 1))


class SoftCrossEntropy(Loss):
    """Cross-entropy with soft labels that only hang on the image's class.

    Args:
        posterior: (classes, classes) a row a class; the rows sum to one.
        temperature: T, of the student's posterior.
        others: what the classes beside the own one get: "own", what is in the table, or "even", all the same.
    """

    posterior: Tensor

    def __init__(self, posterior: Tensor, temperature: float, others: Literal["own", "even"]):
        super().__init__()
        table = posterior if others == "own" else evened(posterior)
        self.register_buffer("posterior", table.to(torch.float32))
        self.temperature = temperature

    def loss(self, student: Trace, teacher: Trace | None, given: Given):
        """-T^2 sum_j p(j|i) log softmax(z / T)_j, a mean over the batch."""
        return given.mean(lambda labels: soft_cross_entropy(student.logits, labels, self.posterior, self.temperature))


@dataclass(frozen=True)
class CKD(Term):
    """Cross-entropy of the student's softened posterior with its class's, expected under the prior."""

    needs = Needs(prior=True)
    paper = "Seo, Lee and Kwak, On the distribution of penultimate activations of classification networks, 2021"
    beside = 0.1

    weight: float = 0.9
    """Of the loss in the objective; the paper gives none: that of hinton."""
    temperature: float = 4.0
    """T, of the student's posterior and of the expected one (section 4.1)."""
    logits: Literal["prior", "head"] = "prior"
    """Whose posterior is expected: the prior's own (equations 4 and 7), or that of the classifier's final layer."""
    norm: float | None = None
    """Norm of the activations, for the final layer's; unset: each class's mean norm, where the prior knows it."""
    standard_error: float = 1e-3
    """Of each entry of the expected posterior, at most."""
    others: Literal["own", "even"] = field(default="own", metadata={"before": "own"})
    """What a soft label gives to the other classes: to each its own share, or to all the same (label smoothing)."""

    def __post_init__(self):
        """Refuse what cannot be followed."""
        super().__post_init__()
        self.require("temperature", 0 < self.temperature < float("inf"), "a positive number")
        self.require("norm", self.norm is None or 0 < self.norm < float("inf"), "a positive number")
        self.require("norm", self.norm is None or self.logits == "head", "none without --ckd.logits head")
        self.require("standard_error", 0 < self.standard_error < 1, "a number between 0 and 1")

    def build(self, setting: Setting) -> Loss:
        """The loss, with its table of targets.

        Raises:
            InputError: another number of classes, or norms that are not known.
        """
        if self.logits == "head" and self.norm is None and setting.prior.norm is None:
            raise InputError(
                "--ckd.logits head looks at activations, whose norms this prior does not know: give --ckd.norm, or a "
                "prior that is measured on images, such as by --concentration mle"
            )
        if setting.student.classes != setting.prior.classes:
            raise InputError(
                f"the student has {setting.student.classes} classes and the prior {setting.prior.classes}: "
                "ckd compares them one by one"
            )
        found = setting.prior.class_posterior(
            logits=self.logits,
            norm=self.norm,
            temperature=self.temperature,
            standard_error=self.standard_error,
        )
        return SoftCrossEntropy(found.table, self.temperature, self.others)
