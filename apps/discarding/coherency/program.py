"""The program of `penult analyse coherency`: plan, train decoders, compare, then print, draw and keep."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from accelerate import Accelerator

from apps.command.config import Where
from apps.command.console import say
from apps.command.errors import Unmet
from apps.discarding.coherency.comparing import Comparing, Comparison, first_images, halved_look, revised_look
from apps.discarding.coherency.features import Handed, handed_on
from apps.discarding.coherency.results import FILE, keep
from apps.discarding.coherency.settings import CoherencySettings
from apps.discarding.coherency.tables import print_found, unmet
from apps.discarding.decoders import DecoderRuns, decoders_images
from apps.discarding.measuring import DeadLayer
from apps.discarding.networks import Looked, networks
from apps.discarding.program import check_grid, training_images
from apps.discarding.shown import Shown, shown
from apps.models import named
from apps.models.layers import inner
from apps.runs.evaluations import claim_evaluations
from apps.training.session import agreed, start
from apps.training.train import slug


@dataclass(frozen=True)
class _Plan:
    """All that one command is to do, found before anything is trained.

    Attributes:
        config: what was asked for.
        shown: the images.
        looked: the network, and its features by name.
        handed: the features, in order.
        refused: by layer, why a scale cannot be moved from it.
        decoders: their trainings; None where none are needed.
        where: of this process.
        folder: of pictures and numbers.
    """

    config: CoherencySettings
    shown: Shown
    looked: Looked
    handed: list[Handed]
    refused: Mapping[str, str]
    decoders: DecoderRuns | None
    where: Where
    folder: Path


def analyse_coherency(config: CoherencySettings) -> list[Comparison]:
    """Train decoders where they are needed, compare, print, draw and keep.

    Returns:
        By layer, in order, what was found.

    Raises:
        InputError: something of what is asked for is not there, or does not go together.
        Unmet: an entropy changed that must not, or did not change where it must.
    """
    plan = _plan(config)
    accelerator = start(plan.where, precision=config.optimisation.precision)
    agreed(accelerator, lambda: _check(plan, accelerator))
    found, dead = _compared(plan, accelerator)
    if accelerator.is_main_process:
        if config.place.threads is None:
            torch.set_num_threads(1)  # drawing is small operations: a second thread costs more than it brings
        refused = {**plan.refused, **dead}
        print_found(config, plan.shown, plan.looked.name, found, refused)
        _keep(plan, found, refused)
    if said := unmet(found):
        raise Unmet(said)
    return found


def _plan(config: CoherencySettings) -> _Plan:
    """Find all that the command names."""
    network = named.classifier(config.model, config.foreign)
    there = shown(config, network)
    check_grid(config, there.images)
    images = torch.rand(2, *there.images.image_shape, generator=torch.Generator().manual_seed(0))
    handed, refused = handed_on(network, images, config.asked_layers)
    (looked,) = networks(replace(config, taps=tuple(one.name for one in handed)), network, there.images.image_shape)
    decoders = None
    if "ru" in config.measured:
        decoders = DecoderRuns(config, decoders_images(config, training_images(config, network, there.images)))
    where = config.where(slug(config.name or f"{Path(config.model).name}-coherency"))
    folder = config.out or config.place.runs / where.name
    claim_evaluations(folder, FILE)
    return _Plan(config, there, looked, handed, refused, decoders, where, folder)


def _check(plan: _Plan, accelerator: Accelerator) -> None:
    """Revise each layer once, and look for the runs of decoders, before anything is trained or measured."""
    plan.looked.network.to(accelerator.device)
    images = first_images(plan.shown.images, accelerator)
    for handed in plan.handed:
        revised = revised_look(plan.config, plan.looked, handed, images)
        if plan.config.halved != "none":
            halved_look(plan.config, plan.looked, handed, images)
        if plan.decoders is not None:
            plan.decoders.check(plan.looked, handed.name)
        if plan.config.retrained:
            plan.decoders.check(revised, handed.name)
    plan.looked.network.cpu()


def _compared(plan: _Plan, accelerator: Accelerator) -> tuple[list[Comparison], dict[str, str]]:
    """By layer, all decoders first, which is what takes long; and of dead layers that nobody named, that they are.

    Raises:
        InputError: a dead layer that was named, or no other one.
    """
    trained, again = {}, {}
    if plan.decoders is not None:
        trained = {one.name: plan.decoders.trained(plan.looked, one.name, accelerator) for one in plan.handed}
    if plan.config.retrained:
        plan.looked.network.to(accelerator.device)
        images = first_images(plan.shown.images, accelerator)
        for handed in plan.handed:
            revised = revised_look(plan.config, plan.looked, handed, images)
            again[handed.name] = plan.decoders.trained(revised, handed.name, accelerator)
    plan.looked.network.to(accelerator.device)
    comparing = Comparing(plan.config, plan.shown, plan.looked, plan.folder / "coherency-parts", accelerator)
    found, dead = [], {}
    for one in plan.handed:
        try:
            found.append(comparing.of(one, trained.get(one.name), again.get(one.name)))
        except DeadLayer:
            if plan.config.asked_layers or (not found and one is plan.handed[-1]):
                raise
            dead[one.pair.first.removeprefix(inner(plan.looked.network))] = (
                "the layer is dead: no image moves its features"
            )
    plan.looked.network.cpu()
    return found, dead


def _keep(plan: _Plan, found: list[Comparison], refused: Mapping[str, str]) -> None:
    """The pictures, and the numbers, which come last."""
    from apps.discarding.coherency.figures import draw_layers, draw_maps  # the plotting library is slow to load

    files = ["coherency-layers.png"]
    draw_layers(plan.folder / files[0], plan.config, found, len(plan.shown.images))
    if plan.config.shown:
        files.insert(0, "coherency.png")
        draw_maps(plan.folder / files[0], plan.config, plan.shown, found)
    keep(plan.folder, plan.config, plan.shown, found, refused)
    say(f"Written to {plan.folder}: {', '.join(files)} and {FILE}.")
