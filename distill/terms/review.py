"""ReviewKD: each of the teacher's stages is compared with what the student makes of that stage and all deeper ones."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from distill.feature_maps import Activation, activated
from distill.full_precision import full
from distill.regressor import convolution
from distill.term import Given, Loss, Needs, Setting, Term, paired
from distill.trace import Trace

_WIDEST = 512
"""Channels in which stages are fused, at most."""
_GRIDS = (4, 2, 1)
"""Cells a side in which differences are averaged."""


def hierarchical(
    student: Float[Tensor, "batch channels height width"], teacher: Float[Tensor, "batch channels height width"]
) -> Float[Tensor, ""]:
    """The hierarchical context loss: mean squares of the difference, and of its means in 4x4, 2x2 and 1x1 cells.

    The weights of those that are coarser than the maps are 1, 1/2, 1/4, 1/8, over their sum (Chen et al. 2021, section
    3.4 and the authors' code).
    """
    apart = cells = full(student) - full(teacher)
    least = min(apart.shape[2:])
    losses = [apart.square().mean()]
    for grid in _GRIDS:
        if grid < least:
            cells = _averaged(apart, cells, grid)
            losses.append(cells.square().mean())
    weights = [0.5**number for number in range(len(losses))]
    return sum(weight * loss for weight, loss in zip(weights, losses, strict=True)) / sum(weights)


def _averaged(whole: Tensor, cells: Tensor, grid: int) -> Tensor:
    """The means of maps in a grid of cells, from the finer cells of before where those are all of one size."""
    before = (
        cells if all(size % had == 0 for size, had in zip(whole.shape[2:], cells.shape[2:], strict=True)) else whole
    )
    if all(size % grid == 0 for size in before.shape[2:]):
        return F.avg_pool2d(before, tuple(size // grid for size in before.shape[2:]))
    return F.adaptive_avg_pool2d(whole, grid)


class Fusion(nn.Module):
    """Attention based fusion of a stage with the deeper ones (Chen et al. 2021, section 3.3).

    The stage goes through a 1x1 convolution and batch norm. What is left of the deeper stages is brought to its size,
    and both are added, weighted at each position by what a 1x1 convolution of both and a sigmoid say. That is brought
    to the teacher's size, and by a 3x3 convolution and batch norm to its channels.

    Args:
        inputs: channels of the student's stage.
        between: channels in which stages are added.
        outputs: channels of the teacher's stage.
        size: its height and width.
        deeper: whether there are deeper stages.
        generator: of the convolutions' weights; None: torch's own.
    """

    def __init__(
        self,
        inputs: int,
        between: int,
        outputs: int,
        size: tuple[int, int],
        deeper: bool,
        generator: torch.Generator | None,
    ):
        super().__init__()
        self.size = size
        self.enter = _normed(inputs, between, 1, generator)
        self.weigh = convolution(nn.Conv2d, 2 * between, 2, 1, generator) if deeper else None
        self.leave = _normed(between, outputs, 3, generator)

    def forward(
        self, stage: Float[Tensor, "batch inputs _ _"], deeper: Float[Tensor, "batch between _ _"] | None
    ) -> tuple[Float[Tensor, "batch outputs height width"], Float[Tensor, "batch between height width"]]:
        """What is compared with the teacher's stage, and what is left for the next one."""
        left = self.enter(stage)
        if self.weigh is not None:
            own, other = self._said(left, deeper).sigmoid().split(1, 1)
            left = torch.addcmul(left * own, _resized(deeper, left.shape[2:]), other)
        left = _resized(left, self.size)
        return self.leave(left), left

    def _said(self, left: Tensor, deeper: Tensor) -> Tensor:
        """The convolution of both: of the deeper one before it is made larger, and without a copy of the two as one."""
        own, other = self.weigh.weight.split(left.shape[1], 1)
        return F.conv2d(left, own, self.weigh.bias) + _resized(F.conv2d(deeper, other), left.shape[2:])


def _resized(maps: Tensor, size: Sequence[int]) -> Tensor:
    return maps if maps.shape[2:] == tuple(size) else F.interpolate(maps, tuple(size), mode="nearest")


def _normed(inputs: int, outputs: int, kernel: int, generator: torch.Generator | None) -> nn.Sequential:
    """A convolution that keeps the size, uniform by its fan-in at first as in the authors' code, and batch norm."""
    layer = nn.utils.skip_init(nn.Conv2d, inputs, outputs, kernel, padding=kernel // 2, bias=False)
    nn.init.kaiming_uniform_(layer.weight, a=1, generator=generator)
    return nn.Sequential(layer, nn.BatchNorm2d(outputs))


class _Review(Loss):
    least = 2  # activations go through batch norm

    def __init__(self, fusions: Sequence[Fusion], config: "Review"):
        super().__init__()
        self.fusions = nn.ModuleList(fusions)
        self.config = config

    def loss(self, student: Trace, teacher: Trace | None, given: Given):
        ours = [*(activated(stage, self.config.activation) for stage in student.stages), _map(student)]
        theirs = [*(activated(stage, "none") for stage in teacher.stages), _map(teacher)]
        total, left = 0.0, None
        with torch.autocast(student.logits.device.type, enabled=False):
            for s, t, fuse in zip(reversed(ours), reversed(theirs), reversed(self.fusions), strict=True):
                found, left = fuse(s, left)
                total = total + hierarchical(found, t)
        return given.risen(self.config.warmup) * total


def _map(trace: Trace) -> Tensor:
    """Penultimate activations as maps of one pixel."""
    return trace.penultimate.float()[:, :, None, None]


@dataclass(frozen=True)
class Review(Term):
    """Distance of the teacher's stages and activations from what the student makes of its own, each with deeper ones.

    It goes from the penultimate activations to the first stage: each is fused with what is left of the deeper ones, and
    compared on grids of several sizes. The weights are those of the authors' code for CIFAR-100: 5 for pairs of wide
    residual networks and most others, else see `pairs`. They rise from epoch to epoch there, over 20 of 240, and here
    from step to step. That code trains with batches of 128 and a learning rate of .1. It takes the teacher's stages
    before their ReLU, as the zoo's are; of the student it takes a residual network's behind their ReLU (activation
    relu), and a wide residual network's sums as they are (--student-taps body.group1 body.group2 body.group3).
    """

    paper = "Chen, Liu, Zhao and Jia, Distilling knowledge via knowledge review, 2021 (arXiv 2104.09044)"
    pairs = {
        ("resnet-32x4", "shufflenet-v2"): {"weight": 8.0},
        ("resnet-56", "resnet-20"): {"weight": 0.6},
        ("resnet-110", "resnet-32"): {"weight": 1.0},
    }

    weight: float = 5.0
    """Of the loss in the objective; 5, or by pair .6 to 8 (the authors' code)."""
    activation: Activation = "none"
    """What follows the student's stages."""
    warmup: float = 1 / 12
    """Part of the training in which its weight rises from 0: 20 of 240 epochs (the authors' code)."""

    @property
    def needs(self) -> Needs:
        """Stages and activations of both, and how far the training is where the weight rises."""
        return Needs(teacher=True, penultimate=True, stages=True, passed=self.warmup > 0)

    def __post_init__(self):
        """Refuse what cannot be followed."""
        super().__post_init__()
        self.require("warmup", 0 <= self.warmup <= 1, "a part of the training, from 0 to 1")

    def build(self, setting: Setting) -> Loss:
        """The loss, with fresh fusions.

        Raises:
            InputError: no stages, or another number of them.
        """
        pooled = tuple((one.penultimate, 1, 1) for one in (setting.student, setting.teacher))
        pairs = (*paired(self, setting), pooled)
        between, last = min(_WIDEST, setting.student.penultimate), len(pairs) - 1
        fusions = [
            Fusion(ours[0], between, theirs[0], theirs[1:], number < last, setting.generator)
            for number, (ours, theirs) in enumerate(pairs)
        ]
        return _Review(fusions, self)
