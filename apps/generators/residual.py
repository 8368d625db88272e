"""The residual blocks of the SNGAN: up in the generator, with conditional batch norm, and down in the discriminator.

Miyato et al. 2018 (arXiv 1802.05957) and Miyato and Koyama 2018 (arXiv 1802.05637). The blocks do the same in fewer
multiplications than they are written in. A shortcut changes its resolution where it has the fewer pixels, before or
after its 1 x 1 convolution: repeating or interpolating pixels, and averaging them, commute with a convolution of one
pixel. And a 3 x 3 convolution before a mean over 2 x 2, or after repeated pixels, is one of 4 x 4 with a stride of 2:
16 multiplications where there were 36.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn


def convolve_and_halve(
    x: Float[Tensor, "batch before height width"],
    weight: Float[Tensor, "after before 3 3"],
    bias: Float[Tensor, " after"],
) -> Float[Tensor, "batch after height/2 width/2"]:
    """The mean over 2 x 2 pixels of a 3 x 3 convolution with padding 1; sides are even."""
    return F.conv2d(x, _spread(weight) / 4, bias, stride=2, padding=1)


def double_and_convolve(
    x: Float[Tensor, "batch before height width"],
    weight: Float[Tensor, "after before 3 3"],
    bias: Float[Tensor, " after"],
) -> Float[Tensor, "batch after 2*height 2*width"]:
    """A 3 x 3 convolution with padding 1 of an image whose pixels are each repeated 2 x 2 times."""
    return F.conv_transpose2d(x, _spread(weight).flip(2, 3).transpose(0, 1), bias, stride=2, padding=1)


def _spread(weight: Tensor) -> Tensor:
    """The kernel of four shifted ones added up: (after, before, 4, 4)."""
    return F.avg_pool2d(F.pad(weight, (1, 1, 1, 1)), 2, 1, divisor_override=1)


class ConditionalBatchNorm(nn.Module):
    """Batch norm with a gain and a bias for each class (Dumoulin et al. 2016).

    Args:
        features: channels.
        classes: labels are below it.
        eps: added to variances.
    """

    def __init__(self, features: int, classes: int, eps: float = 1e-5):
        super().__init__()
        self.normalise = nn.BatchNorm2d(features, eps, affine=False)
        self.gain = nn.Embedding(classes, features)
        self.bias = nn.Embedding(classes, features)
        nn.init.ones_(self.gain.weight)
        nn.init.zeros_(self.bias.weight)

    def forward(
        self, x: Float[Tensor, "batch channels height width"], labels: Int[Tensor, " batch"]
    ) -> Float[Tensor, "batch channels height width"]:
        """Normalise, then scale and shift by the label's own numbers."""
        x = self.normalise(x)
        gain, bias = (table(labels)[..., None, None].to(x.dtype) for table in (self.gain, self.bias))
        return torch.addcmul(bias, x, gain)


class LinearBatchNorm(nn.Module):
    """Batch norm whose gains, about 1, and biases are linear in a vector (Brock et al. 2019).

    Args:
        features: channels.
        width: of the vectors.
        eps: added to variances.
    """

    def __init__(self, features: int, width: int, eps: float = 1e-5):
        super().__init__()
        self.normalise = nn.BatchNorm2d(features, eps, affine=False)
        self.gain = nn.Linear(width, features, bias=False)
        self.bias = nn.Linear(width, features, bias=False)

    def forward(
        self, x: Float[Tensor, "batch channels height width"], given: Float[Tensor, "batch given"]
    ) -> Float[Tensor, "batch channels height width"]:
        """Normalise, then scale and shift by what the vectors give."""
        x = self.normalise(x)
        gain, bias = (layer(given)[..., None, None].to(x.dtype) for layer in (self.gain, self.bias))
        return torch.addcmul(bias, x, 1 + gain)


def conditional_norm(features: int, classes: int, eps: float = 1e-5, width: int = 0) -> nn.Module:
    """Batch norm that is called with labels or, where `width` is above 0, with vectors of that width."""
    return LinearBatchNorm(features, width, eps) if width else ConditionalBatchNorm(features, classes, eps)


class PlainBatchNorm(nn.Module):
    """Batch norm that takes labels and does not use them.

    Args:
        features: channels.
        eps: added to variances.
    """

    def __init__(self, features: int, eps: float = 1e-5):
        super().__init__()
        self.normalise = nn.BatchNorm2d(features, eps)

    def forward(self, x: Tensor, labels: Tensor) -> Tensor:
        """Normalise, scale and shift."""
        return self.normalise(x)


class UpBlock(nn.Module):
    """Doubles the resolution: norm, ReLU, up, convolution, norm, ReLU, convolution; beside it up and 1 x 1.

    Args:
        before: channels that come in.
        after: channels that go out.
        classes: of the conditional norms.
        upsample: "nearest" or "bilinear".
        eps: added to variances in the norms.
        width: of the vectors that the norms are called with; 0: they are called with labels.
    """

    def __init__(self, before: int, after: int, classes: int, upsample: str, eps: float = 1e-5, width: int = 0):
        super().__init__()
        self.norm1 = conditional_norm(before, classes, eps, width)
        self.conv1 = nn.Conv2d(before, after, 3, padding=1)
        self.norm2 = conditional_norm(after, classes, eps, width)
        self.conv2 = nn.Conv2d(after, after, 3, padding=1)
        self.shortcut = nn.Conv2d(before, after, 1)
        self.upsample = upsample

    def _up(self, x: Tensor) -> Tensor:
        return F.interpolate(x, scale_factor=2, mode=self.upsample)

    def forward(
        self,
        x: Float[Tensor, "batch before height width"],
        given: Int[Tensor, " batch"] | Float[Tensor, "batch given"],
    ) -> Float[Tensor, "batch after 2*height 2*width"]:
        """Residual plus shortcut; the norms get the labels, or vectors."""
        h = F.relu(self.norm1(x, given))
        if self.upsample == "nearest":
            h = double_and_convolve(h, self.conv1.weight, self.conv1.bias)
        else:
            h = self.conv1(self._up(h))
        h = self.conv2(F.relu(self.norm2(h, given)))
        return h + self._up(self.shortcut(x))


class DownBlock(nn.Module):
    """ReLU, convolution, ReLU, convolution and, where it halves the resolution, mean over 2 x 2; beside it 1 x 1, mean.

    Args:
        before: channels that come in.
        after: channels that go out.
        halve: whether it halves the resolution.
        first: whether images come in, on which no ReLU acts.
        overwrite: whether the first ReLU works in place, so that the shortcut gets its output as well, as in code that
            writes it that way; out of place is better (FID 8.12 against 8.35 in MMGeneration's SNGAN).
    """

    def __init__(self, before: int, after: int, halve: bool, first: bool = False, overwrite: bool = False):
        super().__init__()
        self.conv1 = nn.Conv2d(before, after, 3, padding=1)
        self.conv2 = nn.Conv2d(after, after, 3, padding=1)
        self.shortcut = nn.Conv2d(before, after, 1) if halve or first or before != after else None
        self.halve, self.first, self.overwrite = halve, first, overwrite

    def forward(self, x: Float[Tensor, "batch before height width"]) -> Float[Tensor, "batch after ..."]:
        """Residual plus shortcut."""
        h = x if self.first else F.relu(x)
        if self.overwrite:
            x = h
        h = F.relu(self.conv1(h))
        if self.halve:
            h, x = convolve_and_halve(h, self.conv2.weight, self.conv2.bias), F.avg_pool2d(x, 2)
        else:
            h = self.conv2(h)
        return h + (x if self.shortcut is None else self.shortcut(x))
