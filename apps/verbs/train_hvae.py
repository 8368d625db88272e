"""Train an HVAE, HVAE-C or HVAE-L on binarised images; the same command again resumes it.

The defaults are those of the S-VAE's authors where the paper is silent (KL warm-up, early stopping by the bound on
held-out images) and a cosine decay of the learning rate.
"""

from dataclasses import dataclass, field
from typing import Literal

import tyro

from apps.command.config import Data, Foreign, Optimisation, Where, identity


def _protocol() -> Optimisation:
    return Optimisation(epochs=220.0, schedule="cosine", final_lr=0.05, patience=50)


@dataclass(frozen=True)
class Config:
    """Train a hyperspherical variational autoencoder."""

    data: tyro.conf.OmitArgPrefixes[Data] = field(default_factory=Data)
    variant: Literal["hvae", "hvae-c", "hvae-l"] = "hvae-l"
    """hvae: unconditional; hvae-c: the label beside z; hvae-l: z from the classifier's prior."""
    latent_dim: int = 10
    """d: the latent sphere is S^d in R^(d+1), or S^(d-1) in R^d with --convention ambient."""
    convention: Literal["sphere", "ambient"] = "sphere"
    """What --latent-dim counts: the dimensions of the sphere, or of the space around it."""
    classifier: str | None = None
    """MODEL whose final layer is the prior of hvae-l, or a prior saved by penult prior."""
    concentration: tuple[str, ...] = ()
    """Concentration of the prior: a number, one a class, or a strategy such as mle; unset: 20, or a saved prior's."""
    encoder_label: bool = False
    """Whether the encoder sees the label, q(z|x, i) instead of q(z|x)."""
    label_term: bool = True
    """Whether the reported bound holds log p(i), as equations 11 and 12 do; it moves no gradient."""
    hidden: tuple[int, ...] = (256, 128)
    """Widths of the encoder's layers; the decoder has them in reverse."""
    kl_warmup: float = 30.0
    """Epochs over which the weight of the divergence rises to 1."""
    foreign: tyro.conf.OmitArgPrefixes[Foreign] = field(default_factory=Foreign)
    optimisation: tyro.conf.OmitArgPrefixes[Optimisation] = field(default_factory=_protocol)
    where: tyro.conf.OmitArgPrefixes[Where] = field(default_factory=Where)


def main(config: Config, guide: bool = True) -> None:
    """Train, or resume, or say that it is done, and with `guide` what to type next."""
    import torch

    from apps.data import sources
    from apps.data.image_set import split_validation
    from apps.generators.hvae import VARIANTS
    from apps.generators.hvae_training import HVAETraining
    from apps.models.classifier_priors import classifier_prior
    from apps.models.named import check_classes, is_run
    from apps.runs.run import Run
    from apps.seeds import derive
    from apps.training.session import start
    from apps.training.train import data_label, slug, train
    from priors.errors import InputError
    from priors.storage import digest_of

    where, optimisation, name = config.where, config.optimisation, config.data.data
    if config.variant == "hvae-l" and config.classifier is None:
        raise InputError(
            "--variant hvae-l needs --classifier MODEL, whose final layer is its prior: train one with penult train "
            f"classifier --data {name} --arch mlp --penultimate {config.latent_dim + (config.convention == 'sphere')}"
        )
    if config.variant != "hvae-l" and config.classifier is not None:
        raise InputError(
            f"--classifier {config.classifier} is for --variant hvae-l: leave it out with {config.variant}"
        )
    if config.variant != "hvae-l" and config.concentration:
        raise InputError(f"--concentration is for --variant hvae-l: leave it out with {config.variant}")
    if not 0 <= config.kl_warmup < float("inf"):
        raise InputError(f"--kl-warmup {config.kl_warmup}: expected 0 epochs or more")
    accelerator = start(where, precision=optimisation.precision, work="small")
    wrong = [width for width in config.hidden if width < 1]
    if wrong or not config.hidden:
        raise InputError(f"--hidden {' '.join(map(str, config.hidden))}: expected the widths of one or more layers")
    images = sources.load(name, "train", root=where.data_root, image_size=config.data.image_size)
    digest = images.digest
    count = len(images) // 6 if config.data.validation is None else config.data.validation
    validation = None
    if count:
        images, validation = split_validation(images, count, optimisation.seed)
    dim = config.latent_dim + (config.convention == "sphere")
    options = {}
    if config.variant == "hvae-l":
        # A strategy measures a run on what it was trained on, any other network on these images.
        measured = {} if is_run(config.classifier) else {"data": name, "image_size": config.data.image_size}
        options["prior"] = classifier_prior(
            config.classifier,
            config.concentration,
            config.foreign,
            root=where.data_root,
            accelerator=accelerator,
            **measured,
        )
        check_classes(options["prior"].class_names, config.classifier, images)
    torch.manual_seed(derive(optimisation.seed, "weights"))
    model = VARIANTS[config.variant](
        images.image_shape, dim, images.class_names, config.hidden, encoder_label=config.encoder_label, **options
    )
    run = Run(
        where.runs
        / (where.name or slug(f"{data_label(name)}-{config.variant}-d{config.latent_dim}-seed{optimisation.seed}"))
    )
    warmup_steps = round(config.kl_warmup * len(images) / optimisation.batch_size)
    prior_digest = {"prior_digest": digest_of(options["prior"].state_dict())} if options else {}
    train(
        verb="train hvae",
        run=run,
        identity=identity(config) | {"data_digest": digest} | prior_digest,
        accelerator=accelerator,
        images=images,
        build=lambda: HVAETraining(model, optimisation.seed, validation, warmup_steps, config.label_term),
        score=lambda task: {},
        optimisation=optimisation,
        where=where,
        following=f"penult sample {run.folder} --out grid.png, or penult evaluate {run.folder}" if guide else None,
    )
