"""Accuracies with the norms of activations and weights taken out, in one gauge or in each: scored, printed and kept."""

from functools import partial

from accelerate import Accelerator
from torch import Tensor
from torchvision.transforms.functional import center_crop

from apps.classifiers.normalised.gauges import (
    UNMEASURED,
    InGauge,
    folded,
    gauges_of,
    in_gauges,
    on_training_images,
)
from apps.classifiers.normalised.results import keep, place
from apps.classifiers.normalised.tables import print_gauges, print_variants
from apps.classifiers.settings import NormalisedScoring
from apps.command.console import counted, say
from apps.data import sources
from apps.data.image_set import ImageSet
from apps.data.sweep import fewer_if_large
from apps.models import named
from apps.models.activations import activations, folder_size, images_for
from apps.runs.evaluations import claim_evaluations, first_images
from apps.runs.outputs import check_file
from apps.training.session import start
from priors.errors import InputError
from priors.zoo import Classifier


def score_normalised(config: NormalisedScoring) -> None:
    """Classify the test images in each way, print the accuracies and add them to the file.

    Raises:
        InputError: no such model or images, a gauge that cannot be measured, a place that cannot be written, or a
            network that has diverged.
    """
    path = place(config)
    if config.out is not None:
        check_file(config.out, (".json",), overwrite=True)  # it is added to
    network = named.classifier(config.model, config.foreign)
    earlier = claim_evaluations(path.parent, path.name) if path else []
    whole, cut = _images(config, network, "test")
    training = _training(config, network, whole) if config.measured() and config.folds is None else None
    images, first = first_images(whole, config.images)
    accelerator = start(config.place.where())
    scores, without = _scores(config, network, images, training, cut, accelerator)
    if not accelerator.is_main_process:
        return
    how = _measured_on(config, training)
    print_variants(config.model, images.name, scores[0], how)
    if config.every_gauge:
        print_gauges(scores, without, how)
    keep(path, config, images, first, training, scores, earlier)
    if path is not None:
        say(f"Written to {path}.")


def _images(config: NormalisedScoring, network: Classifier, split: str) -> tuple[ImageSet, partial[Tensor] | None]:
    """The images of a split, and what cuts out their centre where there is a margin."""
    root, again = config.place.data_root, split == "train"
    size = folder_size(config.model, network, config.data, config.image_size)
    if config.resize is None:
        place = {"data": config.data, "image_size": size, "classes": config.classes, "root": root}
        return images_for(config.model, network, split, **place, again=again), None
    if size is None or not config.data:
        raise InputError(f"--resize {config.resize} is for image folders: give --data FOLDER, and --image-size")
    if config.resize < size:
        raise InputError(f"--resize {config.resize}: nothing of {size}x{size} can be cut out of that")
    brought = {"image_size": config.resize, "classes": config.classes, "known": network.class_names}
    images = sources.load(config.data, split, root=root, **brought)
    made_of = None if again else network.provenance.get("data")
    named.check_classes(network.class_names, config.model, images, made_of)
    return images, partial(center_crop, output_size=[size, size])


def _training(config: NormalisedScoring, network: Classifier, scored: ImageSet) -> ImageSet:
    """The images that gauges are measured on, which must not be those that are scored."""
    advice = "--folds 2 measures on the test images, each half for the other"
    try:
        images, _ = _images(config, network, "train")
    except InputError as error:
        raise InputError(f"{config.measured()} measures activations of training images: {error}; {advice}") from None
    if images.digest == scored.digest:
        raise InputError(
            f"{config.measured()} measures activations of training images, and those of {images.name} are the test "
            f"images: {advice}"
        )
    return images


def _scores(
    config: NormalisedScoring,
    network: Classifier,
    images: ImageSet,
    training: ImageSet | None,
    cut: partial[Tensor] | None,
    accelerator: Accelerator,
) -> tuple[list[InGauge], list[str]]:
    """Accuracies in the gauges that are asked for, the paper's being the first of several, and what is missing.

    They are for the first process, which alone gets the activations.
    """
    gauges, measured = gauges_of(config), UNMEASURED
    if training is not None:
        measured = on_training_images(gauges, network, training, accelerator, cut)
    given = {"prepare": cut, "batch_size": fewer_if_large(images)}
    found = activations(network, images, accelerator, **given, first=True)
    if found is None:
        return [], []
    if config.folds is not None:
        return folded(gauges, network, found, config.folds, config.seed)
    return in_gauges(gauges, network, found, measured)


def _measured_on(config: NormalisedScoring, training: ImageSet | None) -> str:
    """By which images gauges were measured, in words."""
    if config.folds is not None:
        parts = counted(config.folds, "random part")
        return f"measured on the other images of {parts} of the test images (--seed {config.seed})"
    return "" if training is None else f"measured on {counted(len(training), 'training image')} of {training.name}"
