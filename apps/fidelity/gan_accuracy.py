"""GAN-train and GAN-test accuracy of a conditional generator (Shmelkov, Schmid and Alahari, ECCV 2018).

GAN-test is the accuracy on generated images of a classifier that was trained on real ones: whether images look like
their class. GAN-train is the accuracy on real test images of one that was trained on generated ones: whether they also
vary as real ones do. Both are read beside the accuracy on real test images of the classifier trained on real ones.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from apps.data.image_set import ImageSet
from apps.fidelity.drawn_set import drawn_set
from apps.models import named
from apps.models.accuracy import by_class, scores
from apps.models.generator import Generator
from apps.runs.run import Run
from priors.errors import InputError
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
    if network.image_shape not in (None, shape := tuple(model.image_shape)):
        ours, theirs = ("x".join(map(str, one)) for one in (shape, network.image_shape))
        raise InputError(
            f"the images of {run} are {ours} (channels x height x width), those of {by} {theirs}: they must agree"
        )
    for names, source, made_of in (
        (model.class_names, str(run), named.trained_on(Run(run)).data),
        (network.class_names, by, network.provenance.get("data")),
    ):
        named.check_classes(names, source, test, made_of, shape)
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
