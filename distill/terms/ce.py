"""Cross-entropy with the labels."""

from dataclasses import dataclass

import torch.nn.functional as F

from distill.term import Given, Loss, Needs, Setting, Term
from distill.trace import Trace


class _CrossEntropy(Loss):
    def __init__(self, smoothing: float):
        super().__init__()
        self.smoothing = smoothing

    def loss(self, student: Trace, teacher: Trace | None, given: Given):
        logits = student.logits.float()
        return given.mean(lambda labels: F.cross_entropy(logits, labels, label_smoothing=self.smoothing))


@dataclass(frozen=True)
class CE(Term):
    """Cross-entropy of the student's posterior with the labels."""

    needs = Needs()
    paper = "the labels alone"

    weight: float | None = None
    """Of the loss in the objective; unset: what the other terms were published with."""
    smoothing: float = 0.0
    """Weight of the uniform distribution in the targets."""

    def __post_init__(self):
        """Refuse what cannot be followed."""
        self.require("weight", self.weight is None or 0 <= self.weight < float("inf"), "a number of 0 or more")
        self.require("smoothing", 0 <= self.smoothing < 1, "a weight of 0 or more, and less than 1")

    def build(self, setting: Setting) -> Loss:
        """The loss; any student fits."""
        return _CrossEntropy(self.smoothing)
