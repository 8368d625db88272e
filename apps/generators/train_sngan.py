"""The program of penult train sngan: from its settings to a finished run."""

from dataclasses import replace
from typing import Any

import torch
from accelerate import Accelerator
from torch import nn

from apps.command.config import Optimisation, identity, older_values
from apps.command.options import check_values
from apps.data import sources
from apps.data.augment import augmentation_for
from apps.data.image_set import ImageSet
from apps.fidelity.cache import cache_folder
from apps.fidelity.extractor import Extractor
from apps.fidelity.registered import extractor_by_name
from apps.fidelity.watching import Watch
from apps.generators.class_prior import class_prior
from apps.generators.latents import Gaussian, Latent, UniformSphere, VonMisesFisherLatent
from apps.generators.sngan import SNGAN, Discriminator
from apps.generators.sngan_presets import Architecture, architecture, preset
from apps.generators.sngan_settings import SNGANSettings
from apps.generators.sngan_training import Objective, SNGANTraining
from apps.models.classifier_priors import is_prior
from apps.models.named import check_classes
from apps.runs.run import Run
from apps.seeds import derive
from apps.training.memory import within_memory
from apps.training.session import start
from apps.training.train import data_label, slug, train
from priors.errors import InputError
from priors.files.tensors import digest_of

CONCENTRATION = "5"
"""Of each class where nothing else is said (section 4.3)."""


def train_sngan(config: SNGANSettings, guide: bool = True) -> dict[str, Any]:
    """Train, or resume, or say that it is done, and with `guide` what to type next; returns the result.

    Raises:
        InputError: settings that do not go together, images that no SNGAN draws, a prior of other classes, or as for
            `apps.training.train.train`.
    """
    check_values(config)
    config = resolved(config)
    where, name = config.where, config.data.data
    accelerator = start(where, precision=config.optimisation.precision, work="large")
    images = sources.load(name, "train", root=where.data_root, **config.data.sizes)
    run = Run(where.runs / (where.name or _name(config)))
    sizes, given = _sizes(config, images.image_shape, run.format), {"data_digest": images.digest}
    config = replace(config, attention=sizes.attention)
    latent = _latent(config, accelerator)
    if isinstance(latent, VonMisesFisherLatent):
        check_classes(latent.prior.class_names, config.classifier, images, latent.prior.provenance.dataset)
        given["prior_digest"] = digest_of(latent.prior.state_dict())
    model, discriminator = _networks(config, sizes, latent, images, accelerator, run.format)
    optimisation = _optimisation(config, images)
    watch = _watch(config, images, run, accelerator)
    return train(
        verb="train sngan",
        run=run,
        identity=identity(config) | given,
        older=older_values(config),
        accelerator=accelerator,
        images=images,
        build=lambda: SNGANTraining(
            model, discriminator, objective(config), optimisation.seed, watch, watch.criterion, optimisation.batch_size
        ),
        score=lambda task: {},
        optimisation=optimisation,
        where=where,
        following=f"penult sample {run.quoted} --out grid.png" if guide else None,
        augmentation=augmentation_for(images, flip=config.flip),
    )


def _name(config: SNGANSettings) -> str:
    """Of a run that is given none."""
    return slug(
        f"{data_label(config.data.data, config.data.classes)}-sngan-{config.latent}-seed{config.optimisation.seed}"
    )


