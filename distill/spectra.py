"""The spectra of two networks' maps, compared once a step for all terms that look at them."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from analysis.spectra.frequencies import half_plane
from distill.fourier import Fourier
from distill.fourier_rings import ring_matrix


@dataclass(frozen=True)
class SpectralComparison:
    """What the Fourier transforms S and T of a pair of maps have in common, over all frequencies.

    With the factor 1 / sqrt(height width), so that the squares of all frequencies sum to those of all pixels.

    Attributes:
        distance: |S - T|, the modulus of the complex difference, summed over frequencies, channels and images.
        cross: Re(S T*), summed over each ring.
        power: |S|^2, likewise.
        other_power: |T|^2, likewise.
    """

    distance: Float[Tensor, ""]
    cross: Float[Tensor, "batch rings channels"]
    power: Float[Tensor, "batch rings channels"]
    other_power: Float[Tensor, "batch rings channels"]


class SpectraOf(nn.Module):
    """Compares the spectra of pairs of maps of one size.

    Args:
        height: of the maps, in pixels.
        width: likewise.
    """

    def __init__(self, height: int, width: int):
        super().__init__()
        self.fourier = Fourier(height, width)
        self.register_buffer("weights", half_plane((height, width)).weight.float(), persistent=False)
        self.register_buffer("rings", ring_matrix(height, width), persistent=False)

    def forward(
        self,
        student: Float[Tensor, "batch channels height width"],
        teacher: Float[Tensor, "batch channels height width"],
    ) -> SpectralComparison:
        """In the maps' own precision, whatever autocast does."""
        with torch.autocast(student.device.type, enabled=False):
            both = self.fourier(student), self.fourier(teacher)
            return SpectralComparison(*_Compared.apply(*both, self.weights, self.rings))


class _Compared(torch.autograd.Function):
    """All of `SpectralComparison` and the slopes of all, in few passes over what is as large as the maps.

    The modulus has the slope 0 at 0.
    """

    @staticmethod
    def forward(
        ctx, student: Tensor, teacher: Tensor, weights: Tensor, rings: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        modulus, room = (student[:, part] - teacher[:, part] for part in (0, 1))
        modulus = modulus.square_().addcmul_(room, room).sqrt_()
        ctx.save_for_backward(student, teacher, modulus, weights, rings)

        def over(one: Tensor, two: Tensor) -> Tensor:
            product = torch.mul(one[:, 0], two[:, 0], out=room).addcmul_(one[:, 1], two[:, 1])
            return torch.bmm(rings.expand(len(one), -1, -1), product.flatten(1, 2))

        cross, power, other = over(student, teacher), over(student, student), over(teacher, teacher)
        if not ctx.needs_input_grad[1]:
            ctx.mark_non_differentiable(other)
        return (modulus.sum((0, -1)) * weights).sum(), cross, power, other

    @staticmethod
    @once_differentiable
    def backward(ctx, distance: Tensor, *sums: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        student, teacher, modulus, weights, rings = ctx.saved_tensors

        def back(slope: Tensor) -> Tensor:
            over = torch.bmm(rings.T.expand(len(slope), -1, -1), slope)
            return over.view_as(modulus)[:, None]

        factor = ((weights * distance)[..., None] / modulus).masked_fill_(modulus == 0, 0)[:, None]
        cross = back(sums[0])
        sides = ((student, teacher, sums[1]), (teacher, student, sums[2]))
        found = (
            (one - two).mul_(factor).addcmul_(cross, two).addcmul_(back(2 * slope), one) if wanted else None
            for (one, two, slope), wanted in zip(sides, ctx.needs_input_grad[:2], strict=True)
        )
        return *found, None, None
