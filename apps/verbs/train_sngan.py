"""Train an SNGAN: class-conditional images from Gaussian latents, a uniform sphere, or a classifier's prior.

Section 4.3 of "On The Distribution of Penultimate Activations of Classification Networks". The same command again
resumes it. The defaults are those of --preset gan-evaluation, which the paper follows.
"""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import tyro

from apps.command.config import Data, Foreign, Optimisation, Where, identity

_CONCENTRATION = "5"
"""Of each class where nothing else is said (section 4.3)."""


@dataclass(frozen=True)
class Optimising(Optimisation):
    """How the weights are found; in updates of the generator instead of passes over the images."""

    epochs: tyro.conf.Fixed[tyro.conf.Suppress[float]] = 1.0
    """Set from the steps."""
    validate_every: tyro.conf.Fixed[tyro.conf.Suppress[float]] = 1.0
    """Set from the steps between scores."""
    lr: float = 2e-4
    """Peak learning rate, of both networks."""
    schedule: Literal["constant", "cosine", "linear", "step"] = "linear"
    """Learning rate after its warm-up; step multiplies it by --decay at each of the --milestones."""
    ema: float | None = 0.999
    """Decay an update of an exponential moving average of the generator, which is then scored and kept; None: none."""


@dataclass(frozen=True)
class Config:
    """Train a conditional generative adversarial network."""

    data: tyro.conf.OmitArgPrefixes[Data] = field(default_factory=Data)
    preset: Literal["gan-evaluation", "sngan-projection", "mimicry"] = "gan-evaluation"
    """Whose networks and settings: Shmelkov et al. 2018, Miyato and Koyama 2018, or Lee and Town 2020 (Mimicry)."""
    generator_width: int = 256
    """Channels of the generator's blocks."""
    discriminator_width: int = 128
    """Channels of the discriminator's blocks."""
    latent: Literal["gaussian", "uniform-sphere", "vmf"] = "gaussian"
    """gaussian: normal numbers; uniform-sphere: one length, no classes; vmf: from the classifier's prior."""
    latent_dim: int | None = None
    """Dimension of the latents; unset: 128, or the prior's."""
    classifier: str | None = None
    """MODEL whose final layer is the prior of vmf, or a prior saved by penult prior."""
    concentration: tuple[str, ...] = ()
    """Concentration of the prior: a number, one a class, or a strategy such as mle; unset: 5, or a saved prior's."""
    radius: float = 10.0
    """Length of the latents on a sphere (section 4.3)."""
    steps: int | None = None
    """Updates of the generator; unset: the preset's, 100,000 or 50,000."""
    discriminator_turns: int = 5
    """Updates of the discriminator to one of the generator."""
    betas: tuple[float, float] = (0.0, 0.9)
    """Of Adam; StudioGAN's SNGAN takes 0.5 0.999."""
    labels: Literal["preset", "real", "uniform"] = "preset"
    """Of the fakes: those of the batch of real images, or drawn evenly."""
    fakes: int | None = None
    """Batches of fakes in the generator's turn; unset: the preset's."""
    dequantise: Literal["preset", "yes", "no"] = "preset"
    """Whether noise of one grey level is added to the real images."""
    flip: bool = False
    """Whether real images are flipped at random, as in StudioGAN."""
    augment: tuple[Literal["colour", "translation", "cutout"], ...] = ()
    """Differentiable augmentation of all that the discriminator sees (Zhao et al. 2020)."""
    r1: float = 0.0
    """Weight of the gradient penalty on real images (Mescheder et al. 2018); 0: none."""
    r1_every: int = 16
    """Updates between gradient penalties, each counting as many times (Karras et al. 2020)."""
    init: Literal["xavier", "orthogonal"] = "xavier"
    """Initial weights; orthogonal as in BigGAN (Brock et al. 2019)."""
    first_relu: Literal["preset", "out-of-place", "in-place"] = "preset"
    """Whether the discriminator's first ReLUs act on the shortcut too; out-of-place is better (MMGeneration)."""
    standing: int = 0
    """Batches of fakes that batch norm takes its statistics from before use (Brock et al. 2019); 0: moving averages."""
    score_every: int | None = None
    """Updates between scores, grids and checkpoints; unset: a twentieth of the steps."""
    extractor: str | None = None
    """Classifier by which images are scored meanwhile, or inception; the best FID's weights are then kept."""
    inception_weights: Path | None = None
    """torch-fidelity's file of Inception weights; unset: its own, downloaded on first use."""
    score_images: int = 5_000
    """Images that are scored, against as many real ones."""
    foreign: tyro.conf.OmitArgPrefixes[Foreign] = field(default_factory=Foreign)
    optimisation: tyro.conf.OmitArgPrefixes[Optimising] = field(default_factory=Optimising)
    where: tyro.conf.OmitArgPrefixes[Where] = field(default_factory=Where)


