"""L1 distance of spectra: the Fourier transforms of the student's stages against the teacher's."""

from dataclasses import dataclass

from distill.levels import levels
from distill.reduced_maps import ReducedMaps
from distill.term import Given, Loss, Needs, Setting, Term, paired
from distill.trace import Trace


class _SpectralDistance(Loss):
    def __init__(self, decay: float):
        super().__init__()
        self.decay = decay

    def loss(self, student: Trace, teacher: Trace | None, given: Given):
        found = [pair.spectra.distance / len(pair.student) for pair in given.shared[ReducedMaps()]]
        return levels(found, self.decay)


@dataclass(frozen=True)
class SpectralL1(Term):
    """Modulus of the difference |S - T| between the Fourier transforms of both networks' stages, summed.

    The maps are those of overhaul: the student's after their connectors, the teacher's above their margins; terms that
    ask for them share one pair. Transforms have the factor 1 / sqrt(height width). What is printed says neither whether
    frequencies are summed or averaged nor how stages are weighted: here as overhaul's units are, since the weight is
    the same: a sum over frequencies and channels, a mean over the batch.
    """

    needs = Needs(teacher=True, stages=True, shared=(ReducedMaps(),))
    paper = (
        "Rotman and Wolf, Natural statistics of network activations and implications for knowledge distillation, 2021 "
        "(2106.00368)"
    )
    beside_terms = {"overhaul": 1e-4}

    weight: float = 1e-4
    """Of the loss in the objective: 1e-4, or 1e-5 on ImageNet. Which of the three weights is whose is lost in print:
    two are alike and belong to the two sums over units, and .01 to cross-power, which is a mean of at most 2."""
    decay: float = 0.5
    """Weight of a stage in that of the next: of three, a quarter, a half and the whole, as in overhaul."""

    def __post_init__(self):
        """Refuse what cannot be followed."""
        super().__post_init__()
        self.require("decay", 0 < self.decay <= 1, "a number above 0, and 1 at most")

    def build(self, setting: Setting) -> Loss:
        """The loss; what it learns is shared.

        Raises:
            InputError: no stages, or another number of them.
        """
        paired(self, setting)
        return _SpectralDistance(self.decay)
