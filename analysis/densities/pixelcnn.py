"""PixelCNN++: the density of images, pixel by pixel, given what a network makes of them.

Salimans, Karpathy, Chen and Kingma, PixelCNN++, 2017 (arXiv 1701.05517), conditional as in Nash, Kushman and Williams,
Inverting supervised representations with autoregressive neural density models, 2019, appendix A.
"""

from collections.abc import Sequence
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from analysis.densities.logistics import LogisticMixture
from analysis.densities.pixel_softmax import PixelSoftmax
from analysis.densities.pixels import PixelDistribution, require_image_type
from analysis.densities.sampling import sample
from analysis.densities.streams import LEVELS, GatedLayer, Streams, concat_elu
from analysis.densities.weight_norm import WeightNormConv, Window, down_shift, right_shift
from priors.checks.floats import require_digits, to_own
from priors.errors import InputError


class PixelCNN(Streams):
    """Conditional PixelCNN++.

    One stream of features sees the rows above a pixel, another also what is to its left; both go down to a quarter of
    the resolution and up again, with skips in between. Each layer of both adds a linear map of the context, if there is
    one: maps of a spatial context are brought to its resolution bilinearly.

    Args:
        image_shape: (channels, height, width); one channel or three, sides that are multiples of 4.
        context: shape of an image's context, (K,) or (K, h, w); empty: unconditional.
        layers: gated layers a block, R; the paper has 3, PixelCNN++ 5.
        filters: channels, F; the paper has 64 for grey images and 196 for colour.
        distribution: of a pixel; None: 256-way softmax for one channel, 10 logistics for three, as in the paper.
        dropout: rate of elements in each layer.
        context_dropout: rate of elements of the context's projections.

    Raises:
        InputError: images or a context of another shape, or values out of range.
    """

    def __init__(
        self,
        image_shape: Sequence[int],
        context: Sequence[int] = (),
        *,
        layers: int = 3,
        filters: int = 64,
        distribution: PixelDistribution | None = None,
        dropout: float = 0.5,
        context_dropout: float = 0.0,
    ):
        super().__init__()
        channels, height, width = image_shape
        if height % 4 or width % 4 or height < 4 or width < 4:
            raise InputError(
                f"images of {height}x{width} pixels: PixelCNN++ halves them twice, so multiples of 4 were expected; "
                f"pad them to {-(-height // 4) * 4}x{-(-width // 4) * 4}"
            )
        if channels not in (1, 3) and distribution is None:
            raise InputError(f"images of {channels} channels: 1 (grey) or 3 (red, green, blue) were expected")
        if len(context) not in (0, 1, 3) or min(context, default=1) < 1:
            raise InputError(f"a context of shape {tuple(context)}: (K,) or (K, height, width) was expected")
        for name, value, fine in (
            ("layers", layers, layers >= 1),
            ("filters", filters, filters >= 1),
            ("dropout", dropout, 0 <= dropout < 1),
            ("context_dropout", context_dropout, 0 <= context_dropout < 1),
        ):
            if not fine:
                raise InputError(f"{name} is {value}: {'a rate below 1' if 'drop' in name else '1 or more'} expected")
        self.image_shape, self.context_shape = (channels, height, width), tuple(context)
        self.layers, self.filters = layers, filters
        if distribution is None:
            distribution = PixelSoftmax() if channels == 1 else LogisticMixture()
        if distribution.channels != channels:
            raise InputError(f"images of {channels} channels and a distribution of {distribution.channels}")
        self.distribution = distribution
        wide = context[0] if context else 0

        def block(count: int, window: Window, beside: int) -> nn.ModuleList:
            return nn.ModuleList(
                GatedLayer(filters, window, beside, wide, dropout, context_dropout) for _ in range(count)
            )

        def between(window: Window, stride: int) -> nn.ModuleList:
            return nn.ModuleList(WeightNormConv(filters, filters, window, stride=stride) for _ in range(LEVELS - 1))

        # A channel of ones tells the image from what pads it.
        self.start_down = WeightNormConv(channels + 1, filters, "down")
        self.start_above = WeightNormConv(channels + 1, filters, "above")
        self.start_left = WeightNormConv(channels + 1, filters, "left")
        up, back = [layers] * LEVELS, [layers + 1] * (LEVELS - 1) + [layers]  # by level, from the image's resolution
        self.up_down = nn.ModuleList(block(count, "down", 0) for count in up)
        self.up_right = nn.ModuleList(block(count, "down-right", filters) for count in up)
        self.shrink_down, self.shrink_right = between("down", 2), between("down-right", 2)
        self.back_down = nn.ModuleList(block(count, "down", filters) for count in back)
        self.back_right = nn.ModuleList(block(count, "down-right", 2 * filters) for count in back)
        self.grow_down, self.grow_right = between("down", -2), between("down-right", -2)
        self.final = WeightNormConv(filters, distribution.outputs, "pixel")

    def forward(
        self, images: Float[Tensor, "batch channels height width"], context: Tensor | None = None
    ) -> Float[Tensor, "batch outputs height width"]:
        """Parameters of each pixel's distribution, given all pixels before it in reading order and the context.

        Args:
            images: in [0, 1], float32 or float64.
            context: (batch, K) or (batch, K, h, w), of any floating-point type; None where the model has none.

        Raises:
            InputError: shapes that are not the model's, images or a context of another type, or weights of half
                precision (autocast leaves them in float32).
        """
        require_digits(self, "this density")
        contexts = self.contexts(images, context)
        require_image_type(images)
        x = 2 * to_own(self, images, "images") - 1
        x = torch.cat([x, torch.ones_like(x[:, :1])], 1)
        down = down_shift(self.start_down(x))
        right = down_shift(self.start_above(x)) + right_shift(self.start_left(x))
        kept: list[list[tuple[Tensor, Tensor]]] = []
        active_down = active_right = None
        for level in range(LEVELS):
            if level:
                down, right = self.shrink_down[level - 1](down), self.shrink_right[level - 1](right)
            active_down, active_right = concat_elu(down), concat_elu(right)
            kept.append([(active_down, active_right)])
            for first, second in zip(self.up_down[level], self.up_right[level], strict=True):
                down = first(down, active_down, (), contexts[level])
                active_down = concat_elu(down)
                right = second(right, active_right, (active_down,), contexts[level])
                active_right = concat_elu(right)
                kept[-1].append((active_down, active_right))
        kept[-1].pop()  # where the way back begins
        for level in reversed(range(LEVELS)):
            for first, second in zip(self.back_down[level], self.back_right[level], strict=True):
                skip_down, skip_right = kept[level].pop()
                down = first(down, active_down, (skip_down,), contexts[level])
                active_down = concat_elu(down)
                right = second(right, active_right, (active_down, skip_right), contexts[level])
                active_right = concat_elu(right)
            if level:
                down, right = self.grow_down[level - 1](down), self.grow_right[level - 1](right)
                active_down, active_right = concat_elu(down), concat_elu(right)
        return self.final(F.elu(right))

    def log_prob(
        self, images: Float[Tensor, "batch channels height width"], context: Tensor | None = None, *, check: bool = True
    ) -> Float[Tensor, " batch"]:
        """log p(x | h) in nats, of images whose values are k / 255 (equation 4 of Nash et al.).

        Args:
            images: in [0, 1].
            context: (batch, K) or (batch, K, h, w); None where the model has none.
            check: that the images are of such values, which waits for the device; False where they were checked before.

        Raises:
            InputError: shapes that are not the model's; images that are not on the grid k / 255.
        """
        return self.distribution.log_prob(self(images, context), images, check=check).flatten(1).sum(1)

    def sample(
        self, context: Tensor | int | None = None, generator: torch.Generator | None = None, *, n: int | None = None
    ) -> Float[Tensor, "batch channels height width"]:
        """Images by `analysis.densities.sampling.sample`."""
        return sample(self, context, generator, n=n)

    def contexts(self, images: Tensor, context: Tensor | None) -> list[Tensor | None]:
        """The context at each resolution; a vector is 1 x 1 at all of them.

        Raises:
            InputError: shapes that are not the model's.
        """
        if images.shape[1:] != self.image_shape:
            raise InputError(f"images of shape {tuple(images.shape[1:])}: {self.image_shape} was expected")
        return self.contexts_of(context, len(images))

    def contexts_of(self, context: Tensor | None, batch: int) -> list[Tensor | None]:
        """The same for a batch whose images are not there yet."""
        given = () if context is None else tuple(context.shape)
        expected = (batch, *self.context_shape) if self.context_shape else ()
        if given != expected:
            raise InputError(
                f"a context of shape {given or None}: {expected or None} was expected, from the network and the layer "
                "that this model was trained on"
            )
        context = None if context is None else to_own(self, context, "a context's values")
        if len(given) < 4:
            return [None if context is None else context[:, :, None, None]] * LEVELS
        sizes = [[side >> level for side in self.image_shape[1:]] for level in range(LEVELS)]
        return [F.interpolate(context, size, mode="bilinear", align_corners=False) for size in sizes]

    @torch.no_grad()
    def initialise(self, images: Float[Tensor, "batch channels height width"], context: Tensor | None = None) -> None:
        """Set lengths and biases of all convolutions so that a batch comes out of each with mean 0 and its deviation.

        Data-dependent initialisation (Salimans and Kingma 2016), layer after layer, with dropout.
        """
        with _initialising(self):
            self(images, context)


@contextmanager
def _initialising(model: PixelCNN):
    layers = [module for module in model.modules() if isinstance(module, WeightNormConv)]
    training = model.training
    model.train()
    try:
        for layer in layers:
            layer.initialising = True
        yield
    finally:
        for layer in layers:
            layer.initialising = False
        model.train(training)