def resolved(config: SNGANSettings) -> SNGANSettings:
    """The settings with what they left to the preset filled in.

    Raises:
        InputError: flags that do not go together.
    """
    _check_together(config)
    public, steps = preset(config.preset), _steps(config)
    return replace(
        config,
        generator_width=public.widths[0] if config.generator_width is None else config.generator_width,
        discriminator_width=public.widths[1] if config.discriminator_width is None else config.discriminator_width,
        shared_embedding=public.shared if config.shared_embedding is None else config.shared_embedding,
        hierarchical=("yes" if public.hierarchical else "no")
        if config.hierarchical == "preset"
        else config.hierarchical,
        generator_norm=("spectral" if public.normalised else "none")
        if config.generator_norm == "preset"
        else config.generator_norm,
        orthogonal=public.orthogonal if config.orthogonal is None else config.orthogonal,
        betas=config.betas or public.betas,
        init=public.init if config.init == "preset" else config.init,
        steps=steps,
        score_every=max(1, steps // 20) if config.score_every is None else config.score_every,
        labels=public.labels if config.labels == "preset" else config.labels,
        fakes=public.fakes if config.fakes is None else config.fakes,
        dequantise=("yes" if public.dequantise else "no") if config.dequantise == "preset" else config.dequantise,
        first_relu=("in-place" if public.overwrite else "out-of-place")
        if config.first_relu == "preset"
        else config.first_relu,
    )


def _steps(config: SNGANSettings) -> int:
    return preset(config.preset).steps if config.steps is None else config.steps


def _check_together(config: SNGANSettings) -> None:
    """Refuse flags that do not go together."""
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
    flags = {"--classifier": config.classifier, "--concentration": config.concentration}
    for flag, value in {**flags, config.gauge.given(): config.gauge.given()}.items():
        if value and config.latent != "vmf":
            raise InputError(f"{flag} is for --latent vmf: leave it out with {config.latent}")


def _optimisation(config: SNGANSettings, images: ImageSet) -> Optimisation:
    """In passes over the images, which the loop counts in."""
    per_pass = len(images) / config.optimisation.batch_size
    # No rounding may put a score a step later.
    every = config.score_every / per_pass * (1 - 1e-12)
    return replace(config.optimisation, epochs=config.steps / per_pass, validate_every=every)


def _sizes(config: SNGANSettings, image_shape: tuple[int, int, int], format: int) -> Architecture:
    sizes = architecture(config.preset, image_shape, config.generator_width, config.discriminator_width, format)
    return replace(
        sizes,
        overwrite=config.first_relu == "in-place",
        attention=sizes.attention if config.attention is None else config.attention,
        shared=config.shared_embedding,
        hierarchical=config.hierarchical == "yes",
        normalised=config.generator_norm == "spectral",
    )


def _latent(config: SNGANSettings, accelerator: Accelerator) -> Latent:
    """Where z comes from."""
    if config.latent == "gaussian":
        return Gaussian(config.latent_dim or preset(config.preset).latent_dim)
    if config.latent == "uniform-sphere":
        return UniformSphere(config.latent_dim or preset(config.preset).latent_dim, config.radius)
    own = is_prior(config.classifier) or config.gauge.directions == "fitted"  # it has concentrations of its own
    words = config.concentration or (() if own else (CONCENTRATION,))
    prior = class_prior(config.classifier, words, config.gauge, config.foreign, config.data, config.where, accelerator)
    if config.latent_dim not in (None, prior.dim):
        raise InputError(
            f"--latent-dim {config.latent_dim}, but the prior of {config.classifier} lives in R^{prior.dim} (its "
            "penultimate width): leave --latent-dim out, or train a classifier with --penultimate "
            f"{config.latent_dim}"
        )
    return VonMisesFisherLatent(prior, config.radius)


@within_memory()
def _networks(
    config: SNGANSettings, sizes: Architecture, latent: Latent, images: ImageSet, accelerator: Accelerator, format: int
) -> tuple[SNGAN, Discriminator]:
    """Both networks before their training: their weights hang on the seed alone."""
    torch.manual_seed(derive(config.optimisation.seed, "weights"))
    public = preset(config.preset, format)
    model = SNGAN(sizes, images.class_names, latent, config.init, public.gain_spread, public.biases)
    gain, classes = public.residual_gain, len(images.class_names)
    discriminator = Discriminator(sizes, classes, gain, config.init, public.biases, format)
    if accelerator.num_processes > 1 and accelerator.device.type == "cuda":
        model = nn.SyncBatchNorm.convert_sync_batchnorm(model)
    return model, discriminator


def objective(config: SNGANSettings) -> Objective:
    """What the networks are trained by, of settings that are `resolved`."""
    return Objective(
        discriminator_turns=config.discriminator_turns,
        betas=config.betas,
        labels=config.labels,
        fakes=config.fakes,
        dequantise=config.dequantise == "yes",
        augmentations=config.augment,
        r1=config.r1,
        r1_every=config.r1_every,
        orthogonal=config.orthogonal,
        standing=config.standing,
    )


def _watch(config: SNGANSettings, images: ImageSet, run: Run, accelerator: Accelerator) -> Watch:
    """What draws and scores on the way."""
    cache = cache_folder(config.where.data_root)
    count, seed, grids = config.score_images, config.optimisation.seed, run.folder / "grids"
    return Watch(images, _extractor(config, images), count, seed, grids, accelerator, cache)


def _extractor(config: SNGANSettings, images: ImageSet) -> Extractor | None:
    """What the scores during training are by; None for none."""
    if config.extractor is None:
        return None
    if config.extractor == "inception":
        from apps.fidelity.inception import DECLARED, inception_extractor

        DECLARED.check(images.image_shape, images.name)  # before weights are downloaded
        return inception_extractor(config.inception_weights)
    return extractor_by_name(config.extractor, config.foreign)
