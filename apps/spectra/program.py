"""The program of `penult analyse spectrum`: what is measured, in which order, and where it goes."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from accelerate import Accelerator

from analysis.spectra.convention import SpectrumConvention
from apps.classifiers.stages import Stage, stages
from apps.command.console import say
from apps.data import sources
from apps.data.image_set import ImageSet
from apps.models import named
from apps.models.activations import folder_size, images_for
from apps.runs.evaluations import claim_evaluations, first_images
from apps.runs.outputs import check_folder
from apps.spectra.beside import Beside, beside
from apps.spectra.convention import wanted
from apps.spectra.exponents import read
from apps.spectra.found import Part
from apps.spectra.measuring import measure
from apps.spectra.results import FILE, keep
from apps.spectra.settings import ALONE, SpectrumMeasuring
from apps.spectra.sites import MapSite, map_sites
from apps.spectra.tables import print_images, print_network, print_splits, print_training
from apps.spectra.untrained import untrained
from apps.training.session import start
from priors.errors import InputError
from priors.zoo import Classifier
from priors.zoo.network import same_classes


@dataclass(frozen=True)
class _Networked:
    """A network whose layers are to be measured."""

    name: str
    kind: str
    network: Classifier
    sites: list[MapSite]
    without: list[str]
    step: int | None = None


@dataclass(frozen=True)
class _Plan:
    """All that one command is to do, found before anything is measured."""

    config: SpectrumMeasuring
    convention: SpectrumConvention
    images: ImageSet
    networks: list[_Networked]
    others: list[Beside]
    snapshots: list[Stage]
    folder: Path | None


def analyse_spectrum(config: SpectrumMeasuring) -> None:
    """Measure, print, draw and keep.

    Raises:
        InputError: no such model, layer or images, a layer without maps, values that are not finite, or a place that
            cannot be written.
    """
    plan = _plan(config)
    accelerator = start(config.place.where())
    networks = [_measured(plan, one, accelerator) for one in plan.networks]
    images = list(_images(plan, networks, accelerator))
    training = list(_moments(plan, networks[0], accelerator)) if plan.snapshots else []
    if not accelerator.is_main_process:
        return
    for part in networks:
        print_network(part, plan.convention)
    if images:
        print_images(images, plan.convention, [f"{one.name}: {one.note}" for one in plan.others if one.note])
    print_splits((networks or images)[0])
    if training:
        print_training(training)
    _keep(plan, networks, images, training)


def _plan(config: SpectrumMeasuring) -> _Plan:
    """Find all that the command names."""
    convention = wanted(config.spectrum)
    folder = config.out or (None if config.model == ALONE else named.results_in(config.model))
    if config.out is not None:
        check_folder(config.out)
    root, networks, kept = config.place.data_root, [], []
    if config.model == ALONE:
        brought = {"image_size": config.image_size, "classes": config.classes}
        whole = sources.load_pictures(config.data, "test", root=root, **brought)
    else:
        network = named.classifier(config.model, config.foreign)
        size = folder_size(config.model, network, config.data, config.image_size)
        place = {
            "data": config.data,
            "image_size": size,
            "resize": config.resize,
            "classes": config.classes,
            "root": root,
        }
        whole = images_for(config.model, network, "test", same_classes=False, first=config.images, **place)
        if "correct" in config.by and not same_classes(network.class_names, whole.class_names):
            raise InputError(f"--by correct: the classes of {whole.name} are not those of {config.model}; leave it out")
    images, _ = first_images(whole, config.images)
    others = beside(config.against, images, root, config.seed)
    if config.model != ALONE:
        kept = _stages(config)
        own = [(config.model, "network", network)]
        if config.untrained:
            fresh = untrained(network, config.model, config.seed)
            own.append((f"{config.model}, untrained", "untrained", fresh))
        own += [(one.name, "other network", one.network) for one in others if one.network is not None]
        networks = [
            _Networked(name, kind, one, *map_sites(one, config.taps, images.image_shape)) for name, kind, one in own
        ]
    if folder is not None and config.out is None:
        claim_evaluations(folder, FILE)
    return _Plan(config, convention, images, networks, others, kept, folder)


def _stages(config: SpectrumMeasuring) -> list[Stage]:
    """The moments of the run's training that are measured; none where they were not asked for."""
    if not config.snapshots:
        return []
    found = stages(config.model, named.open_run(config.model)) if named.is_run(config.model) else []
    if len(found) < 2 or any(one.step is None for one in found):
        raise InputError(
            f"--snapshots: {config.model} has none; train it with penult train classifier --snapshots 0 100 1000 10000"
        )
    return found


