"""Cross-power spectra: whether student and teacher have the same structure at each length of frequency."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from distill.reduced_maps import ReducedMaps
from distill.spectra import SpectralComparison
from distill.term import Given, Loss, Needs, Setting, Term, paired
from distill.trace import Trace

_LEAST = 1e-12
"""Of a map's power: a ring with less is empty, since single precision cannot tell it from rounding."""


def incoherence(spectra: SpectralComparison) -> Float[Tensor, "batch channels"]:
    """1 - Re<S T*> / sqrt(<|S|^2> <|T|^2>), averaged over rings of frequencies of one length: from 0 to 2.

    Rotman and Wolf 2021, equation 8, which is one minus the Fourier ring correlation. It is 0 where one map is a
    positive multiple of the other and 2 where it is a negative one; no factor changes it. A ring that has power in one
    map alone counts 1. One that has none in either is left out, and two maps of zeros have 0.

    Args:
        spectra: what the transforms S of the student's maps and T of the teacher's have in common.
    """
    power, other = spectra.power, spectra.other_power
    empty, empty_too = (one <= _LEAST * one.sum(1, keepdim=True) for one in (power, other))
    count = (~(empty & empty_too)).sum(1)
    both = ~(empty | empty_too)  # said so that what is no number stays none
    scale = torch.where(both, power, 1).sqrt() * torch.where(both, other, 1).sqrt()
    correlation = torch.where(both, spectra.cross / scale, 0)
    return (count - correlation.sum(1)) / count.clamp(min=1)


class _CrossPower(Loss):
    def loss(self, student: Trace, teacher: Trace | None, given: Given):
        found = [incoherence(pair.spectra).mean() for pair in given.shared[ReducedMaps()]]
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
        paired(self, setting)
        return _CrossPower()
