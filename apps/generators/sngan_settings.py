"""What the training of an SNGAN can be told. Nothing here imports torch, so that help is instant."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import tyro

from apps.command.config import Data, Foreign, Gauge, Optimisation, Where, added
from apps.command.ranges import Count, Few, FromZero, Range, Rate, Width


@dataclass(frozen=True)
class Optimising(Optimisation):
    """How the weights are found; in updates of the generator instead of passes over the images."""

    epochs: tyro.conf.Fixed[tyro.conf.Suppress[float]] = 1.0
    """Set from the steps."""
    validate_every: tyro.conf.Fixed[tyro.conf.Suppress[float]] = 1.0
    """Set from the steps between scores."""
    lr: float = 2e-4
    """Peak learning rate, of both networks."""
    schedule: Literal["constant", "cosine", "linear", "step", "exponential"] = "linear"
    """Learning rate after its warm-up; step multiplies it by --decay at each of the --milestones, exponential after
    each update."""
    ema: float | None = 0.999
    """Keep a moving average of the generator, with this decay an update (less at first), and score and store it; none:
    none is kept."""


@dataclass(frozen=True)
class SNGANSettings:
    """Train a conditional generative adversarial network."""

    data: tyro.conf.OmitArgPrefixes[Data] = field(default_factory=Data)
    preset: Literal["gan-evaluation", "sngan-projection", "mimicry", "biggan"] = "gan-evaluation"
    """Whose networks and settings: Shmelkov et al. 2018, Miyato and Koyama 2018, Lee and Town 2020 (Mimicry), or Brock
    et al. 2019 at the size of CIFAR, as in StudioGAN."""
    generator_width: Width | None = None
    """Channels of the generator's blocks; unset: the preset's, 256 or 384."""
    discriminator_width: Width | None = None
    """Channels of the discriminator's blocks; unset: the preset's, 128 or 384."""
    attention: FromZero | None = added(None, before=0)
    """Height of the features that both networks attend to, such as 16 (Zhang et al. 2019); 0: none; unset: the
    preset's, for biggan half the images' height."""
    shared_embedding: FromZero | None = added(None, before=0)
    """Width of one embedding of the classes, in which gains and biases of the generator's norms are linear; 0: each
    norm has tables of its own; unset: the preset's, for biggan 128."""
    hierarchical: Literal["preset", "yes", "no"] = added("preset", before="no")
    """Whether latents are split over the generator's bottom and its blocks, whose norms get their parts beside the
    class's embedding (Brock et al. 2019)."""
    generator_norm: Literal["preset", "none", "spectral"] = added("preset", before="none")
    """Whether the generator's weights have spectral norm 1, as the discriminator's always do."""
    orthogonal: Annotated[float, Range(0, most=1e6)] | None = added(None, before=0.0)
    """Weight of the orthogonal regularisation of the generator's filters (Brock et al. 2019, equation 3); 0: none;
    unset: the preset's, for biggan 1e-4."""
    latent: Literal["gaussian", "uniform-sphere", "vmf"] = "gaussian"
    """gaussian: normal numbers; uniform-sphere: directions of one length, whatever the class; vmf: drawn from the
    prior of --classifier."""
    latent_dim: Width | None = None
    """Dimension of the latents; unset: the preset's, 128 or for biggan 80, or the prior's."""
    classifier: str | None = None
    """MODEL whose final layer is the prior of vmf, or a prior saved by penult prior."""
    concentration: tuple[str, ...] = ()
    """Concentration of the prior: a number, one for each class, or a strategy such as mle; unset: 5, or as saved."""
    radius: Annotated[float, Range(above=0, most=1e6)] = 10.0
    """Length of the latents on a sphere (section 4.3)."""
    steps: Count | None = None
    """Updates of the generator; unset: the preset's, 100,000 or 50,000."""
    discriminator_turns: Few = 5
    """Updates of the discriminator to one of the generator."""
    betas: tuple[Rate, Rate] | None = None
    """Both betas of Adam, StudioGAN's SNGAN has 0.5 0.999; unset: the preset's, 0.0 0.9 or for biggan 0.5 0.999."""
    labels: Literal["preset", "real", "uniform"] = "preset"
    """Labels of the fakes: those of the real images in the batch (real), or drawn evenly (uniform)."""
    fakes: Few | None = None
    """Batches of fakes that an update of the generator is made from; unset: the preset's."""
    dequantise: Literal["preset", "yes", "no"] = "preset"
    """Whether noise of one grey level is added to the real images."""
    flip: bool = False
    """Whether real images are flipped at random, as in StudioGAN."""
    augment: tuple[Literal["colour", "translation", "cutout"], ...] = ()
    """Differentiable augmentation of all that the discriminator sees (Zhao et al. 2020)."""
    r1: Annotated[float, Range(0, most=1e6)] = 0.0
    """Weight of the gradient penalty on real images (Mescheder et al. 2018); 0: none."""
    r1_every: Count = 16
    """Updates between gradient penalties, each counting as many times (Karras et al. 2020)."""
    init: Literal["preset", "xavier", "orthogonal"] = "preset"
    """Initial weights; orthogonal as in BigGAN (Brock et al. 2019), and xavier in the other presets."""
    first_relu: Literal["preset", "out-of-place", "in-place"] = "preset"
    """Whether the discriminator's first ReLUs act on the shortcut too; out-of-place is better (MMGeneration)."""
    standing: FromZero = 0
    """Batches of fakes that batch norm takes its statistics from before use (Brock et al. 2019); 0: moving averages."""
    score_every: Count | None = None
    """Updates between scores, grids and checkpoints; unset: a twentieth of the steps."""
    extractor: str | None = None
    """Classifier that scores images during the training, inception, or torch-fidelity:NAME[:LAYER]; the weights of the
    best FID are then kept; unset: nothing is scored."""
    inception_weights: Path | None = None
    """torch-fidelity's file of Inception weights; unset: its own, downloaded on first use."""
    score_images: Annotated[int, Range(10, most=1_000_000_000)] = 5_000
    """How many images --extractor scores each time, against as many real ones, 10 or more."""
    gauge: tyro.conf.OmitArgPrefixes[Gauge] = field(default_factory=Gauge)
    foreign: tyro.conf.OmitArgPrefixes[Foreign] = field(default_factory=Foreign)
    optimisation: tyro.conf.OmitArgPrefixes[Optimising] = field(default_factory=Optimising)
    where: tyro.conf.OmitArgPrefixes[Where] = field(default_factory=Where)
