"""The residual SNGAN: a generator with conditional batch norm and a spectrally normalised projection discriminator.

Miyato et al. 2018 (arXiv 1802.05957), Miyato and Koyama 2018 (arXiv 1802.05637). What three public settings do
differently is in `PRESETS`; the paper's section 4.3 follows the first.
"""

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from apps.generators import latents
from apps.generators.drawing_input import labels_to_draw
from apps.generators.latents import Latent
from apps.generators.residual import ConditionalBatchNorm, DownBlock, PlainBatchNorm, UpBlock
from apps.generators.spectral_norms import at_once, by_shape, spectral_norm
from apps.models.generator import Generator
from apps.runs.format import FORMAT
from priors.errors import InputError, unknown
from priors.files.typed import check_types


@dataclass(frozen=True)
class Preset:
    """What the public settings of the same network differ in."""

    #                       width at the generator's bottom, in widths of its blocks at 32 x 32
    bottom: int
    upsample: str  #        "nearest" or "bilinear"
    last_norm: str  #       before the generator's last convolution: "conditional" or "plain" batch norm
    head_bias: bool  #      of the discriminator's linear layer; beyond 48 pixels it always has one
    overwrite: bool  #      whether the discriminator's first ReLUs act on the shortcut as well
    residual_gain: float  # of the Xavier initialisation of the discriminator's 3 x 3 convolutions
    labels: str  #          of the fakes: "real", the real batch's, or "uniform"
    fakes: int  #           in the generator's turn, in batches
    dequantise: bool  #     whether noise of one grey level is added to the real images
    norm_eps: float  #      added to variances in batch norm
    gain_spread: float  #   standard deviation about 1 of the conditional batch norms' gains at the start
    biases: str  #          of all other layers at the start: "zero", or "uniform" within 1 / sqrt(fan-in), as torch's
    steps: int  #           updates of the generator


PRESETS: dict[str, Preset] = {
    # "How good is my GAN?" (Shmelkov et al. 2018), which section 4.3 follows; the networks' authors; Mimicry.
    "gan-evaluation": Preset(
        bottom=4, upsample="nearest", last_norm="conditional", head_bias=True, overwrite=False, residual_gain=1.0,
        labels="real", fakes=1, dequantise=True, norm_eps=1e-5, gain_spread=0.0, biases="zero", steps=100_000,
    ),
    "sngan-projection": Preset(
        bottom=1, upsample="nearest", last_norm="plain", head_bias=False, overwrite=False, residual_gain=2**0.5,
        labels="uniform", fakes=2, dequantise=True, norm_eps=2e-5, gain_spread=0.0, biases="zero", steps=50_000,
    ),
    "mimicry": Preset(
        bottom=1, upsample="bilinear", last_norm="plain", head_bias=True, overwrite=True, residual_gain=2**0.5,
        labels="uniform", fakes=1, dequantise=False, norm_eps=1e-5, gain_spread=0.02, biases="uniform", steps=100_000,
    ),
}  # fmt: skip


def preset(name: str, format: int = FORMAT) -> Preset:
    """The public settings of a preset, as runs of a format have them (see `apps.runs.format`).

    Raises:
        InputError: no such preset (the nearest is offered).

    Example:
        >>> preset("sngan-projection").norm_eps, preset("sngan-projection", format=1).norm_eps
        (2e-05, 1e-05)
    """
    if name not in PRESETS:
        raise unknown("preset", name, PRESETS)
    found = PRESETS[name]
    return found if format >= 2 else replace(found, norm_eps=1e-5, gain_spread=0.0, biases="zero")


@dataclass(frozen=True)
class Architecture:
    """Sizes of both networks."""

    image_shape: tuple[int, int, int]
    """(channels, height, width)."""
    bottom: int
    """Height and width that the generator starts from."""
    first: int
    """Channels that it starts with."""
    up: tuple[int, ...]
    """Channels after each of its blocks; each doubles the resolution."""
    down: tuple[int, ...]
    """Channels after each block of the discriminator."""
    halvings: int
    """How many of those halve the resolution, the first ones."""
    upsample: Literal["nearest", "bilinear"] = "nearest"
    """How the generator doubles the resolution."""
    last_norm: Literal["conditional", "plain"] = "conditional"
    """Batch norm before its last convolution."""
    head_bias: bool = True
    """Whether the discriminator's linear layer has a bias."""
    overwrite: bool = False
    """Whether the discriminator's first ReLUs act on the shortcut as well."""
    norm_eps: float = 1e-5
    """Added to variances in batch norm; models without this have torch's own."""


