"""The program of `penult analyse robustness`: change images, then print, draw and keep."""

from dataclasses import dataclass
from pathlib import Path

from apps.classifiers.robustness.attacks import require_foolbox
from apps.classifiers.robustness.measuring import Robustness, measure
from apps.classifiers.robustness.results import FILE, NORMS, keep
from apps.classifiers.robustness.settings import RobustnessMeasuring
from apps.classifiers.robustness.tables import print_found
from apps.command.console import say
from apps.command.options import check_values
from apps.data.image_set import ImageSet
from apps.models import named
from apps.models.activations import folder_size, images_for
from apps.models.represented import check_weights
from apps.runs.evaluations import claim_evaluations, first_images
from apps.training.session import start
from priors.errors import InputError
from priors.zoo import Classifier
from priors.zoo.network import same_classes

PICTURE = "robustness.png"


@dataclass(frozen=True)
class _Plan:
    """All that one command is to do, found before anything is changed.

    Attributes:
        network: that is asked.
        images: that are changed.
        known: whether their labels are the network's classes.
        folder: for what is written; None where nothing is.
    """

    network: Classifier
    images: ImageSet
    known: bool
    folder: Path | None


def analyse_robustness(config: RobustnessMeasuring) -> Robustness:
    """Change images towards wrong classes, print, draw and keep.

    Raises:
        InputError: no such model or images, labels that are not the network's, a package that is missing, a place that
            cannot be written, or no class that is reached.
    """
    check_values(config)
    plan = _plan(config)
    accelerator = start(config.place.where())
    store = None if plan.folder is None else plan.folder / "robustness-parts"
    found = measure(config, plan.network.to(accelerator.device), plan.images, plan.known, store, accelerator)
    if accelerator.is_main_process:
        print_found(config, plan.images, found)
        if plan.folder is not None:
            _draw(config, plan, found)
        keep(plan.folder, config, plan.images, found)
        if plan.folder is not None:
            say(f"Written to {plan.folder}: {PICTURE}, {NORMS} and {FILE}.")
    return found


def _plan(config: RobustnessMeasuring) -> _Plan:
    """Find all that the command names."""
    require_foolbox(config.method)
    network = named.classifier(config.model, config.foreign)
    check_weights(config.model, config.foreign, network)
    size = folder_size(config.model, network, config.data, config.image_size)
    place = {
        "data": config.data,
        "image_size": size,
        "resize": config.resize,
        "classes": config.classes,
        "root": config.place.data_root,
    }
    whole = images_for(config.model, network, "test", same_classes=False, **place)
    images, _ = first_images(whole, config.images)
    known = same_classes(network.class_names, images.class_names)
    if config.departure == "label" and not known:
        raise InputError(
            f"--from label: the classes of {images.name} are not those of {config.model}; give --from prediction"
        )
    folder = config.out or named.results_in(config.model)
    if folder is not None:
        claim_evaluations(folder, FILE)
    return _Plan(network, images, known, folder)


def _draw(config: RobustnessMeasuring, plan: _Plan, found: Robustness) -> None:
    """The picture."""
    from apps.classifiers.robustness.figures import draw  # the plotting library is slow to load

    title = (
        f"{Path(config.model).name}: changes of {len(plan.images):,} images of {plan.images.name}, by {config.method}"
    )
    draw(plan.folder / PICTURE, found, title)
