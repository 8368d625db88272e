"""The classifier of GAN-train accuracy: trained as another one was, on generated images instead of real ones."""

import json
import shutil
from dataclasses import dataclass, replace
from hashlib import blake2b
from pathlib import Path

from accelerate import Accelerator

from apps.classifiers.settings import ClassifierTraining
from apps.classifiers.training import train_on, training_of
from apps.command.config import Place, identity, older_values, without_older
from apps.data.image_set import ImageSet
from apps.data.sources.catalogue import augmenting
from apps.fidelity.drawn_set import drawn_set
from apps.fidelity.gan_accuracy import Accuracy, accuracy, counts_of
from apps.models import named
from apps.models.generator import Generator
from apps.runs.run import Run
from apps.training.session import on_main, sweeping
from apps.training.train import slug
from priors.errors import InputError
from priors.files.tensors import digest_of


@dataclass(frozen=True)
class Training:
    """The classifier of GAN-train: what it is told, and where it is kept.

    Attributes:
        config: its own, which is that of a classifier trained on real images.
        given: what its run's configuration says of the images.
        folder: its run's.
        counts: images of each class that are drawn to train on: as many as the training set has.
        format: number that its run gets, which is the other's: see `apps.runs.format`.
    """

    config: ClassifierTraining
    given: dict
    folder: Path
    counts: tuple[int, ...]
    format: int


def training_like(by: str, model: Generator, run: Path, train: ImageSet, seed: int, place: Place) -> Training:
    """What trains a classifier as another one was trained, on generated images instead of real ones.

    It is kept in the generator's run, in a folder that is named by the other one, the seed and a digest of all that
    decides its numbers: another protocol goes beside it.

    Args:
        by: the run of the other.
        model: the generator.
        run: its folder.
        train: real images: as many of each class are drawn.
        seed: of the draws.
        place: where things are, and what computes.

    Raises:
        InputError: `by` is no run of `penult train classifier`.
    """
    if not named.is_run(by):
        raise InputError(f"--gan-train trains as a run of penult train classifier was trained, and {by} is none")
    other = Run(by)
    config = training_of(other)
    given = {
        "data_digest": train.digest,
        "generator_digest": digest_of(model.state_dict()),
        "generated": len(train),
        "generated_seed": seed,
    }
    # What is usual is known by the name of the data set that the other one was trained on.
    config = replace(config, augment=augmenting(config.augment, config.data.data))
    told = json.dumps(without_older(identity(config), older_values(config)) | given, sort_keys=True)
    name = slug(f"{Path(by).resolve().name}-seed{seed}-{blake2b(told.encode(), digest_size=4).hexdigest()}")
    home = run / "gan-train"
    config = replace(config, where=replace(place, runs=home).where(name))
    return Training(config, given, home / name, counts_of(train), other.format)


def gan_train(
    training: Training, model: Generator, test: ImageSet, scored: ImageSet, accelerator: Accelerator, *, name: str
) -> Accuracy:
    """Accuracy on real images of a classifier trained on generated ones; it is trained, or its training goes on.

    Args:
        training: of the classifier.
        model: in evaluation mode, on the device.
        test: real images that its run is scored on.
        scored: those of them that the accuracy is of.
        accelerator: of this process.
        name: of the generator.

    Raises:
        InputError: an image is not finite, or the training cannot be done.
        Interrupted, Diverged: as for any training.
    """
    sweep = sweeping(accelerator, progress=True)
    run, parts = Run(training.folder, training.format), training.folder.with_name(f"{training.folder.name}.parts")
    if not run.finished:
        images = drawn_set(model, training.counts, sweep, training.given["generated_seed"], name=name, store=parts)
        train_on(
            training.config,
            run,
            accelerator,
            images,
            test,
            provenance={"data": f"{len(images):,} images drawn by {name}", "made by": "penult evaluate --gan-train"},
            verb="evaluate",
            given=training.given,
        )
    on_main(accelerator, lambda: shutil.rmtree(parts, ignore_errors=True))
    network = named.classifier(str(training.folder)).to(accelerator.device)
    return accuracy(network, scored, sweep)
