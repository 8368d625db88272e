"""The program of `penult analyse perturb`: what is measured, in which order, and where it goes."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path

import torch
from accelerate import Accelerator
from jaxtyping import Float
from torch import Tensor

from apps.command.console import counted, say
from apps.command.launch import is_first
from apps.data.image_set import ImageSet
from apps.jacobians.drawing import Drawing, usual_blur
from apps.jacobians.methods import Maps, methods
from apps.jacobians.perturbation.found import judged
from apps.jacobians.perturbation.measuring import measure
from apps.jacobians.perturbation.results import FILE, keep
from apps.jacobians.perturbation.retraining import Repeated, repeated, retrain
from apps.jacobians.perturbation.settings import Perturbing
from apps.jacobians.perturbation.tables import print_found
from apps.jacobians.subject import Subject
from apps.jacobians.under import prior_of
from apps.models import named
from apps.models.activations import folder_size, images_for
from apps.runs.evaluations import claim_evaluations
from apps.runs.outputs import check_folder
from apps.training.session import start
from priors.errors import InputError
from priors.zoo import Classifier
from priors.zoo.network import same_classes


@dataclass(frozen=True)
class _Plan:
    """All that one command is to do, found before anything is measured.

    Attributes:
        network: that is explained.
        images: that are measured.
        known: whether they are of the network's classes.
        drawing: the maps.
        again: the training that is repeated; None where none is.
        folder: for what is written; None where nothing is.
    """

    network: Classifier
    images: ImageSet
    known: bool
    drawing: Drawing
    again: Repeated | None
    folder: Path | None


def analyse_perturb(config: Perturbing) -> None:
    """Measure, print, draw and keep.

    Raises:
        InputError: no such model, method or images, maps or outputs that are not finite, or a place that cannot be
            written.
    """
    plan = _plan(config)
    values: dict[str, Float[Tensor, "rows fractions"]]
    if plan.again is None:
        accelerator = start(config.place.where())
        drawing = _under_prior(config, plan, accelerator)
        measured = measure(config, plan.images, plan.network, drawing, accelerator, plan.known)
        values, accuracy = dict(measured.values), measured.accuracy
        same = measured.same
    else:
        training = plan.again.config
        precision, work = training.optimisation.precision, "small" if training.arch == "mlp" else "large"
        accelerator = start(config.place.where(), precision=precision, work=work)
        drawing = _under_prior(config, plan, accelerator)
        values, accuracy = retrain(config, plan.again, plan.network, drawing, accelerator), float("nan")
        same = 0.0
    if not accelerator.is_main_process:
        return
    found = judged(config.parts, values)
    sigma = plan.drawing.sigma
    print_found(config, plan.images, accuracy, same, found, values, sigma)
    if plan.folder is not None:
        from apps.jacobians.perturbation.figures import draw  # the plotting library is slow to load

        picture = f"perturb-{config.benchmark}.png"
        over = counted(config.seeds, "training") if plan.again else counted(len(plan.images), "image")
        draw(plan.folder / picture, config, found, over)
    keep(plan.folder, config, plan.images, list(plan.drawing.methods), sigma, accuracy, found)
    if plan.folder is not None:
        say(f"Written to {plan.folder}: {picture} and {FILE}.")


def _under_prior(config: Perturbing, plan: _Plan, accelerator: Accelerator) -> Drawing:
    """The maps, of log-densities where they are wanted."""
    place = {"data": config.data, "image_size": config.sizes.image_size, "classes": config.sizes.classes}
    place |= {"root": config.place.data_root}
    return replace(plan.drawing, prior=prior_of(config.explained, config.model, config.foreign, accelerator, **place))


def _plan(config: Perturbing) -> _Plan:
    """Find all that the command names."""
    network = named.classifier(config.model, config.foreign)
    wanted = methods(config.asked(captum=find_spec("captum") is not None), config.choices)
    folder = config.out or named.results_in(config.model)
    if config.out is not None:
        check_folder(config.out)
    again = repeated(config) if config.benchmark == "roar" else None
    if again is None:
        size = folder_size(config.model, network, config.data, config.sizes.image_size)
        place = {"data": config.data, "image_size": size, "resize": config.sizes.resize, "root": config.place.data_root}
        place |= {"classes": config.sizes.classes}
        images = images_for(config.model, network, "test", same_classes=False, first=config.images, **place)
    else:
        images = again.test
    found = wanted if config.methods else _fitting(wanted, network, images)
    known = same_classes(network.class_names, images.class_names)
    if config.measured == "accuracy" and not known:
        raise InputError(
            f"--measure accuracy: the classes of {images.name} are not those of {config.model}; give --measure logit"
        )
    sigma = config.blur or usual_blur(*images.image_shape[1:])
    if folder is not None and config.out is None:
        claim_evaluations(folder, FILE)
    drawing = Drawing(found, config.controls, sigma, config.explained.of, config.seed)
    return _Plan(network, images, known, drawing, again, folder)


def _fitting(wanted: Mapping[str, Maps], network: Classifier, images: ImageSet) -> dict[str, Maps]:
    """Those methods that are for such a network; a line says what each other one lacks.

    Raises:
        InputError: none is.
    """
    first = images.subset([0])
    image = (first.images if first.in_memory else first.images.read_all()).float() / 255
    subject = Subject(network, image, torch.zeros(1, dtype=torch.int64))
    found, refused = {}, {}
    for name, method in wanted.items():
        try:
            method(subject)
            found[name] = method
        except InputError as error:
            refused[name] = str(error).removeprefix(f"{name}: ")
    if not found:
        raise InputError(f"no saliency method is for this network: {next(iter(refused.values()))}")
    if is_first():
        for name, why in refused.items():
            say(f"Without {name}: {why}.")
    return found
