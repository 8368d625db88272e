"""GAN-train and GAN-test accuracy of a conditional generator (Shmelkov, Schmid and Alahari, ECCV 2018).

GAN-test is the accuracy on generated images of a classifier that was trained on real ones: whether images look like
their class. GAN-train is the accuracy on real test images of one that was trained on generated ones: whether they also
vary as real ones do. Both are read beside the accuracy on real test images of the classifier trained on real ones.
"""

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from hashlib import blake2b
from pathlib import Path

from accelerate import Accelerator

from apps.classifiers.settings import ClassifierTraining
from apps.classifiers.training import train_on, training_of
from apps.command.config import Place, identity, older_values, without_older
from apps.command.console import table
from apps.data.image_set import ImageSet
from apps.data.sources.catalogue import augmenting
from apps.fidelity.drawn_set import drawn_set
from apps.models import named
from apps.models.accuracy import by_class, scores
from apps.models.generator import Generator
from apps.runs.run import Run
from apps.training.session import on_main, sweeping
from apps.training.train import slug
from priors.errors import InputError
from priors.storage import digest_of
from priors.zoo import Classifier


@dataclass(frozen=True)
class Accuracy:
    """How often a classifier finds the class of an image."""

    value: float
    """Fraction of all images."""
    by_class: dict[str, float]
    """Fraction of each class's, by its name; without the classes that have none."""
    images: int

    def named(self, name: str) -> dict:
        """The scores as a run's evaluation.json has them."""
        return {name: self.value, f"{name} by class": self.by_class}


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


def check(model: Generator, run: Path, network: Classifier, by: str, test: ImageSet) -> None:
    """Make sure that a classifier can be given a generator's images, and both the real ones.

    Args:
        model: the generator.
        run: its folder.
        network: the classifier.
        by: the MODEL that it is on the command line.
        test: real images.

    Raises:
        InputError: an unconditional generator, other classes, another shape, or a classifier trained on generated
            images.
    """
    if not model.conditional:
        raise InputError(
            f"{run} is an unconditional {model.title}: its images have no classes to be found; give a conditional one"
        )
    for names, source in ((model.class_names, str(run)), (network.class_names, by)):
        named.check_classes(names, source, test)
    for shape, source in ((network.image_shape, by), (test.image_shape, test.name)):
        if shape is not None and tuple(shape) != tuple(model.image_shape):
            ours, theirs = ("x".join(map(str, one)) for one in (model.image_shape, shape))
            raise InputError(
                f"the images of {run} are {ours} (channels x height x width), those of {source} {theirs}: they must "
                "agree"
            )
    if named.is_run(by) and "generator_digest" in Run(by).config()["config"]:
        raise InputError(f"{by} was trained on generated images: give a classifier that was trained on real ones")


def accuracy(network: Classifier, images: ImageSet, sweep: Callable) -> Accuracy:
    """How often the class of an image is found, on the device of the sweep."""
    found = scores(network, sweep, images)["accuracy"].double()
    return Accuracy(float(found.mean()), by_class(found, images), len(images))


def gan_test(
    model: Generator, network: Classifier, test: ImageSet, sweep: Callable, seed: int, *, name: str, store: Path
) -> Accuracy:
    """Accuracy of a classifier on generated images: as many of each class as a set of real ones has.

    Args:
        model: in evaluation mode, on the device of the sweep.
        network: trained on real images; likewise.
        test: the set.
        sweep: with its processes given.
        seed: of the draws.
        name: of the generator.
        store: a folder that a stopped drawing goes on from.

    Raises:
        InputError: an image is not finite.
    """
    return accuracy(network, drawn_set(model, counts_of(test), sweep, seed, name=name, store=store), sweep)


def counts_of(images: ImageSet) -> tuple[int, ...]:
    """How many images of each class there are."""
    return tuple(images.labels.cpu().bincount(minlength=images.classes).tolist())


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


def show(
    run: Path,
    by: str,
    test: ImageSet,
    on_reals: Accuracy,
    found: Mapping[str, Accuracy],
    seed: int,
    training: Training | None,
) -> None:
    """A table of the accuracies by class, with the classifier's own on real images beside them.

    Args:
        run: the generator's folder.
        by: the classifier.
        test: real images.
        on_reals: of the classifier.
        found: by what it is called.
        seed: of the draws.
        training: of GAN-train's classifier, where there is one.
    """
    columns = {"classifier": on_reals, **found}
    lines = [
        (name, *(f"{one.by_class[name]:.2%}" if name in one.by_class else "-" for one in columns.values()))
        for name in on_reals.by_class
    ]
    lines.append(("all", *(f"{one.value:.2%}" for one in columns.values())))
    said = [
        f"classifier: {by}, trained on real images, on {len(test):,} real test images of {test.name}",
        f"GAN-test: the same on {found['GAN-test'].images:,} generated ones",
    ]
    if training:
        count = sum(training.counts)
        said.append(
            f"GAN-train: one like it trained on {count:,} generated images, {training.folder}, on the real ones"
        )
    table(
        f"{run.name}: accuracy by class, seed {seed}",
        ("class", *columns),
        lines,
        "; ".join(said) + "; as many generated images of each class as there are real ones",
    )
