"""Train a classifier from the zoo with cross-entropy; the same command again resumes it."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, Literal

import tyro

from apps.command.config import Data, Optimisation, Where, identity

if TYPE_CHECKING:
    from accelerate import Accelerator

    from apps.data.image_set import ImageSet
    from apps.runs.run import Run


@dataclass(frozen=True)
class Config:
    """Train a classifier."""

    data: tyro.conf.OmitArgPrefixes[Data] = field(default_factory=Data)
    train_images: int | None = None
    """Images to train on, as many of each class, of those that --validation leaves; epochs are of these; unset: all."""
    arch: str = "mlp"
    """Architecture: a name of `penult ls classifiers`, or torchvision:NAME."""
    penultimate: int | None = None
    """Width of the penultimate layer; unset: the architecture's own."""
    head_bias: bool = True
    """Whether the final layer has a bias."""
    dropout: float | None = None
    """Dropout rate, of architectures that have one; unset: the architecture's own."""
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
    from apps.data import sources
    from apps.runs.run import Run
    from apps.training.session import start
    from apps.training.train import data_label, slug
    from priors.errors import InputError

    if not 0 <= config.label_smoothing < 1:
        raise InputError(f"--label-smoothing {config.label_smoothing}: expected a weight of 0 or more, and less than 1")
    if config.optimisation.patience is not None and not config.data.validation:
        raise InputError("--patience counts validations on held-out images: hold some out by --validation N")
    where, optimisation, name = config.where, config.optimisation, config.data.data
    accelerator = start(where, precision=optimisation.precision, work="small" if config.arch == "mlp" else "large")
    images, test = (
        sources.load(name, split, root=where.data_root, image_size=config.data.image_size)
        for split in ("train", "test")
    )
    told = {"": config.penultimate, "dropout": config.dropout, "images": config.train_images}
    variant = "".join(f"-{word}{value}" for word, value in told.items() if value is not None)
    run = Run(where.runs / (where.name or slug(f"{data_label(name)}-{config.arch}{variant}-seed{optimisation.seed}")))
    train_on(
        config,
        run,
        accelerator,
        images,
        test,
        provenance={"data": name, "made by": f"penult train classifier --arch {config.arch}"},
        following=f"penult prior {run.folder} --concentration 20" if guide else None,
    )


def train_on(
    config: Config,
    run: "Run",
    accelerator: "Accelerator",
    images: "ImageSet",
    test: "ImageSet",
    *,
    provenance: dict[str, str],
    verb: str = "train classifier",
    given: Mapping[str, Any] | None = None,
    following: str | None = None,
) -> dict[str, Any]:
    """Train, or resume, on images that are there already; returns the result.

    Args:
        config: what to train, and how.
        run: its folder.
        accelerator: of this process.
        images: to train on; some are held out, or left out, where `config` says so.
        test: what it is scored on.
        provenance: where the weights come from, in words.
        verb: what made the run.
        given: what the run's configuration says of the images; None: their digest.
        following: the command to type next.

    Raises:
        InputError: as for `apps.training.train.train`, or the architecture does not take such images.
    """
    import torch

    from apps.classifiers.classification import Classification, scores
    from apps.data.augment import augmentation_for
    from apps.data.image_set import balanced_subset, channel_statistics, split_validation
    from apps.seeds import derive
    from apps.training.session import sweeping
    from apps.training.train import train
    from priors import zoo

    optimisation, augment = config.optimisation, augmenting(config.augment, config.data.data)
    held_out = None
    if config.data.validation:
        images, held_out = split_validation(images, config.data.validation, optimisation.seed)
    if config.train_images is not None:
        images = balanced_subset(images, config.train_images, optimisation.seed)
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
        **({} if config.dropout is None else {"dropout": config.dropout}),
    )
    classifier.provenance = provenance

    def score(task) -> dict:
        scored = scores(task.networks["model"], sweeping(accelerator), test)
        return {
            "test/accuracy": float(scored["accuracy"].mean()),
            "test/cross-entropy": float(scored["cross-entropy"].mean()),
            "test/images": len(test),
        }

    return train(
        verb=verb,
        run=run,
        identity=identity(config) | ({"data_digest": images.digest} if given is None else dict(given)),
        accelerator=accelerator,
        images=images,
        build=lambda: Classification(
            classifier, optimisation.seed, held_out or test, held_out is not None, config.label_smoothing
        ),
        score=score,
        optimisation=optimisation,
        where=config.where,
        following=following,
        augmentation=augmentation_for(
            images, flip="flip" in augment, padding=4 if "crop" in augment else 0, fill=config.crop_fill
        ),
    )


def augmenting(augment: str, data: str) -> str:
    """How images are augmented: what --augment says, or what is usual for a data set."""
    from apps.data.sources.catalogue import DATASETS

    usual = DATASETS[data].augmentation if data in DATASETS else "none"
    return usual if augment == "auto" else augment


def configuration_of(run: "Run") -> Config:
    """What a run of this verb was told; what its configuration does not hold has its default.

    Raises:
        InputError: another verb made it, or its configuration is damaged.
    """
    from priors.errors import InputError

    stored = run.config()
    if stored["verb"] != "train classifier":
        raise InputError(f"{run.folder} was made by penult {stored['verb']}, expected a run of penult train classifier")
    # JSON has lists where a configuration has tuples.
    flat = {name: tuple(value) if isinstance(value, list) else value for name, value in stored["config"].items()}

    def section(kind, **sections):
        return kind(**{part.name: flat[part.name] for part in fields(kind) if part.name in flat} | sections)

    try:
        return section(Config, data=section(Data), optimisation=section(Optimisation))
    except (InputError, TypeError) as error:
        said = str(error).partition("\n")[0]
        raise InputError(f"{run.folder}/config.json is no configuration of a classifier ({said})") from None
