"""L1 distance of spectra: the Fourier transforms of the student's stages against the teacher's."""

from dataclasses import dataclass

import torch
from jaxtyping import Complex, Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from distill.feature_maps import smaller
from distill.fourier_rings import half_plane_weights
from distill.levels import levels
from distill.reduced_maps import ReducedMaps
from distill.term import Given, Loss, Needs, Setting, Term, paired
from distill.trace import Trace


def spectral_distance(
    student: Complex[Tensor, "batch channels height half"],
    teacher: Complex[Tensor, "batch channels height half"],
    weights: Float[Tensor, "height half"],
) -> Float[Tensor, ""]:
    """|S - T|, the modulus of the complex difference, a sum over channels and frequencies and a mean over the batch.

    Args:
        student: S, the transform of the student's maps, the half that `torch.fft.rfft2` gives.
        teacher: T, likewise.
        weights: how often each entry counts (see `half_plane_weights`), so that the sum is that of the whole transform.
    """
    return _WeightedModulus.apply(student - teacher, weights) / len(student)


class _WeightedModulus(torch.autograd.Function):
    """The weighted sum of moduli of complex numbers; at 0 its slope is 0.

    Half the cost of `abs` and the phase that autograd takes for it, which matters since both are as large as the maps.
    """

    @staticmethod
    def forward(ctx, numbers: Tensor, weights: Tensor) -> Tensor:
        parts = torch.view_as_real(numbers)
        modulus = (parts[..., 0].square().addcmul_(parts[..., 1], parts[..., 1])).sqrt_()
        ctx.save_for_backward(parts, modulus, weights)
        return (modulus * weights).sum()

    @staticmethod
    @once_differentiable
    def backward(ctx, slope: Tensor) -> tuple[Tensor, None]:
        parts, modulus, weights = ctx.saved_tensors
        factor = torch.where(modulus > 0, weights * slope / modulus, 0)
        return torch.view_as_complex(parts * factor[..., None]), None


class _SpectralDistance(Loss):
    def __init__(self, shapes: list[tuple[int, int]], config: "SpectralL1"):
        super().__init__()
        self.decay = config.decay
        for number, shape in enumerate(shapes):
            self.register_buffer(f"weights{number}", half_plane_weights(*shape), persistent=False)

    def loss(self, student: Trace, teacher: Trace | None, given: Given):
        with torch.autocast(student.logits.device.type, enabled=False):
            found = [
                spectral_distance(*pair.spectra, getattr(self, f"weights{number}"))
                for number, pair in enumerate(given.shared[ReducedMaps()])
            ]
        return levels(found, self.decay)


@dataclass(frozen=True)
class SpectralL1(Term):
    """Modulus of the difference between the Fourier transforms of both networks' stages, summed.

    The maps are those of overhaul: the student's after their connectors, the teacher's above their margins; terms that
    ask for them share one pair. Transforms have the factor 1 / sqrt(height width). What is printed says neither whether
    frequencies are summed or averaged nor how stages are weighted: here as overhaul's units are, since the weight is
    the same.
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
        return _SpectralDistance([smaller(*pair) for pair in paired(self, setting)], self)
