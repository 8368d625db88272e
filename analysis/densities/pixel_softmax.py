"""Grey pixels by a softmax over their 256 levels (van den Oord, Kalchbrenner and Kavukcuoglu 2016, section 3.4)."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor
from torch.nn.functional import cross_entropy

from analysis.densities.pixels import LEVELS, PixelDistribution, categorical


@dataclass(frozen=True)
class PixelSoftmax(PixelDistribution):
    """One logit a level: output k is that of the value k / 255. Neighbouring levels have nothing to do with each other.

    Example:
        >>> import torch
        >>> grey = torch.full((1, 1, 2, 2), 0.2)
        >>> PixelSoftmax().log_prob(torch.zeros(1, 256, 2, 2), grey).sum() / -torch.tensor(2.0).log()
        tensor(32.)
    """

    channels: ClassVar[int] = 1
    draws: ClassVar[int] = 1

    @property
    def outputs(self) -> int:
        """256, the logits."""
        return LEVELS

    def _log_prob(self, outputs: Tensor, levels: Tensor) -> Tensor:
        return cross_entropy(outputs, levels.squeeze(1), reduction="none").neg()

    def _place(self, outputs: Tensor, uniforms: Tensor) -> Tensor:
        return categorical(outputs, uniforms.squeeze(1)).unsqueeze(1)