def main(config: Config, guide: bool = True) -> None:
    """Train, or resume, or say that it is done, and with `guide` what to type next."""
    import torch
    from torch import nn

    from apps.data import sources
    from apps.data.augment import augmentation_for
    from apps.fidelity.cache import cache_folder
    from apps.fidelity.watching import Watch
    from apps.generators.sngan import SNGAN, Discriminator
    from apps.generators.sngan_training import SNGANTraining
    from apps.models.named import check_classes
    from apps.runs.run import Run
    from apps.seeds import derive
    from apps.training.session import start
    from apps.training.train import data_label, slug, train
    from priors.storage import digest_of

    config = _resolved(config)
    where, optimisation, name = config.where, config.optimisation, config.data.data
    accelerator = start(where, precision=optimisation.precision, work="large")
    images = sources.load(name, "train", root=where.data_root, image_size=config.data.image_size)
    sizes = _architecture(config, images.image_shape)
    latent = _latent(config, accelerator)
    prior = getattr(latent, "prior", None)
    if prior is not None:
        check_classes(prior.class_names, config.classifier, images)
    # In passes over the images, which the loop counts in; no rounding may put a score a step later.
    per_pass = len(images) / optimisation.batch_size
    every = config.score_every / per_pass * (1 - 1e-12)
    optimisation = replace(optimisation, epochs=config.steps / per_pass, validate_every=every)
    torch.manual_seed(derive(optimisation.seed, "weights"))
    model = SNGAN(sizes, images.class_names, latent, config.init)
    discriminator = Discriminator(sizes, len(images.class_names), _preset(config).residual_gain, config.init)
    if accelerator.num_processes > 1 and accelerator.device.type == "cuda":
        model = nn.SyncBatchNorm.convert_sync_batchnorm(model)
    run = Run(where.runs / (where.name or slug(f"{data_label(name)}-sngan-{config.latent}-seed{optimisation.seed}")))
    watch = Watch(
        images,
        _extractor(config),
        config.score_images,
        optimisation.seed,
        run.folder / "grids",
        accelerator,
        cache_folder(where.data_root),
    )
    train(
        verb="train sngan",
        run=run,
        identity=identity(config)
        | {"data_digest": images.digest}
        | ({} if prior is None else {"prior_digest": digest_of(prior.state_dict())}),
        accelerator=accelerator,
        images=images,
        build=lambda: SNGANTraining(
            model, discriminator, _objective(config), optimisation.seed, watch, watch.criterion, optimisation.batch_size
        ),
        score=lambda task: {},
        optimisation=optimisation,
        where=where,
        following=f"penult sample {run.folder} --out grid.png" if guide else None,
        augmentation=augmentation_for(images, flip=config.flip),
    )


def _preset(config: Config):
    from apps.generators.sngan import PRESETS

    return PRESETS[config.preset]


