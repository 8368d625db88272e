"""The spectra of two networks' maps, compared once a step for all terms that look at them."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from analysis.spectra.frequencies import half_plane
from distill.fourier import Fourier
from distill.fourier_rings import ring_matrix

_NUMBERS = 2**18
"""Of a CPU's images at a time, frequencies of all channels: some operations follow one another on each."""

_LEAST = 1e-19
"""Of a modulus: what is less has a square below single precision's range; no slope of it is above 1 then."""


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
            return SpectralComparison(*_Compared.apply(student, teacher, self))

    def images_at_once(self, maps: Tensor) -> int:
        """All on a GPU, which has fewer kernels to launch then; on a CPU as many as its caches keep between steps."""
        if maps.device.type != "cpu":
            return max(1, len(maps))
        return max(1, _NUMBERS // (self.weights.numel() * maps.shape[1]))


class _Compared(torch.autograd.Function):
    """All of `SpectralComparison` and the slopes of all, some images at a time, in few passes over their transforms.

    The modulus has the slope 0 at 0.
    """

    @staticmethod
    def forward(ctx, student: Tensor, teacher: Tensor, of: SpectraOf) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        kept, sums, total = [], [], 0
        few = of.images_at_once(student)
        for pair in zip(student.split(few), teacher.split(few), strict=True):
            one, two = (of.fourier(maps) for maps in pair)
            modulus, room = (one[:, part] - two[:, part] for part in (0, 1))
            modulus = modulus.square_().addcmul_(room, room).sqrt_()
            total = total + modulus.sum((0, -1))
            sums.append([_over(of.rings, *both, room) for both in ((one, two), (one, one), (two, two))])
            kept += one, two, modulus
        ctx.of, ctx.few = of, few
        ctx.save_for_backward(*kept)
        cross, power, other = (torch.cat(parts) for parts in zip(*sums, strict=True))
        if not ctx.needs_input_grad[1]:
            ctx.mark_non_differentiable(other)
        return (total * of.weights).sum(), cross, power, other

    @staticmethod
    @once_differentiable
    def backward(ctx, distance: Tensor, *sums: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        kept, of, found = iter(ctx.saved_tensors), ctx.of, ([], [])
        weights = (of.weights * distance)[..., None]
        sums = sums if ctx.needs_input_grad[1] else sums[:2]
        parts = zip(kept, kept, kept, *(one.split(ctx.few) for one in sums), strict=True)
        for one, two, modulus, cross, *alone in parts:
            factor = (weights / modulus.clamp(min=_LEAST))[:, None]
            both = _back(of.rings, cross, modulus)
            for side, (own, rest) in enumerate(((one, two), (two, one))):
                if ctx.needs_input_grad[side]:
                    slopes = (own - rest).mul_(factor).addcmul_(both, rest)
                    slopes.addcmul_(_back(of.rings, 2 * alone[side], modulus), own)
                    found[side].append(of.fourier.back(slopes))
        return *(torch.cat(parts) if parts else None for parts in found), None


def _over(rings: Tensor, one: Tensor, two: Tensor, room: Tensor) -> Tensor:
    """Re(S T*) summed over each ring; the room is written over."""
    product = torch.mul(one[:, 0], two[:, 0], out=room).addcmul_(one[:, 1], two[:, 1])
    return torch.bmm(rings.expand(len(one), -1, -1), product.flatten(1, 2))


def _back(rings: Tensor, slope: Tensor, modulus: Tensor) -> Tensor:
    """Slopes of rings at each of their frequencies, for both parts of a transform of the modulus's shape."""
    return torch.bmm(rings.T.expand(len(slope), -1, -1), slope).view_as(modulus)[:, None]
