"""Public settings of SNGANs, and the sizes and parts of networks that follow from them.

Miyato et al. 2018 (arXiv 1802.05957), Miyato and Koyama 2018 (arXiv 1802.05637), and Brock, Donahue and Simonyan 2019
(BigGAN, arXiv 1809.11096). Section 4.3 of "On The Distribution of Penultimate Activations of Classification Networks"
follows the first preset.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from apps.runs.format import FORMAT
from priors.errors import InputError, unknown


@dataclass(frozen=True)
class Preset:
    """What the public settings of the same network differ in; those of BigGAN have more parts."""

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
    widths: tuple[int, int] = (256, 128)  # channels of the generator's blocks, and of the discriminator's
    latent_dim: int = 128  # of latents that come from no classifier
    betas: tuple[float, float] = (0.0, 0.9)  # of Adam
    init: str = "xavier"  # weights at the start, or "orthogonal"
    attends: bool = False  # self-attention at half the images' side
    shared: int = 0  #      width of the one embedding of classes; 0: each conditional norm has tables of its own
    hierarchical: bool = False  # whether each block gets a part of the latent
    normalised: bool = False  #   whether the generator's weights have spectral norm 1, as the discriminator's do
    orthogonal: float = 0.0  #    weight of the orthogonal regularisation of the generator


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
    # BigGAN as StudioGAN has it for CIFAR-10, with the paper's eps and orthogonal regularisation (section 3.1, C).
    "biggan": Preset(
        bottom=1, upsample="nearest", last_norm="plain", head_bias=True, overwrite=False, residual_gain=1.0,
        labels="uniform", fakes=1, dequantise=False, norm_eps=1e-4, gain_spread=0.0, biases="zero", steps=100_000,
        widths=(384, 384), latent_dim=80, betas=(0.5, 0.999), init="orthogonal",
        attends=True, shared=128, hierarchical=True, normalised=True, orthogonal=1e-4,
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
    if format >= 2 or name == "biggan":  # no older run has that
        return found
    return replace(found, norm_eps=1e-5, gain_spread=0.0, biases="zero")


@dataclass(frozen=True)
class Architecture:
    """Sizes of both networks, and which parts of BigGAN they have.

    Raises:
        InputError: attention where not both networks have such features, a size below 0, or latents that are split
            where there is no embedding for their parts to stand beside.
    """

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
    attention: int = 0
    """Both networks attend to features of this height and width; 0: they do not."""
    shared: int = 0
    """Width of the generator's one embedding of classes, in which the gains and biases of its conditional norms are
    linear; 0: each norm has tables of its own."""
    hierarchical: bool = False
    """Whether the latent is split over the bottom and the blocks, whose gains and biases get their parts beside the
    embedding."""
    normalised: bool = False
    """Whether the generator's weights have spectral norm 1."""

    def __post_init__(self):
        """Refuse parts that cannot be."""
        fitting = self.attended
        if self.attention and self.attention not in fitting:
            sides = ", ".join(map(str, fitting))
            raise InputError(
                f"--attention {self.attention} at images of {self.image_shape[1]} pixels: both networks have features "
                f"of side {sides}; give " + ("that" if len(fitting) == 1 else "one of these") + ", or 0 for none"
            )
        if self.shared < 0:
            raise InputError(f"--shared-embedding {self.shared}: expected 0 or more")
        if self.hierarchical and not self.shared:
            raise InputError(
                "--hierarchical yes without an embedding: a part of the latent stands beside the class's embedding; "
                "give --shared-embedding 128, or --hierarchical no"
            )

    @property
    def attended(self) -> list[int]:
        """Sides of features that both networks have, and so can attend to.

        Example:
            >>> architecture("biggan", (3, 32, 32)).attended
            [8, 16]
        """
        drawn = {self.bottom << i for i in range(len(self.up) + 1)}
        return sorted(drawn & {self.image_shape[1] >> i for i in range(1, self.halvings + 1)})

    @property
    def parts(self) -> int:
        """That latents are split into."""
        return len(self.up) + 1 if self.hierarchical else 1


def architecture(
    name: str,
    image_shape: Sequence[int],
    generator_width: int | None = None,
    discriminator_width: int | None = None,
    format: int = FORMAT,
) -> Architecture:
    """The networks of a preset for images of a size: the public ones at 32 x 32 and, from 64 x 64 on, at 64 and 128.

    Up to 48 pixels the generator doubles a square of 4 to 7 pixels at a constant width, and the discriminator has four
    blocks, of which two halve. Larger images have a block for each doubling, of widths that fall to a quarter of the
    generator's width and rise from half of the discriminator's (Miyato and Koyama 2018, ImageNet). So `biggan` of
    widths 384 and 192 is the paper's at 128 x 128.

    Args:
        name: of a `preset`.
        image_shape: (channels, height, width).
        generator_width: channels of the generator's blocks; None: the preset's.
        discriminator_width: channels of the discriminator's blocks; None: the preset's.
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
    generator_width = settings.widths[0] if generator_width is None else generator_width
    discriminator_width = settings.widths[1] if discriminator_width is None else discriminator_width
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
        height // 2 if settings.attends else 0,
        settings.shared,
        settings.hierarchical,
        settings.normalised,
    )