def _moments(plan: _Plan, network: Part, accelerator: Accelerator) -> Iterator[Part]:
    """The run's network at each of its moments, as it was measured already at the end; one is held at a time."""
    for stage in plan.snapshots:
        if stage.final:
            yield replace(network, kind="snapshot", step=stage.step)
            continue
        earlier = named.classifier(stage.model)
        sites = map_sites(earlier, plan.config.taps, plan.images.image_shape)
        yield _measured(plan, _Networked(plan.config.model, "snapshot", earlier, *sites, stage.step), accelerator)


def _measured(plan: _Plan, one: _Networked, accelerator: Accelerator) -> Part:
    """A network on the images."""
    first = one.kind == "network"
    found = measure(
        plan.images,
        one.network,
        one.sites,
        plan.convention,
        accelerator,
        with_images=first,
        pooled=plan.config.pooled and first,
        by=plan.config.by if first else (),
        description=f"spectra of {one.name}" + ("" if one.step is None else f", step {one.step}"),
    )
    one.network.cpu()
    spectra = read(found.sums, with_bias=one.kind != "snapshot")
    return Part(
        name=one.name,
        kind=one.kind,
        images=plan.images.name,
        count=len(plan.images),
        sites=tuple(one.sites),
        spectra=spectra,
        accuracy=found.accuracy,
        step=one.step,
        without=tuple(one.without),
    )


def _images(plan: _Plan, networks: list[Part], accelerator: Accelerator) -> Iterator[Part]:
    """The images themselves and others beside them; nothing where a network was measured and there are no others."""
    there = [(one, drawn) for one in plan.others if (drawn := one.drawn(plan.images, accelerator, plan.config.seed))]
    if networks and not there:
        return
    if networks:
        own = networks[0]
        yield Part(plan.images.name, "images", own.images, own.count, (), own.spectra)
    else:
        yield _set(plan, plan.images.name, plan.images, accelerator, plan.config.by)
    for one, images in there:
        some, _ = first_images(images, plan.config.images)
        yield _set(plan, one.name, some, accelerator)


def _set(plan: _Plan, name: str, images: ImageSet, accelerator: Accelerator, by: Sequence[str] = ()) -> Part:
    """A set of images alone."""
    how = {"pooled": plan.config.pooled, "by": by, "description": f"spectra of {name}"}
    found = measure(images, None, [], plan.convention, accelerator, **how)
    return Part(name, "images", images.name, len(images), (), read(found.sums))


def _keep(plan: _Plan, networks: list[Part], images: list[Part], training: list[Part]) -> None:
    """The pictures and the numbers, where there is a folder for them."""
    others = images[1:] if networks else images
    files = [] if plan.folder is None else _drawn(plan.folder, networks, images, training)
    parts = [*networks, *others, *(_with_step(part) for part in training)]
    keep(plan.folder, plan.config, plan.images.digest, plan.convention, parts)
    if plan.folder is not None:
        say(f"Written to {plan.folder}: {', '.join(files)} and {FILE}.")


def _drawn(folder: Path, networks: list[Part], images: list[Part], training: list[Part]) -> list[str]:
    """Draw; the names of the pictures."""
    from apps.spectra.figures import draw, draw_training  # the plotting library is slow to load

    draw(folder / "spectrum.png", networks, images)
    if not training:
        return ["spectrum.png"]
    draw_training(folder / "spectrum-training.png", training)
    return ["spectrum.png", "spectrum-training.png"]


def _with_step(part: Part) -> Part:
    """By a name that tells it from the others."""
    return replace(part, name=f"{part.name}, step {part.step}")
