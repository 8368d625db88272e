"""Feature maps of student and teacher as one pair of the same shape: a connector on one side, a margin on the other."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Float
from torch import Tensor, nn

from distill.feature_maps import pooled, smaller
from distill.regressor import connector
from distill.spectra import SpectralComparison, SpectraOf
from distill.term import Needs, Setting, Shared
from distill.trace import Trace

_RARE = 0.001
"""A channel with fewer negatives than this share has no mean of them to speak of."""
_DEVIATIONS = 3
"""How many deviations below 0 its margin is then."""
_LEAST = 1e-30
"""In the place of a deviation of 0."""


@dataclass(frozen=True)
class ReducedPair:
    """One stage of both networks, in one shape: (batch, channels, height, width), in float32.

    Attributes:
        student: its maps after their connector, on the graph.
        teacher: its maps, none below the channel's margin, off the graph.
        compare: what compares spectra of maps of this size.
    """

    student: Float[Tensor, "batch channels height width"]
    teacher: Float[Tensor, "batch channels height width"]
    compare: SpectraOf

    @cached_property
    def spectra(self) -> SpectralComparison:
        """Both maps' spectra beside each other, made once for all who ask."""
        return self.compare(self.student, self.teacher)


@dataclass(frozen=True)
class ReducedMaps(Shared):
    """Every stage of student and teacher as a pair of one shape: a tuple of `ReducedPair`, first to last.

    The student's goes through a 1x1 convolution without bias and batch norm, into the teacher's channels. Of the
    teacher's, each value below the channel's margin m becomes m, where m is the mean of the channel's negatives (see
    `margin`). Where one network's maps are larger, they are averaged to the other's size.

    The margin is that of the batch norm which gives the stage or, where the stage is a sum, one of its summands: the
    authors of the margin ReLU take a residual block's last batch norm in this way. Where there is no such norm, it is
    the mean of the channel's negatives in each batch.
    """

    needs = Needs(teacher=True, stages=True)

    @property
    def name(self) -> str:
        """There is one kind of it."""
        return "reduced-maps"

    def build(self, setting: Setting) -> nn.Module:
        """Fresh connectors, and the margins of this teacher."""
        student, teacher = setting.student.stages, setting.teacher.stages
        connectors = [connector(s[0], t[0], setting.generator) for s, t in zip(student, teacher, strict=True)]
        norms = [None] * len(teacher) if setting.stage_norms is None else setting.stage_norms()
        sizes = [smaller(*pair) for pair in zip(student, teacher, strict=True)]
        return _Reduction(connectors, [None if norm is None else margin_of(norm) for norm in norms], sizes)


class _Reduction(nn.Module):
    def __init__(
        self, connectors: Sequence[nn.Module], margins: Sequence[Tensor | None], sizes: Sequence[tuple[int, int]]
    ):
        super().__init__()
        self.connectors = nn.ModuleList(connectors)
        self.spectra = nn.ModuleList(SpectraOf(*size) for size in sizes)
        for number, values in enumerate(margins):
            self.register_buffer(f"margin{number}", None if values is None else values.float())

    def forward(self, student: Trace, teacher: Trace) -> tuple[ReducedPair, ...]:
        found = []
        parts = zip(student.stages, teacher.stages, self.connectors, self.spectra, strict=True)
        for number, (s, t, connect, compare) in enumerate(parts):
            margin = getattr(self, f"margin{number}")
            t = t.detach().float()
            least = (mean_of_negatives(t) if margin is None else margin)[:, None, None]
            s, t = pooled(s, torch.maximum(t, least))
            found.append(ReducedPair(connect(s), t, compare))
        return tuple(found)


def margin(beta: Float[Tensor, " channels"], gamma: Float[Tensor, " channels"]) -> Float[Tensor, " channels"]:
    """E[x | x < 0] of the normal distribution N(beta, gamma^2), in double precision (Heo et al. 2019, equation 5).

    It is beta - |gamma| phi(r) / Phi(-r) with r = beta / |gamma|, phi the standard normal's density and Phi its
    distribution function. Where Phi(-r), the share of negatives, is .001 at most, it is -3 |gamma|, as in the authors'
    code. A channel with gamma = 0 is constant: beta where that is negative, else 0.

    Args:
        beta: the shift of a batch norm.
        gamma: its factor, of any sign.

    Example:
        >>> margin(torch.tensor([0.0, 9.0]), torch.tensor([1.0, -1.0]))
        tensor([-0.7979, -3.0000], dtype=torch.float64)
    """
    beta, deviation = beta.detach().double(), gamma.detach().double().abs()
    ratio = beta / deviation.clamp(min=_LEAST)
    negative = torch.special.ndtr(-ratio)
    density = torch.exp(-ratio.square() / 2) / (2 * torch.pi) ** 0.5
    rare = negative <= _RARE
    mean = beta - deviation * density / torch.where(rare, 1.0, negative)
    return torch.where(rare, -_DEVIATIONS * deviation, mean)


def margin_of(norm: nn.Module) -> Float[Tensor, " channels"]:
    """`margin` of what a batch norm gives; one without factor and shift gives the standard normal's."""
    if norm.weight is None:
        zeros = torch.zeros(norm.num_features, dtype=torch.double)
        return margin(zeros, torch.ones_like(zeros))
    return margin(norm.bias, norm.weight)


def mean_of_negatives(maps: Float[Tensor, "batch channels height width"]) -> Float[Tensor, " channels"]:
    """The mean of each channel's negative values over a batch; 0 where it has none.

    Example:
        >>> mean_of_negatives(torch.tensor([-1.0, -3.0, 5.0, 2.0]).view(1, 2, 1, 2))
        tensor([-2.,  0.])
    """
    below = maps.clamp(max=0)
    return below.sum((0, 2, 3)) / (maps < 0).sum((0, 2, 3)).clamp(min=1)