def architecture(
    name: str,
    image_shape: Sequence[int],
    generator_width: int = 256,
    discriminator_width: int = 128,
    format: int = FORMAT,
) -> Architecture:
    """The networks of a preset for images of a size: the public ones at 32 x 32 and, from 64 x 64 on, at 64 and 128.

    Up to 48 pixels the generator doubles a square of 4 to 7 pixels at a constant width, and the discriminator has four
    blocks, of which two halve. Larger images have a block for each doubling, of widths that fall to a quarter of the
    generator's width and rise from half of the discriminator's (Miyato and Koyama 2018, ImageNet).

    Args:
        name: of a `preset`.
        image_shape: (channels, height, width).
        generator_width: channels of the generator's blocks.
        discriminator_width: channels of the discriminator's blocks.
        format: of the run that it is for.

    Raises:
        InputError: an unknown preset, images that are not square, too small or no multiple of what is doubled, or
            widths that leave no channels.

    Example:
        >>> architecture("mimicry", (3, 32, 32)).up
        (256, 256, 256)
        >>> architecture("mimicry", (1, 28, 28)).bottom
        7
    """
    settings = preset(name, format)
    channels, height, width = image_shape
    doublings, bottom = 0, height
    while bottom >= 8 and bottom % 2 == 0:
        doublings, bottom = doublings + 1, bottom // 2
    if height != width or not 4 <= bottom < 8 or not doublings:
        raise InputError(
            f"images of {height} x {width} pixels: an SNGAN draws squares of 4 to 7 pixels doubled once or more, such "
            "as 28, 32, 48 or 64; give --image-size for an image folder"
        )
    if generator_width < 4 or discriminator_width < 2:
        raise InputError(
            f"widths of {generator_width} and {discriminator_width} channels: expected 4 or more in the generator and "
            "2 or more in the discriminator"
        )
    if doublings <= 3:
        first, up = settings.bottom * generator_width, (generator_width,) * doublings
        down, halvings = (discriminator_width,) * 4, 2
    else:
        up = tuple(int(min(4.0, 2.0 ** (doublings - 3 - i)) * generator_width) for i in range(doublings))
        first = 4 * generator_width
        down = tuple(int(min(8.0, 2.0 ** (i - 1)) * discriminator_width) for i in range(doublings + 1))
        halvings = 5
    return Architecture(
        (channels, height, width),
        bottom,
        first,
        up,
        down,
        halvings,
        settings.upsample,
        settings.last_norm,
        settings.head_bias or doublings > 3,
        settings.overwrite,
        settings.norm_eps,
    )


class SNGAN(Generator):
    """The generator: latent and label to an image.

    Args:
        architecture: its sizes.
        class_names: of the labels, in order.
        latent: where z comes from; kept inside, so that sampling needs nothing else.
        initialisation: "xavier" or "orthogonal".
        gain_spread: standard deviation about 1 of the conditional norms' gains at the start.
        biases: how biases start, "zero" or "uniform" (see `initialise`).
    """

    variant = "sngan"
    title = "SNGAN"

    def __init__(
        self,
        architecture: Architecture,
        class_names: Sequence[str],
        latent: Latent,
        initialisation: str = "xavier",
        gain_spread: float = 0.0,
        biases: str = "zero",
    ):
        super().__init__()
        if not class_names:
            raise InputError("a conditional generator of no classes: expected at least one")
        self.architecture = architecture
        self.image_shape = tuple(architecture.image_shape)
        self.class_names = tuple(class_names)
        self.latent = latent
        classes, widths, eps = len(self.class_names), (architecture.first, *architecture.up), architecture.norm_eps
        self.linear = nn.Linear(latent.dim, architecture.first * architecture.bottom**2)
        self.blocks = nn.ModuleList(
            UpBlock(before, after, classes, architecture.upsample, eps)
            for before, after in zip(widths, widths[1:], strict=False)
        )
        conditional = architecture.last_norm == "conditional"
        self.norm = ConditionalBatchNorm(widths[-1], classes, eps) if conditional else PlainBatchNorm(widths[-1], eps)
        self.to_pixels = nn.Conv2d(widths[-1], self.image_shape[0], 3, padding=1)
        initialise(self, initialisation, 2**0.5, biases)
        if gain_spread:
            for norm in (module for module in self.modules() if isinstance(module, ConditionalBatchNorm)):
                nn.init.normal_(norm.gain.weight, 1.0, gain_spread)

    def description(self) -> dict:
        """How to build this model again, JSON-able; the weights, and the prior's tensors among them, are apart."""
        return {
            "model": "sngan",
            "architecture": asdict(self.architecture),
            "class_names": list(self.class_names),
            **self.latent.description(),
        }

    def forward(
        self, z: Float[Tensor, "batch dim"], labels: Int[Tensor, " batch"]
    ) -> Float[Tensor, "batch channels height width"]:
        """Images in [-1, 1] from latents and labels."""
        bottom = self.architecture.bottom
        h = self.linear(z.to(self.linear.weight.dtype)).unflatten(1, (-1, bottom, bottom))
        if self.to_pixels.weight.is_contiguous(memory_format=torch.channels_last):
            h = h.contiguous(memory_format=torch.channels_last)
        for block in self.blocks:
            h = block(h, labels)
        pixels = self.to_pixels(F.relu(self.norm(h, labels)))
        return torch.tanh(pixels.to(_at_least_single(pixels)))

    @torch.no_grad()
    def generate(self, labels, generator=None, concentration=None):
        """Images in [0, 1]; in evaluation mode each depends on its own latent and label alone."""
        labels = labels_to_draw(labels, self.class_names, self.linear.weight.device)
        return (self(self.latent.sample(labels, generator, concentration), labels) + 1) / 2