def _resolved(config: Config) -> Config:
    """The configuration with what it left to the preset filled in.

    Raises:
        InputError: values that no training can use, or flags that do not go together.
    """
    from priors.errors import InputError

    preset = _preset(config)
    steps = preset.steps if config.steps is None else config.steps
    dim = config.latent_dim
    for flag, value, fine, expected in (
        ("--steps", steps, steps >= 1, "1 or more"),
        ("--score-every", config.score_every, config.score_every is None or config.score_every >= 1, "1 or more"),
        ("--discriminator-turns", config.discriminator_turns, config.discriminator_turns >= 1, "1 or more"),
        ("--score-images", config.score_images, config.score_images >= 10, "10 or more"),
        ("--fakes", config.fakes, config.fakes is None or config.fakes >= 1, "1 or more"),
        ("--latent-dim", dim, dim is None or dim >= 1, "1 or more"),
        ("--radius", config.radius, 0 < config.radius < float("inf"), "a positive number"),
        ("--r1", config.r1, 0 <= config.r1 < float("inf"), "0 or more"),
        ("--r1-every", config.r1_every, config.r1_every >= 1, "1 or more"),
        ("--standing", config.standing, config.standing >= 0, "0 or more"),
        ("--betas", config.betas, all(0 <= beta < 1 for beta in config.betas), "two numbers from 0 to below 1"),
    ):
        if not fine:
            raise InputError(f"{flag} {value}: expected {expected}")
    if config.inception_weights is not None and config.extractor != "inception":
        raise InputError(f"--inception-weights {config.inception_weights} is for --extractor inception")
    if config.data.validation:
        raise InputError(f"--validation {config.data.validation}: an SNGAN holds no images out; leave it out")
    if config.optimisation.patience is not None and config.extractor is None:
        raise InputError(f"--patience {config.optimisation.patience} waits for a better FID: give --extractor with it")
    if config.optimisation.optimizer not in ("adam", "adamw"):
        raise InputError(f"--optimizer {config.optimisation.optimizer}: an SNGAN is trained by adam or adamw")
    if config.latent == "vmf" and config.classifier is None:
        raise InputError(
            f"--latent vmf needs --classifier MODEL, whose final layer is its prior: train one with penult train "
            f"classifier --data {config.data.data} --arch wrn-16-2 --penultimate 128"
        )
    for flag, value in (("--classifier", config.classifier), ("--concentration", config.concentration)):
        if value and config.latent != "vmf":
            raise InputError(f"{flag} is for --latent vmf: leave it out with {config.latent}")
    return replace(
        config,
        steps=steps,
        score_every=max(1, steps // 20) if config.score_every is None else config.score_every,
        labels=preset.labels if config.labels == "preset" else config.labels,
        fakes=preset.fakes if config.fakes is None else config.fakes,
        dequantise=("yes" if preset.dequantise else "no") if config.dequantise == "preset" else config.dequantise,
        first_relu=("in-place" if preset.overwrite else "out-of-place")
        if config.first_relu == "preset"
        else config.first_relu,
    )


def _architecture(config: Config, image_shape):
    from apps.generators.sngan import architecture

    sizes = architecture(config.preset, image_shape, config.generator_width, config.discriminator_width)
    return replace(sizes, overwrite=config.first_relu == "in-place")


def _latent(config: Config, accelerator):
    from apps.generators.latents import Gaussian, UniformSphere, VonMisesFisherLatent
    from apps.models.classifier_priors import classifier_prior, is_saved
    from apps.models.named import is_run
    from priors.errors import InputError

    if config.latent == "gaussian":
        return Gaussian(config.latent_dim or 128)
    if config.latent == "uniform-sphere":
        return UniformSphere(config.latent_dim or 128, config.radius)
    measured = {} if is_run(config.classifier) else {"data": config.data.data, "image_size": config.data.image_size}
    prior = classifier_prior(
        config.classifier,
        config.concentration or (() if is_saved(config.classifier) else (_CONCENTRATION,)),
        config.foreign,
        root=config.where.data_root,
        accelerator=accelerator,
        **measured,
    )
    if config.latent_dim not in (None, prior.dim):
        raise InputError(
            f"--latent-dim {config.latent_dim}, but the prior of {config.classifier} lives in R^{prior.dim} (its "
            "penultimate width): leave --latent-dim out, or train a classifier with --penultimate "
            f"{config.latent_dim}"
        )
    return VonMisesFisherLatent(prior, config.radius)


def _objective(config: Config):
    from apps.generators.sngan_training import Objective

    return Objective(
        discriminator_turns=config.discriminator_turns,
        betas=config.betas,
        labels=config.labels,
        fakes=config.fakes,
        dequantise=config.dequantise == "yes",
        augmentations=config.augment,
        r1=config.r1,
        r1_every=config.r1_every,
        standing=config.standing,
    )


def _extractor(config: Config):
    """What the scores during training are by; None for none."""
    if config.extractor is None:
        return None
    if config.extractor == "inception":
        from apps.fidelity.inception import inception_extractor

        return inception_extractor(config.inception_weights)
    from apps.fidelity.extractor import classifier_extractor

    return classifier_extractor(config.extractor, config.foreign)
