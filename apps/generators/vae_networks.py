"""The encoders and decoders that hyperspherical variational autoencoders can have.

An encoder takes an image and gives features, of which a linear layer makes the posterior's parameters. A decoder takes
z, with the label's code where there is one, and gives what the last layer makes the pixels' Bernoulli logits of.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from apps.command.config import plain
from apps.generators import bernoulli
from apps.generators.vae_convolutions import ConvolutionalDecoder, ConvolutionalEncoder, ToPixels
from priors.errors import InputError, unknown


@dataclass(frozen=True)
class Networks(ABC):
    """How encoder and decoder are built; what a field holds is a part of the model's description."""

    name: ClassVar[str]
    """What `--networks` calls them."""
    title: ClassVar[str]
    """What sentences call them."""

    @property
    @abstractmethod
    def features(self) -> int:
        """Width of what the encoder gives."""

    @abstractmethod
    def encoder(self, image_shape: Sequence[int], labels: int) -> nn.Module:
        """From images as vectors, (batch, pixels + labels) with the label's code at the end, to (batch, features)."""

    @abstractmethod
    def decoder(self, image_shape: Sequence[int], code: int) -> nn.Module:
        """From z and the label's code, (*batch, code), to what `to_logits` takes."""

    @abstractmethod
    def to_logits(self, image_shape: Sequence[int]) -> nn.Module:
        """The last layer, to (*batch, pixels)."""

    @abstractmethod
    def log_bernoulli(
        self,
        decoder: nn.Module,
        to_logits: nn.Module,
        x: Tensor,
        z: Tensor,
        labels: Tensor,
        code: Callable[[Tensor, Tensor], Tensor],
    ) -> Tensor:
        """log p(x|z, i), (N, K), on a CPU, without gradients and in bounded memory; not finite where it is too small.

        Args:
            decoder: built by these.
            to_logits: likewise.
            x: binary, (N, pixels).
            z: (N, K, m).
            labels: (N, K).
            code: gives what the decoder takes of some z and their labels.
        """

    def description(self) -> dict[str, Any]:
        """How to build these again, JSON-able."""
        sizes = {part.name: plain(getattr(self, part.name)) for part in fields(self)}
        return {"networks": self.name} | sizes


