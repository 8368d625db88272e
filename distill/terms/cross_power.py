"""Cross-power spectra: whether student and teacher have the same structure at each length of frequency."""

from dataclasses import dataclass

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from distill.feature_maps import smaller
from distill.fourier_rings import ring_matrix
from distill.reduced_maps import ReducedMaps
from distill.term import Given, Loss, Needs, Setting, Term, paired
from distill.trace import Trace

_LEAST = 1e-12
"""Of a map's power: a ring with less is empty, since single precision cannot tell it from rounding."""


def incoherence(
    student: Complex[Tensor, "*maps height half"],
    teacher: Complex[Tensor, "*maps height half"],
    rings: Float[Tensor, "frequencies rings"],
) -> Float[Tensor, " *maps"]:
    """1 - Re<S T*> / sqrt(<|S|^2> <|T|^2>), averaged over rings of frequencies of one length: from 0 to 2.

    Rotman and Wolf 2021, equation 8, which is one minus the Fourier ring correlation. It is 0 where one map is a
    positive multiple of the other and 2 where it is a negative one; no factor changes it. A ring that has power in one
    map alone counts 1. One that has none in either is left out, and two maps of zeros have 0.

    Args:
        student: S, the transform of the student's maps, the half that `torch.fft.rfft2` gives.
        teacher: T, likewise.
        rings: which entry is on which ring, and how often it counts (see `ring_matrix`).
    """
    s, t = (torch.view_as_real(one).flatten(-3) for one in (student, teacher))
    both_parts = rings.repeat_interleave(2, 0)  # real and imaginary ones lie side by side
    cross, power, other = ((one * two) @ both_parts for one, two in ((s, t), (s, s), (t, t)))
    empty, empty_too = (one <= _LEAST * one.sum(-1, keepdim=True) for one in (power, other))
    count = (~(empty & empty_too)).sum(-1)
    both = ~(empty | empty_too)  # said so that what is no number stays none
    scale = torch.where(both, power, 1).sqrt() * torch.where(both, other, 1).sqrt()
    correlation = torch.where(both, cross / scale, 0)
    return (count - correlation.sum(-1)) / count.clamp(min=1)


class _CrossPower(Loss):
    def __init__(self, shapes: list[tuple[int, int]]):
        super().__init__()
        for number, shape in enumerate(shapes):
            self.register_buffer(f"rings{number}", ring_matrix(*shape), persistent=False)

    def loss(self, student: Trace, teacher: Trace | None, given: Given):
        pairs = given.shared[ReducedMaps()]
        with torch.autocast(student.logits.device.type, enabled=False):
            found = [
                incoherence(*pair.spectra, getattr(self, f"rings{number}")).mean() for number, pair in enumerate(pairs)
            ]
        return sum(found) / len(found)


@dataclass(frozen=True)
class CrossPower(Term):
    """One minus the correlation of both networks' Fourier transforms at each length of frequency, a mean.

    The maps are those of overhaul: the student's after their connectors, the teacher's above their margins; terms that
    ask for them share one pair. The mean is over rings of frequencies, channels, images and stages, so that the loss is
    between 0 and 2.
    """

    needs = Needs(teacher=True, stages=True, shared=(ReducedMaps(),))
    paper = (
        "Rotman and Wolf, Natural statistics of network activations and implications for knowledge distillation, 2021 "
        "(2106.00368)"
    )
    beside_terms = {"overhaul": 1e-4}

    weight: float = 0.01
    """Of the loss in the objective: .01, or .001 on ImageNet. Which of the three weights is whose is lost in print: the
    largest belongs to this term, a mean of at most 2, where the others are sums over units."""

    def build(self, setting: Setting) -> Loss:
        """The loss; what it learns is shared.

        Raises:
            InputError: no stages, or another number of them.
        """
        return _CrossPower([smaller(*pair) for pair in paired(self, setting)])