class Discriminator(nn.Module):
    """The projection discriminator, every weight of spectral norm 1: image and label to one number.

    Spectral norms come from one step of power iteration a training pass, as PyTorch's parametrisation does it. A GPU
    takes those of all layers at once; a CPU, which gains nothing by that, one by one.

    Args:
        architecture: its sizes.
        classes: labels are below it.
        residual_gain: of the initialisation of the 3 x 3 convolutions.
        initialisation: "xavier" or "orthogonal".
        biases: how biases start, "zero" or "uniform" (see `initialise`).
        format: of the run that it is for: those before format 2 have the power iterations one by one.
    """

    def __init__(
        self,
        architecture: Architecture,
        classes: int,
        residual_gain: float = 1.0,
        initialisation: str = "xavier",
        biases: str = "zero",
        format: int = FORMAT,
    ):
        super().__init__()
        widths = (architecture.image_shape[0], *architecture.down)
        self.blocks = nn.Sequential(
            *(
                DownBlock(before, after, i < architecture.halvings, i == 0, architecture.overwrite and i > 0)
                for i, (before, after) in enumerate(zip(widths, widths[1:], strict=False))
            )
        )
        self.linear = nn.Linear(widths[-1], 1, bias=architecture.head_bias)
        self.embedding = nn.Embedding(classes, widths[-1])
        initialise(self, initialisation, residual_gain, biases)
        for module in list(self.modules()):
            if isinstance(module, nn.Conv2d | nn.Linear | nn.Embedding):
                spectral_norm(module)
        self._normalised = by_shape(self) if format >= 2 else []

    def forward(
        self, images: Float[Tensor, "batch channels height width"], labels: Int[Tensor, " batch"]
    ) -> Float[Tensor, " batch"]:
        """How real each image in [-1, 1] looks as one of its label's class."""
        together = self.training and self._normalised and images.device.type != "cpu"
        with at_once(self._normalised) if together else nullcontext():
            return self._score(images, labels)

    def _score(self, images: Tensor, labels: Tensor) -> Tensor:
        h = F.relu(self.blocks(images))
        h = h.sum((2, 3), dtype=_at_least_single(h))
        with torch.autocast(h.device.type, enabled=False):
            weight, bias = self.linear.weight, self.linear.bias
            score = F.linear(h, weight.to(h.dtype), None if bias is None else bias.to(h.dtype)).squeeze(1)
            return score + (self.embedding(labels) * h).sum(1)


def _at_least_single(x: Tensor) -> torch.dtype:
    """What is summed and drawn in: float32, or float64 of a network in double precision."""
    return torch.promote_types(x.dtype, torch.float32)


def initialise(network: nn.Module, kind: str, residual_gain: float, biases: str = "zero") -> None:
    """Set weights and biases, before anything is normalised.

    Args:
        network: changed in place; its norms and their embeddings stay as they are.
        kind: "xavier" (uniform; Glorot and Bengio 2010) or "orthogonal" (as in BigGAN, Brock et al. 2019).
        residual_gain: of the 3 x 3 convolutions in residual blocks for "xavier"; everything else has gain 1.
        biases: "zero", or "uniform" within 1 / sqrt(fan-in), which is how torch's layers are made.
    """
    if kind not in ("xavier", "orthogonal"):
        raise unknown("initialisation", kind, ("xavier", "orthogonal"))
    blocks = {part for block in network.modules() if isinstance(block, UpBlock | DownBlock) for part in block.modules()}
    gains = {part for norm in network.modules() if isinstance(norm, ConditionalBatchNorm) for part in norm.modules()}
    for module in network.modules():
        if not isinstance(module, nn.Conv2d | nn.Linear | nn.Embedding) or module in gains:
            continue
        if kind == "orthogonal":
            nn.init.orthogonal_(module.weight)
        else:
            residual = isinstance(module, nn.Conv2d) and module in blocks and module.kernel_size == (3, 3)
            nn.init.xavier_uniform_(module.weight, residual_gain if residual else 1.0)
        if biases == "zero" and getattr(module, "bias", None) is not None:
            nn.init.zeros_(module.bias)


def rebuild(description: dict, weights: dict[str, Tensor]) -> SNGAN:
    """The generator that `description()` and a state dict hold.

    Raises:
        InputError: an unknown latent, or a description with parts missing.
    """
    try:
        sizes = {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in description["architecture"].items()
        }
        check_types(Architecture, sizes)
        if sizes.get("norm_eps", 1.0) <= 0:
            raise TypeError(f"'norm_eps' is {sizes['norm_eps']}, a number above 0 was expected")
        latent = latents.rebuild(description, weights, description["class_names"])
        return SNGAN(Architecture(**sizes), description["class_names"], latent)
    except (KeyError, TypeError) as error:
        raise InputError(
            f"the model's description and weights do not fit together ({error}): damaged, or not of this program"
        ) from None
