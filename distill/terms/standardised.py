"""Knowledge distillation of standardised logits: how they stand to one another, not how large they are."""

from dataclasses import dataclass

from distill.jacobians import check_classes
from distill.standardised import standardised
from distill.term import Given, Loss, Needs, Setting, Term
from distill.terms.hinton import divergence
from distill.trace import Trace


class _Standardised(Loss):
    def __init__(self, temperature: float):
        super().__init__()
        self.temperature = temperature

    def loss(self, student: Trace, teacher: Trace | None, given: Given):
        return divergence(standardised(student.logits), standardised(teacher.logits), self.temperature)


@dataclass(frozen=True)
class Standardised(Term):
    """Divergence of softened posteriors, of logits less their mean and over their standard deviation.

    It is hinton of such logits (Sun et al. 2024, section 4.2), with the settings of the authors' code: a weight of 9,
    and T of 2 for most pairs. `pairs` has those that differ.
    """

    needs = Needs(teacher=True)
    paper = "Sun, Ren, Li, Wang and Cao, Logit standardization in knowledge distillation, 2024 (arXiv 2403.01427)"
    beside = 0.1
    zero = True
    pairs = {
        ("vgg-13", "vgg-8"): {"temperature": 3.0},
        ("vgg-13", "mobilenet-v2"): {"temperature": 3.0},
        ("resnet-32x4", "wrn-16-2"): {"temperature": 3.0},
        ("resnet-32x4", "wrn-40-2"): {"temperature": 3.0},
        ("wrn-40-2", "mobilenet-v2"): {"temperature": 3.0},
        ("resnet-50", "mobilenet-v2"): {"temperature": 3.0, "weight": 1.0},
    }

    weight: float = 9.0
    """Of the loss in the objective; 9, beside .1 for the labels (the authors' code)."""
    temperature: float = 2.0
    """T, in standard deviations of logits (the authors' code: 2, or 3 for some pairs)."""

    def __post_init__(self):
        """Refuse what cannot be followed."""
        super().__post_init__()
        self.require("temperature", 0 < self.temperature < float("inf"), "a positive number")

    def build(self, setting: Setting) -> Loss:
        """The loss.

        Raises:
            InputError: another number of classes.
        """
        check_classes(self, setting)
        return _Standardised(self.temperature)
