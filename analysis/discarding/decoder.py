"""The decoder by which reconstruction uncertainty is measured: the same for all layers, so that these compare."""

import copy
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from priors.checks.floats import require_digits, require_floats, to_own
from priors.errors import InputError, shown

_BLOCKS = 6
"""As many as the paper has."""


class TwoTrackDecoder(nn.Module):
    """From a layer's features to images: six residual blocks of two tracks (the paper's section 4).

    A 3 x 3 convolution brings maps to `width` channels. A block adds what two tracks give, and puts a ReLU behind: one
    of convolution, batch norm and ReLU, one of convolution, batch norm, ReLU, convolution and batch norm. In the first
    so many blocks as doublings lie between the features and the image, the first convolution of both tracks is a
    4 x 4 transposed one that doubles the maps, at most in all six. Last a 3 x 3 convolution gives the image, with no
    bias and no bounds. Its blocks, width and kernels are those of the authors' code.

    Where a size is no power of two times the other one, maps are first brought, bilinearly, to the smallest size from
    which doublings reach the image, and what is too much is cut off at the lower and right edges. A vector goes
    through a linear layer to maps of that size: a single pixel for 32 x 32 or 64 x 64, 2 x 2 for 28 x 28.

    A feature that is scaled is undone by the first layer alone: see `folded_decoder`.

    Args:
        image_shape: (channels, height, width).
        feature_shape: of one image's features, (K,) or (K, h, w).
        width: channels of the blocks.

    Raises:
        InputError: shapes or a width that it cannot make.
    """

    def __init__(self, image_shape: Sequence[int], feature_shape: Sequence[int], *, width: int = 64):
        super().__init__()
        if len(image_shape) != 3 or min(image_shape) < 1:
            raise InputError(f"images of shape {tuple(image_shape)}: (channels, height, width) was expected")
        if len(feature_shape) not in (1, 3) or min(feature_shape) < 1:
            raise InputError(f"features of shape {tuple(feature_shape)}: (K,) or (K, height, width) was expected")
        if isinstance(width, bool) or not isinstance(width, int) or width < 1:
            raise InputError(f"width is {shown(width)}: a whole number of at least 1 was expected")
        channels, height, wide = image_shape
        self.image_shape, self.feature_shape = (channels, height, wide), tuple(feature_shape)
        rows, columns = feature_shape[1:] or (1, 1)
        # The largest so many by which no side becomes longer than the image's.
        self.doublings = min(_BLOCKS, max(0, min(height // rows, wide // columns).bit_length() - 1))
        self.size = tuple(-(-side // 2**self.doublings) for side in (height, wide))
        self.vector = len(feature_shape) == 1
        self.first = (
            nn.Linear(feature_shape[0], width * self.size[0] * self.size[1], bias=False)
            if self.vector
            else nn.Conv2d(feature_shape[0], width, 3, padding=1, bias=False)
        )
        self.norm = nn.BatchNorm2d(width)
        self.blocks = nn.Sequential(*(_Block(width, doubled=number < self.doublings) for number in range(_BLOCKS)))
        self.last = nn.Conv2d(width, channels, 3, padding=1, bias=False)

    def forward(self, features: Shaped[Tensor, "batch *features"]) -> Float[Tensor, "batch channels height width"]:
        """Images, which least squares may put outside [0, 1], in the type of the weights.

        Args:
            features: (batch, K) or (batch, K, h, w), of any floating-point type; it is brought to that of the weights,
                which is float32 or float64.

        Raises:
            InputError: features of another shape or of whole numbers, or weights of half precision.
        """
        if features.shape[1:] != self.feature_shape:
            raise InputError(
                f"features of shape {tuple(features.shape[1:])}: {self.feature_shape} was expected, from the network "
                "and the layer that this decoder was trained on"
            )
        require_digits(self, "this decoder")
        features = to_own(self, features, "features")
        if self.vector:
            maps = self.first(features).view(len(features), -1, *self.size)
        else:
            if features.shape[2:] != self.size:
                features = F.interpolate(features, self.size, mode="bilinear", align_corners=False)
            maps = self.first(features)
        maps = self.blocks(F.relu(self.norm(maps)))
        return self.last(maps[..., : self.image_shape[1], : self.image_shape[2]])


class _Block(nn.Module):
    """Two tracks side by side, their sum and a ReLU; batch norm has the bias of the convolution before it."""

    def __init__(self, width: int, doubled: bool):
        super().__init__()

        def entry() -> list[nn.Module]:
            if doubled:
                return [nn.ConvTranspose2d(width, width, 4, 2, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
            return [nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]

        self.short = nn.Sequential(*entry())
        self.long = nn.Sequential(*entry(), nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width))

    def forward(self, maps: Tensor) -> Tensor:
        return F.relu(self.short(maps) + self.long(maps))


@torch.no_grad()
def folded_decoder(decoder: TwoTrackDecoder, scale: Shaped[Tensor, "..."] | int | float) -> TwoTrackDecoder:
    """The decoder of features that are `scale` times as large: the same images come out of both.

    The inverse scale goes into the weights of the first layer, so that no more is learnt and no digits are lost.

    Args:
        decoder: it is not changed.
        scale: of the features, one number or one a channel; not 0.

    Raises:
        InputError: another number of scales than channels, whole numbers in a tensor, or a scale that is 0 or not
            finite.
    """
    if isinstance(scale, Tensor):
        require_floats(scale, "scales")
    twin = copy.deepcopy(decoder)
    given = torch.as_tensor(scale, dtype=torch.float64).flatten()
    channels = decoder.feature_shape[0]
    if len(given) not in (1, channels) or not bool((given.isfinite() & (given != 0)).all()):
        raise InputError(
            f"scales {given.tolist()[:8]}: a number that is not 0, or one for each of {channels} channels, was expected"
        )
    weight = twin.first.weight
    weight.copy_(weight.double() / given.to(weight.device).view(1, -1, *[1] * (weight.ndim - 2)))
    return twin