@dataclass(frozen=True)
class Perceptron(Networks):
    """Fully connected, input - 256 - 128 - latent - 128 - 256 - input, as the S-VAE's (arXiv 1804.00891) are.

    Attributes:
        hidden: widths of the encoder's layers; the decoder has them in reverse.
    """

    name = "mlp"
    title = "fully connected"
    hidden: tuple[int, ...] = (256, 128)

    def __post_init__(self):
        """Refuse no layers."""
        if not self.hidden:
            raise InputError("0 hidden layers: expected at least one")

    @property
    def features(self) -> int:
        """Width of the encoder's last layer."""
        return self.hidden[-1]

    def encoder(self, image_shape, labels):
        """Linear layers, each followed by a ReLU."""
        return _perceptron((math.prod(image_shape) + labels, *self.hidden))

    def decoder(self, image_shape, code):
        """The same, of the widths in reverse."""
        return _perceptron((code, *reversed(self.hidden)))

    def to_logits(self, image_shape):
        """One more."""
        return nn.Linear(self.hidden[0], math.prod(image_shape))

    def log_bernoulli(self, decoder, to_logits, x, z, labels, code):
        """By products of matrices alone, and one logarithm of many pixels' odds."""
        # Biases go into the products, where each layer hands a one on to the next. Memory is taken once, since the
        # system hands out large pieces slowly, and images share it, since every operation takes its time to start.
        layers = [layer for layer in (*decoder, to_logits) if isinstance(layer, nn.Linear)]
        *weights, last = (torch.cat([layer.weight, layer.bias[:, None]], 1) for layer in layers)
        weights = [torch.cat([weight, _last_unit(weight)]) for weight in weights]
        draws, pixels = z.shape[1], len(last)
        few = bernoulli.draws_at_once(pixels)
        # Hidden layers are taken of several images where draws are few, of a part of an image's where they are many.
        some, many = max(1, 2 * few // draws), min(draws, 2 * few)
        codes = z.new_ones(some * many, weights[0].shape[1])
        spaces = [z.new_empty(some * many, len(weight)) for weight in weights]
        logits, factors = z.new_empty(few, pixels), z.new_empty(few, min(bernoulli.FACTORS, pixels))
        likelihoods, on = z.new_empty(len(z), draws), x @ last
        last = last * bernoulli.LOG2_E
        for image in range(0, len(z), some):
            for draw in range(0, draws, many):
                part = (slice(image, image + some), slice(draw, draw + many))
                found = likelihoods[part]
                count = found.numel()
                codes[:count, :-1] = code(z[part], labels[part]).flatten(0, 1)
                hidden = codes[:count]
                for weight, out in zip(weights, spaces, strict=True):
                    hidden = torch.mm(hidden, weight.T, out=out[:count]).clamp_min_(0)
                torch.bmm(hidden.unflatten(0, found.shape), on[part[0], :, None], out=found[..., None])
                for rows, own in zip(hidden.split(few), found.view(-1).split(few), strict=True):
                    own -= bernoulli.log_normalisers(rows, last, logits[: len(rows)], factors[: len(rows)])
        return likelihoods


@dataclass(frozen=True)
class Convolutions(Networks):
    """Convolutional, on maps a quarter as high and wide as the image, which is where most is had for the time.

    The encoder has a convolution of 7 x 7 pixels with a stride of 4, residual ones of 3 x 3, and a linear layer. The
    decoder has two linear layers, residual convolutions of 3 x 3, and one that gives the 4 x 4 pixels at each point of
    the map. There is no batch norm, since the bound of an image must not hang on others. Images of any size will do:
    what a map reaches beyond one is cut off.

    Attributes:
        channels: of the maps.
        blocks: residual convolutions of the encoder, and of the decoder.
    """

    name = "conv"
    title = "convolutional"
    channels: int = 32
    blocks: int = 1

    def __post_init__(self):
        """Refuse maps of nothing."""
        if self.channels < 1 or self.blocks < 0:
            raise InputError(
                f"{self.channels} channels and {self.blocks} blocks: expected 1 channel or more, and 0 blocks or more"
            )

    @property
    def features(self) -> int:
        """Width of the linear layers."""
        return 128

    def encoder(self, image_shape, labels):
        """From pixels, with the label's code beside the last map."""
        return ConvolutionalEncoder(image_shape, labels, self.channels, self.blocks, self.features)

    def decoder(self, image_shape, code):
        """To a map, (*batch, channels, height / 4, width / 4)."""
        return ConvolutionalDecoder(image_shape, code, self.channels, self.blocks, self.features)

    def to_logits(self, image_shape):
        """From a map."""
        return ToPixels(image_shape, self.channels)

    def log_bernoulli(self, decoder, to_logits, x, z, labels, code):
        """In pieces that the cache holds, with one logarithm of many pixels' odds.

        Sums over pixels do not ask for their order, so that logits stay as the last convolution gives them.
        """
        weight, bias = (part * bernoulli.LOG2_E for part in (to_logits.last.weight, to_logits.last.bias))
        weight = weight.to(memory_format=torch.channels_last)
        order, size = to_logits.order(), bias.numel() * math.prod(decoder.grid)
        laid = x.new_zeros(len(x), size)
        laid[:, order] = x / bernoulli.LOG2_E
        outside = torch.ones(size, dtype=torch.bool).index_fill(0, order, False).nonzero().squeeze(-1)
        draws = z.shape[1]
        few = max(1, bernoulli.draws_at_once(size) // 2)  # a decoder's maps are there beside the logits
        some = max(1, few // draws)  # images that are taken together
        factors, found = z.new_empty(few, min(bernoulli.FACTORS, size)), z.new_empty(len(z), draws)
        for rows in torch.arange(len(z)).split(some):
            images = slice(int(rows[0]), int(rows[-1]) + 1)
            for columns in torch.arange(draws).split(few):
                part = (images, slice(int(columns[0]), int(columns[-1]) + 1))
                maps = decoder(code(z[part], labels[part])).flatten(0, 1)
                logits = F.conv2d(maps.relu_(), weight, bias, padding=1).permute(0, 2, 3, 1).flatten(1)
                on = torch.bmm(logits.unflatten(0, found[part].shape), laid[images, :, None]).squeeze(-1)
                odds = logits.exp2_()
                if len(outside):
                    odds.index_fill_(1, outside, 0)
                found[part] = on - bernoulli.log_products(odds, factors[: len(odds)]).view_as(on)
        return found


NETWORKS: dict[str, type[Networks]] = {kind.name: kind for kind in (Perceptron, Convolutions)}


def networks_of(name: str, sizes: Mapping[str, Any]) -> Networks:
    """Those of a name.

    Args:
        name: one of `NETWORKS`.
        sizes: by what a kind calls them; those of other kinds, and None for a default, are left out.

    Raises:
        InputError: an unknown name, or sizes that none can be built with.
    """
    kind = _kind(name)
    own = {part.name: sizes.get(part.name) for part in fields(kind)}
    return kind(**{part: size for part, size in own.items() if size is not None})


def described(description: Mapping[str, Any]) -> dict[str, Any]:
    """The networks' part of a model's description; that of models before there were several kinds has no name.

    Raises:
        InputError: an unknown name.
        KeyError: no sizes.
    """
    name = description.get("networks", Perceptron.name)
    return {"networks": name} | {part.name: description[part.name] for part in fields(_kind(name))}


def _kind(name: str) -> type[Networks]:
    if name not in NETWORKS:
        raise unknown("networks", name, NETWORKS)
    return NETWORKS[name]


def _perceptron(widths: Sequence[int]) -> nn.Sequential:
    """Linear layers, each followed by a ReLU."""
    layers: list[nn.Module] = []
    for before, after in zip(widths, widths[1:], strict=False):
        layers += [nn.Linear(before, after), nn.ReLU()]
    return nn.Sequential(*layers)


def _last_unit(weight: Tensor) -> Tensor:
    """The row (1, inputs) that hands the last input on."""
    row = torch.zeros_like(weight[:1])
    row[0, -1] = 1
    return row
