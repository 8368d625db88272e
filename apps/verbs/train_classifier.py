"""Train a classifier from the zoo with cross-entropy; the same command again resumes it."""

from dataclasses import dataclass, field
from typing import Literal

import tyro

from apps.config import Data, Optimisation, Where, identity


@dataclass(frozen=True)
class Config:
    """Train a classifier."""

    data: tyro.conf.OmitArgPrefixes[Data] = field(default_factory=Data)
    arch: str = "mlp"
    """Architecture: a name of `penult ls classifiers`, or torchvision:NAME."""
    penultimate: int | None = None
    """Width of the penultimate layer; unset: the architecture's own."""
    head_bias: bool = True
    """Whether the final layer has a bias."""
    augment: Literal["auto", "none", "flip", "crop", "crop+flip"] = "auto"
    """Random crops with 4 pixels of padding, and flips; auto: what is usual for the data set."""
    crop_fill: Literal["black", "mean"] = "black"
    """What a crop's padding holds."""
    label_smoothing: float = 0.0
    """Weight of the uniform distribution in the targets."""
    optimisation: tyro.conf.OmitArgPrefixes[Optimisation] = field(
        default_factory=lambda: Optimisation(schedule="cosine")
    )
    where: tyro.conf.OmitArgPrefixes[Where] = field(default_factory=Where)


def main(config: Config, guide: bool = True) -> None:
    """Train, or resume, or say that it is done, and with `guide` what to type next."""
    import torch

    from apps import datasets
    from apps.augment import augmentation_for
    from apps.classification import Classification, scores
    from apps.image_set import channel_statistics, split_validation
    from apps.run import Run
    from apps.seeds import derive
    from apps.session import start, sweeping
    from apps.training import data_label, slug, train
    from priors import zoo
    from priors.errors import InputError

    if not 0 <= config.label_smoothing < 1:
        raise InputError(f"--label-smoothing {config.label_smoothing}: expected a weight of 0 or more, and less than 1")
    if config.optimisation.patience is not None and not config.data.validation:
        raise InputError("--patience counts validations on held-out images: hold some out by --validation N")
    where, optimisation, name = config.where, config.optimisation, config.data.data
    accelerator = start(where, precision=optimisation.precision, work="small" if config.arch == "mlp" else "large")
    images, test = (
        datasets.load(name, split, root=where.data_root, image_size=config.data.image_size)
        for split in ("train", "test")
    )
    usual = datasets.DATASETS[name].augmentation if name in datasets.DATASETS else "none"
    augment = usual if config.augment == "auto" else config.augment
    held_out = None
    if config.data.validation:
        images, held_out = split_validation(images, config.data.validation, optimisation.seed)
    mean, std = channel_statistics(images)
    torch.manual_seed(derive(optimisation.seed, "weights"))
    classifier = zoo.build(
        config.arch,
        classes=images.class_names,
        image_shape=images.image_shape,
        penultimate=config.penultimate,
        head_bias=config.head_bias,
        mean=mean,
        std=std,
    )
    classifier.provenance = {"data": name, "made by": f"penult train classifier --arch {config.arch}"}
    width = "" if config.penultimate is None else f"-{config.penultimate}"
    run = Run(where.runs / (where.name or slug(f"{data_label(name)}-{config.arch}{width}-seed{optimisation.seed}")))

    def score(task) -> dict:
        scored = scores(task.networks["model"], sweeping(accelerator), test)
        return {
            "test/accuracy": float(scored["accuracy"].mean()),
            "test/cross-entropy": float(scored["cross-entropy"].mean()),
            "test/images": len(test),
        }

    train(
        verb="train classifier",
        run=run,
        identity=identity(config) | {"data_digest": images.digest},
        accelerator=accelerator,
        images=images,
        build=lambda: Classification(
            classifier, optimisation.seed, held_out or test, held_out is not None, config.label_smoothing
        ),
        score=score,
        optimisation=optimisation,
        where=where,
        following=f"penult prior {run.folder} --concentration 20" if guide else None,
        augmentation=augmentation_for(
            images, flip="flip" in augment, padding=4 if "crop" in augment else 0, fill=config.crop_fill
        ),
    )
