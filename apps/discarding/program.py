"""The program of `penult analyse discard`: plan, train decoders, measure, then print, draw and keep."""

from dataclasses import dataclass
from pathlib import Path

import torch
from accelerate import Accelerator

from apps.command.config import Where
from apps.command.console import say
from apps.data.image_set import ImageSet
from apps.discarding.decoders import DecoderRuns, decoders_images
from apps.discarding.measuring import Measured, Measuring
from apps.discarding.networks import Looked, networks
from apps.discarding.results import FILE, MAPS, keep
from apps.discarding.settings import DiscardSettings
from apps.discarding.shown import Shown, shown
from apps.discarding.tables import print_found
from apps.models import named
from apps.models.activations import folder_size, images_for
from apps.runs.evaluations import claim_evaluations
from apps.training.session import agreed, start
from apps.training.train import slug
from priors.errors import InputError
from priors.zoo.network import ImageNetwork


@dataclass(frozen=True)
class _Plan:
    """All that one command is to do, found before anything is trained.

    Attributes:
        config: what was asked for.
        shown: the images that are measured.
        networks: the one that was asked for first.
        decoders: their trainings; None where none are needed.
        where: of this process.
        folder: of pictures and numbers.
    """

    config: DiscardSettings
    shown: Shown
    networks: list[Looked]
    decoders: DecoderRuns | None
    where: Where
    folder: Path


def analyse_discard(config: DiscardSettings) -> dict[str, list[Measured]]:
    """Train decoders where they are needed, measure, print, draw and keep.

    Returns:
        By network, what was found of its layers, in order.

    Raises:
        InputError: something of what is asked for is not there, or does not go together.
    """
    plan = _plan(config)
    accelerator = start(plan.where, precision=config.optimisation.precision)
    if plan.decoders is not None:
        agreed(accelerator, lambda: _check_decoders(plan))
    found = _measured(plan, accelerator)
    if accelerator.is_main_process:
        if config.place.threads is None:
            torch.set_num_threads(1)  # drawing is small operations: a second thread costs more than it brings
        print_found(config, plan.shown, found)
        _keep(plan, found)
    return found


def _plan(config: DiscardSettings) -> _Plan:
    """Find all that the command names."""
    network = named.layered(config.model, config.foreign)
    there = shown(config, network)
    check_grid(config, there.images)
    looked = networks(config, network, there.images.image_shape)
    decoders = None
    if "ru" in config.measured:
        decoders = DecoderRuns(config, decoders_images(config, training_images(config, network, there.images)))
    where = config.where(slug(config.name or f"{Path(config.model).name}-discarded"))
    folder = config.out or config.place.runs / where.name
    claim_evaluations(folder, FILE)
    return _Plan(config, there, looked, decoders, where, folder)


def check_grid(config: DiscardSettings, images: ImageSet) -> None:
    """Make sure that images have as many pixels along each side as the grid has cells.

    Raises:
        InputError: they have not.
    """
    _, height, width = images.image_shape
    if config.noise.grid > min(height, width):
        raise InputError(
            f"--grid {config.noise.grid}: the images are {height}x{width} pixels; give a smaller one, or 0 for a "
            "cell a pixel"
        )


def training_images(config: DiscardSettings, network: ImageNetwork, images: ImageSet) -> ImageSet:
    """The images that decoders are trained on.

    Args:
        config: what was asked for.
        network: whose layers are decoded.
        images: that are measured.

    Raises:
        InputError: nothing says which, or they are of another size.
    """
    if config.data is None and not named.is_run(config.model):
        raise InputError(f"--metrics ru trains decoders: which images are they to see for {config.model}? Give --data")
    size = folder_size(config.model, network, config.data, config.sizes.image_size)
    place = {"data": config.data, "image_size": size, "resize": config.sizes.resize, "root": config.place.data_root}
    place |= {"classes": config.sizes.classes}
    found = images_for(config.model, network, "train", same_classes=False, again=True, **place)
    if found.image_shape != images.image_shape:
        theirs, ours = ("x".join(map(str, one.image_shape)) for one in (found, images))
        raise InputError(f"decoders see images of {theirs} of {found.name}, and those measured are {ours}: of one size")
    return found


def _check_decoders(plan: _Plan) -> None:
    for looked in plan.networks:
        for layer in looked.layers:
            plan.decoders.check(looked, layer)


def _measured(plan: _Plan, accelerator: Accelerator) -> dict[str, list[Measured]]:
    """By network; all decoders first, which is what takes long."""
    decoders = {
        (looked.name, layer): plan.decoders.trained(looked, layer, accelerator)
        for looked in plan.networks
        for layer in looked.layers
        if plan.decoders is not None
    }
    measuring = Measuring(plan.config, plan.shown.images, plan.shown.objects, plan.folder / "parts", accelerator)
    found = {}
    for looked in plan.networks:
        looked.network.to(accelerator.device)
        found[looked.name] = [
            measuring.of(looked, layer, decoders.get((looked.name, layer))) for layer in looked.layers
        ]
        looked.network.cpu()
    return found


def _keep(plan: _Plan, found: dict[str, list[Measured]]) -> None:
    """The pictures, the maps and the numbers, which come last."""
    from apps.discarding.figures import draw_curves, draw_maps  # the plotting library is slow to load

    files = ["discard.png"]
    draw_curves(plan.folder / files[0], plan.config, found, len(plan.shown.images))
    for metric in ("sid", "ru"):
        if plan.config.shown and metric in plan.config.measured:
            files.append(f"discard-{metric}.png")
            draw_maps(plan.folder / files[-1], plan.config, plan.shown, found, metric)
    keep(plan.folder, plan.config, plan.shown, found)
    say(f"Written to {plan.folder}: {', '.join([*files, MAPS])} and {FILE}.")
