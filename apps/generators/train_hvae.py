"""The program of penult train hvae: from its settings to a finished run."""

from typing import Any

import torch

from apps.command.config import identity, older_values
from apps.command.console import say
from apps.command.options import check_values
from apps.command.own_code import allowing
from apps.data import sources
from apps.data.image_set import ImageSet, split_validation
from apps.generators.class_prior import class_prior
from apps.generators.hvae import VARIANTS
from apps.generators.hvae_settings import HVAESettings
from apps.generators.hvae_training import HVAETraining
from apps.generators.hyperspherical_vae import HypersphericalVAE
from apps.models.named import check_classes
from apps.runs.run import Run
from apps.seeds import derive
from apps.training.memory import within_memory
from apps.training.session import start
from apps.training.train import data_label, slug, train
from priors import ClassifierPrior
from priors.errors import InputError
from priors.files.tensors import digest_of


def train_hvae(config: HVAESettings, guide: bool = True) -> dict[str, Any]:
    """Train, or resume, or say that it is done, and with `guide` what to type next; returns the result.

    Raises:
        InputError: settings that do not go together, a prior of other classes, or as for `apps.training.train.train`.
    """
    check_values(config)
    _check(config)
    where, optimisation, name = config.where, config.optimisation, config.data.data
    accelerator = start(where, precision=optimisation.precision, work="small")
    images = sources.load(name, "train", root=where.data_root, **config.data.sizes)
    given = {"data_digest": images.digest}
    prior, held_out = None, None
    count = len(images) // 6 if config.data.validation is None else config.data.validation
    if count:
        images, held_out = split_validation(images, count, optimisation.seed)
    if config.classifier is not None:
        prior = class_prior(
            config.classifier, config.concentration, config.gauge, config.foreign, config.data, where, accelerator
        )
        check_classes(prior.class_names, config.classifier, images, prior.provenance.dataset)
        _check_dimension(config, prior)
        given["prior_digest"] = digest_of(prior.state_dict())
    model = _built(config, images, prior)
    run = Run(where.runs / (where.name or _name(config)))
    if config.kl_warmup > optimisation.epochs and not run.finished:
        say(
            f"--kl-warmup {config.kl_warmup:g} is longer than --epochs {optimisation.epochs:g}: the weight of the "
            f"divergence ends at {optimisation.epochs / config.kl_warmup:.2g}, not at 1."
        )
    warmup_steps = round(config.kl_warmup * len(images) / optimisation.batch_size)
    following = f"penult sample {run.quoted} --out grid.png, or penult evaluate {run.quoted}{allowing(name)}"
    return train(
        verb="train hvae",
        run=run,
        identity=identity(config) | given,
        older=older_values(config),
        accelerator=accelerator,
        images=images,
        build=lambda: HVAETraining(model, optimisation.seed, held_out, warmup_steps, config.label_term),
        score=lambda task: {},
        optimisation=optimisation,
        where=where,
        following=following if guide else None,
    )


def _check(config: HVAESettings) -> None:
    """Refuse settings that do not go together, and values that no training can use."""
    if config.variant == "hvae-l" and config.classifier is None:
        raise InputError(
            "--variant hvae-l needs --classifier MODEL, whose final layer is its prior: train one with penult train "
            f"classifier --data {config.data.data} --arch mlp --penultimate {_dim(config)}"
        )
    if config.variant != "hvae-l" and config.classifier is not None:
        raise InputError(
            f"--classifier {config.classifier} is for --variant hvae-l: leave it out with {config.variant}"
        )
    for flags in ("--concentration" if config.concentration else "", config.gauge.given()):
        if flags and config.variant != "hvae-l":
            raise InputError(f"{flags} is for --variant hvae-l: leave it out with {config.variant}")
    if not config.hidden:
        raise InputError("--hidden: expected the widths of one or more layers")


def _check_dimension(config: HVAESettings, prior: ClassifierPrior) -> None:
    """Refuse a prior of another space than that of the latents."""
    if prior.dim != _dim(config):
        fitting = config.latent_dim + prior.dim - _dim(config)
        raise InputError(
            f"--latent-dim {config.latent_dim}: the latents live in R^{_dim(config)} and the prior of "
            f"{config.classifier} in R^{prior.dim} (its penultimate width): give --latent-dim {fitting}, or train a "
            f"classifier with --penultimate {_dim(config)}"
        )


def _dim(config: HVAESettings) -> int:
    """Of the space around the latent sphere."""
    return config.latent_dim + (config.convention == "sphere")


def _name(config: HVAESettings) -> str:
    """Of a run that is given none."""
    label, seed = data_label(config.data.data, config.data.classes), config.optimisation.seed
    return slug(f"{label}-{config.variant}-d{config.latent_dim}-seed{seed}")


@within_memory()
def _built(config: HVAESettings, images: ImageSet, prior: ClassifierPrior | None) -> HypersphericalVAE:
    """The model before its training: its weights hang on the seed alone."""
    torch.manual_seed(derive(config.optimisation.seed, "weights"))
    options = {} if prior is None else {"prior": prior}
    return VARIANTS[config.variant](
        images.image_shape,
        _dim(config),
        images.class_names,
        config.hidden,
        encoder_label=config.encoder_label,
        **options,
    )
