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
from apps.generators.learnt_prior import HVAEM, PARTS, drawn_prior
from apps.models.classifier_priors import DEFAULT_CONCENTRATION, concentrations
from apps.models.named import check_classes
from apps.runs.run import Run
from apps.seeds import derive, generator
from apps.training.memory import within_memory
from apps.training.session import start
from apps.training.task import Task
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
    if config.variant == "hvae-m" and config.classifier is None:
        prior = _drawn(config, images)
    elif config.classifier is not None:
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
        score=_learnt,
        optimisation=optimisation,
        where=where,
        following=following if guide else None,
    )


def _check(config: HVAESettings) -> None:
    """Refuse settings that do not go together, and values that no training can use."""
    learnt = _learns(config)
    if config.learn and not learnt:
        raise InputError(
            f"--learn {' '.join(config.learn)} is for --variant hvae-m: leave it out with {config.variant}"
        )
    if config.variant == "hvae-l" or learnt == ("concentrations",):
        if config.classifier is None:
            needing = "hvae-m --learn concentrations" if learnt else "hvae-l"
            gives = "has its directions" if learnt else "is its prior"
            raise InputError(
                f"--variant {needing} needs --classifier MODEL, whose final layer {gives}: train one with penult train "
                f"classifier --data {config.data.data} --arch mlp --penultimate {_dim(config)}"
            )
    elif learnt:
        _check_alone(config)
    else:
        given = f"--classifier {config.classifier}" if config.classifier is not None else ""
        for flags in (given, "--concentration" if config.concentration else "", config.gauge.given()):
            if flags:
                raise InputError(f"{flags} is for --variant hvae-l and hvae-m: leave it out with {config.variant}")
    _check_networks(config)


def _check_networks(config: HVAESettings) -> None:
    """Refuse no layers, and sizes of other networks than those asked for."""
    if not config.hidden:
        raise InputError("--hidden: expected the widths of one or more layers")
    if config.networks != "mlp" and config.hidden != HVAESettings.hidden:
        widths = " ".join(map(str, config.hidden))
        raise InputError(f"--hidden {widths} is for --networks mlp: leave it out with {config.networks}")
    for flag, size in (("--channels", config.channels), ("--blocks", config.blocks)):
        if size is not None and config.networks != "conv":
            raise InputError(f"{flag} {size} is for --networks conv: leave it out with {config.networks}")


def _check_alone(config: HVAESettings) -> None:
    """Refuse what reads of a classifier where a model's directions are learnt: nothing of one would be used."""
    given = f"--classifier {config.classifier}" if config.classifier else config.gauge.given()
    if given:
        raise InputError(
            f"{given} with learnt directions, for which no classifier is read: leave it out, or give --learn "
            "concentrations, which keeps a classifier's directions"
        )
    if isinstance(values := concentrations(config.concentration), str):
        raise InputError(
            f"--concentration {values} with learnt directions, for which no classifier is read that it could measure: "
            "give numbers"
        )


def _learns(config: HVAESettings) -> tuple[str, ...]:
    """What of its prior the model learns."""
    if config.variant != HVAEM.variant:
        return ()
    return tuple(part for part in PARTS if part in config.learn or not config.learn)


def _drawn(config: HVAESettings, images: ImageSet) -> ClassifierPrior:
    """Where learnt directions start, with the concentrations that are given."""
    given = concentrations(config.concentration)
    values = DEFAULT_CONCENTRATION if given is None else given
    stream = generator("cpu", config.optimisation.seed, "directions")
    return drawn_prior(images.class_names, _dim(config), values, stream, images.name)


def _learnt(task: Task) -> dict[str, Any]:
    """The concentrations that a model learnt, by class."""
    model = task.networks["model"]
    if not isinstance(model, HVAEM) or "concentrations" not in model.prior.learn:
        return {}
    return {"concentrations": dict(zip(model.class_names, model.prior.as_it_is().concentration.tolist(), strict=True))}


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
    family = "" if config.posterior == "vmf" else f"-{config.posterior}"
    networks = "" if config.networks == "mlp" else f"-{config.networks}"
    learnt = _learns(config)
    part = f"-{learnt[0]}" if len(learnt) == 1 else ""
    return slug(f"{label}-{config.variant}{part}{networks}{family}-d{config.latent_dim}-seed{seed}")


@within_memory()
def _built(config: HVAESettings, images: ImageSet, prior: ClassifierPrior | None) -> HypersphericalVAE:
    """The model before its training: its weights hang on the seed alone."""
    torch.manual_seed(derive(config.optimisation.seed, "weights"))
    options: dict[str, Any] = {} if prior is None else {"prior": prior}
    options |= {"learn": learnt} if (learnt := _learns(config)) else {}
    return VARIANTS[config.variant](
        images.image_shape,
        _dim(config),
        images.class_names,
        config.hidden,
        encoder_label=config.encoder_label,
        posterior=config.posterior,
        networks=config.networks,
        channels=config.channels,
        blocks=config.blocks,
        **options,
    )
