"""Contrastive representation distillation: a student's embedding tells its image's in the teacher's from others'."""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor, nn

from distill.linear import linear
from distill.memory_bank import MemoryBank
from distill.negatives import OtherClasses
from distill.term import Given, Loss, Needs, Setting, Term
from distill.trace import Trace
from distill.unit import unit
from priors.errors import InputError
from priors.rare_constants import load_rare_constants

load_rare_constants()


def contrastive(
    positive: Float[Tensor, " batch"], negative: Float[Tensor, "batch k"], images: int
) -> Float[Tensor, ""]:
    """-log P+ / (P+ + k/N) - sum over k of log (k/N) / (P- + k/N), a mean over the batch, from log P+ and log P-.

    The critic of Tian et al. 2020, section 3, with each of N images a negative as probably as another, as in the
    authors' code.

    Args:
        positive: log P of the image itself.
        negative: log P of its k negatives.
        images: N, how many there are to draw from.
    """
    noise = math.log(negative.shape[1] / images)
    return -(F.logsigmoid(positive - noise) + F.logsigmoid(noise - negative).sum(1)).mean()


class Memory(nn.Module):
    """A bank for each network, and the images that negatives are drawn from."""

    def __init__(self, labels: Int64[Tensor, " images"], classes: int, dim: int, setting: Setting):
        super().__init__()
        generator = setting.generator
        self.others = OtherClasses(labels, classes, setting.keyed_draws)
        self.student = MemoryBank(len(labels), dim, generator)
        self.teacher = MemoryBank(len(labels), dim, generator)


class _Contrast(Loss):
    memory: Memory

    def __init__(self, config: "CRD", widths: tuple[int, int], memory: Memory, setting: Setting):
        super().__init__(memory)
        self.student, self.teacher = (linear(width, config.dim, setting.generator) for width in widths)
        self.config, self.gather = config, setting.gather
        self.count = min(config.negatives, memory.others.most) if setting.keyed_draws else config.negatives

    def loss(self, student: Trace, teacher: Trace | None, given: Given):
        memory = self.memory
        # Inner products of bf16 would be off by hundredths, which the temperature makes tenths of log P.
        with torch.autocast(given.index.device.type, enabled=False):
            s = unit(self.student(student.penultimate.float()))
            t = unit(self.teacher(teacher.penultimate.float()))
            negatives = memory.others.draw(
                given.labels,
                self.count,
                given.generator,
                replacement=self.config.replacement,
                part=given.part,
                parts=given.parts,
            )
            columns = torch.cat([given.index[:, None], negatives], 1)
            loss = self._against(memory.teacher, s, columns) + self._against(memory.student, t, columns)
        with torch.no_grad():
            index = self.gather(given.index)
            for bank, vectors in ((memory.student, s), (memory.teacher, t)):
                bank.remember(index, self.gather(vectors.detach()), self.config.momentum)
        return loss

    def _against(self, bank: MemoryBank, vectors: Tensor, columns: Tensor) -> Tensor:
        """The loss of one network's vectors against the other's bank.

        Its gradient is taken at once: the bank is written before the backward pass would read it, and nothing of the
        bank's size is kept until then. So there is no second derivative.
        """
        if not torch.is_grad_enabled():
            return self._scored(bank, vectors, columns)
        leaf = vectors.detach().requires_grad_()
        loss = self._scored(bank, leaf, columns)
        (gradient,) = torch.autograd.grad(loss, leaf)
        return loss.detach() + ((vectors - vectors.detach()) * gradient).sum()

    def _scored(self, bank: MemoryBank, vectors: Tensor, columns: Tensor) -> Tensor:
        logs = bank.products(vectors, columns) / self.config.temperature
        bank.settle(logs, self.gather)
        logs = logs - bank.log_constant
        return contrastive(logs[:, 0], logs[:, 1:], len(bank.rows))


@dataclass(frozen=True)
class CRD(Term):
    """Contrast of embedded penultimate activations with those of images of other classes, from a memory.

    All defaults are those of the authors' code, draws of negatives among them: k different images of other classes,
    drawn anew for each image, or k of them with replacement where there are fewer. The loss is the same in expectation
    whether they are different or not.
    """

    needs = Needs(teacher=True, penultimate=True, index=True)
    paper = "Tian, Krishnan and Isola, Contrastive representation distillation, 2020 (arXiv 1910.10699)"

    weight: float = 0.8
    """Of the loss in the objective, beside 1 for the labels."""
    dim: int = 128
    """Of the unit vectors that both networks' activations are mapped to by a linear layer each."""
    negatives: int = 16384
    """k, for each image of a batch."""
    temperature: float = 0.07
    """tau: scores are exp(z.m / tau) / Z, with Z fixed by the first batch, or the first part of one in parts."""
    momentum: float = 0.5
    """Weight of what the memory held of an image when it is seen again."""
    replacement: bool = False
    """Whether an image may be drawn twice for another, which is faster; the authors' code draws different ones."""

    def __post_init__(self):
        """Refuse what cannot be followed."""
        super().__post_init__()
        self.require("dim", self.dim >= 1, "a positive integer")
        self.require("negatives", self.negatives >= 1, "a positive integer")
        self.require("temperature", 0 < self.temperature < float("inf"), "a positive number")
        self.require("momentum", 0 <= self.momentum < 1, "a number of 0 or more, and less than 1")

    def build(self, setting: Setting) -> Loss:
        """The loss, with a memory of all training images.

        Raises:
            InputError: their labels are not known, or are all the same.
        """
        if setting.labels is None:
            raise InputError("crd remembers every training image: their labels are needed, and were not given")
        memory = Memory(setting.labels, setting.student.classes, self.dim, setting)
        return _Contrast(self, (setting.student.penultimate, setting.teacher.penultimate), memory, setting)
