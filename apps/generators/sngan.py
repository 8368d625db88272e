"""The residual SNGAN: a generator with conditional batch norm and a spectrally normalised projection discriminator.

Miyato et al. 2018 (arXiv 1802.05957), Miyato and Koyama 2018 (arXiv 1802.05637). With self-attention, one embedding of
classes, latents that each block gets a part of and spectral norms in the generator as well, it is BigGAN's (Brock et
al. 2019, arXiv 1809.11096). What public settings do differently is in `sngan_presets`.
"""

from collections.abc import Sequence
from dataclasses import asdict

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from apps.generators import latents
from apps.generators.attention import SelfAttention
from apps.generators.drawing_input import labels_to_draw
from apps.generators.latents import Latent
from apps.generators.residual import ConditionalBatchNorm, DownBlock, PlainBatchNorm, UpBlock, conditional_norm
from apps.generators.sngan_presets import Architecture
from apps.generators.spectral_norms import by_shape, spectral_norm, stored, while_used
from apps.models.generator import Generator
from apps.runs.format import FORMAT
from priors import ClassifierPrior
from priors.errors import InputError, unknown
from priors.files.typed import check_types


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
        part = _part(latent.dim, architecture.parts)
        self.linear = nn.Linear(part, architecture.first * architecture.bottom**2)
        self.shared = nn.Embedding(classes, architecture.shared) if architecture.shared else None
        given = architecture.shared + part * architecture.hierarchical
        self.blocks = nn.ModuleList(
            UpBlock(before, after, classes, architecture.upsample, eps, given)
            for before, after in zip(widths, widths[1:], strict=False)
        )
        sides = [architecture.bottom << i for i in range(len(widths))]
        self._attending = sides.index(architecture.attention) if architecture.attention else None
        self.attention = None if self._attending is None else SelfAttention(widths[self._attending])
        conditional = architecture.last_norm == "conditional"
        self.norm = (
            conditional_norm(widths[-1], classes, eps, architecture.shared)
            if conditional
            else PlainBatchNorm(widths[-1], eps)
        )
        self.to_pixels = nn.Conv2d(widths[-1], self.image_shape[0], 3, padding=1)
        initialise(self, initialisation, 2**0.5, biases)
        if gain_spread:
            for norm in (module for module in self.modules() if isinstance(module, ConditionalBatchNorm)):
                nn.init.normal_(norm.gain.weight, 1.0, gain_spread)
        self._normalised = []
        if architecture.normalised:
            for module in [module for module in self.modules() if isinstance(module, nn.Conv2d | nn.Linear)]:
                spectral_norm(module)
            self._normalised = by_shape(self)

    def description(self) -> dict:
        """How to build this model again, JSON-able; the weights, and the prior's tensors among them, are apart."""
        return {
            "model": "sngan",
            "architecture": asdict(self.architecture),
            "class_names": list(self.class_names),
            **self.latent.description(),
        }

    def class_prior(self) -> ClassifierPrior | None:
        """That of its latents, before they are brought to their length."""
        return getattr(self.latent, "prior", None)

    def forward(
        self, z: Float[Tensor, "batch dim"], labels: Int[Tensor, " batch"]
    ) -> Float[Tensor, "batch channels height width"]:
        """Images in [-1, 1] from latents and labels."""
        with while_used(self, self._normalised, z.device):
            return self._draw(z.to(stored(self.linear).dtype), labels)

    def _draw(self, z: Tensor, labels: Tensor) -> Tensor:
        first, *parts = z.chunk(self.architecture.parts, 1)
        shared = labels if self.shared is None else self.shared(labels)
        given = [torch.cat([shared, part], 1) for part in parts] or [shared] * len(self.blocks)
        h = self.linear(first).unflatten(1, (-1, self.architecture.bottom, self.architecture.bottom))
        if stored(self.to_pixels).is_contiguous(memory_format=torch.channels_last):
            h = h.contiguous(memory_format=torch.channels_last)
        for i, block in enumerate(self.blocks):
            h = block(self.attention(h) if i == self._attending else h, given[i])
        h = self.attention(h) if self._attending == len(self.blocks) else h
        pixels = self.to_pixels(F.relu(self.norm(h, shared)))
        return torch.tanh(pixels.to(_at_least_single(pixels)))

    @torch.no_grad()
    def generate(self, labels, generator=None, concentration=None):
        """Images in [0, 1]; in evaluation mode each depends on its own latent and label alone."""
        labels = labels_to_draw(labels, self.class_names, stored(self.linear).device)
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
        blocks = [
            DownBlock(before, after, i < architecture.halvings, i == 0, architecture.overwrite and i > 0)
            for i, (before, after) in enumerate(zip(widths, widths[1:], strict=False))
        ]
        sides = [architecture.image_shape[1] >> i for i in range(1, architecture.halvings + 1)]
        if architecture.attention:
            after = sides.index(architecture.attention) + 1
            blocks.insert(after, SelfAttention(widths[after]))
        self.blocks = nn.Sequential(*blocks)
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
        with while_used(self, self._normalised, images.device):
            return self._score(images, labels)

    def _score(self, images: Tensor, labels: Tensor) -> Tensor:
        h = F.relu(self.blocks(images))
        h = h.sum((2, 3), dtype=_at_least_single(h))
        with torch.autocast(h.device.type, enabled=False):
            weight, bias = self.linear.weight, self.linear.bias
            score = F.linear(h, weight.to(h.dtype), None if bias is None else bias.to(h.dtype)).squeeze(1)
            return score + (self.embedding(labels) * h).sum(1)


def _part(dim: int, parts: int) -> int:
    """Dimensions of each part of a latent."""
    if dim % parts:
        below, above = dim // parts * parts, (dim // parts + 1) * parts
        fitting = f"{below} or {above}" if below else str(above)
        raise InputError(
            f"latents of {dim} dimensions in {parts} equal parts, one for the bottom and one for each block: give "
            f"--latent-dim {fitting}, for vmf a classifier with --penultimate {fitting}, or --hierarchical no"
        )
    return dim // parts


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
