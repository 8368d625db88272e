"""The program of `penult analyse layers`: what is looked at, through which lenses, and where it goes."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from accelerate import Accelerator
from torch import Tensor

from apps.command.console import say
from apps.command.pictures import OWN, PictureObjects
from apps.data import sources
from apps.data.image_set import ImageSet
from apps.data.objects import divided
from apps.data.regions import regions_of
from apps.data.sources.catalogue import DATASETS
from apps.data.sources.finding import holds_splits, pictures_under
from apps.layers.agreeing import pairs
from apps.layers.lens import Layer, Lens, Subject
from apps.layers.lenses import lenses
from apps.layers.looking import Prepared, looked, prepare
from apps.layers.results import FILE, keep
from apps.layers.settings import LayerSettings
from apps.layers.sheet import Found, Sheet
from apps.layers.sites import layers_of
from apps.layers.tables import print_pairs, print_sheets
from apps.models import named
from apps.models.activations import folder_size, images_for
from apps.models.other_images import check_shape
from apps.models.other_networks import check_apart
from apps.runs.evaluations import claim_evaluations, first_images
from apps.training.session import start
from priors.errors import InputError
from priors.zoo import Classifier
from priors.zoo.network import same_classes


@dataclass(frozen=True)
class _Plan:
    """All that one command is to do, found before anything is measured."""

    config: LayerSettings
    lenses: Mapping[str, Lens]
    images: ImageSet
    objects: Tensor | None
    networks: Mapping[str, tuple[Classifier, tuple[Layer, ...]]]
    folder: Path | None


def analyse_layers(config: LayerSettings) -> None:
    """Look, print, draw and keep.

    Raises:
        InputError: no such model, layer, lens or images, nothing that any lens has a value of, or a place that cannot
            be written.
    """
    plan = _plan(config)
    accelerator = start(config.place.where())
    subjects = {name: _subject(plan, name, accelerator) for name in plan.networks}
    prepared = {name: prepare(subject, plan.lenses) for name, subject in subjects.items()}
    _check_any(prepared)
    sheets = []
    for name, subject in subjects.items():
        views = looked(subject, prepared.pop(name), f"layers of {name}", config.shown)
        sheets.append(Sheet(name, subject.layers, views))
        subject.network.cpu()
    if not accelerator.is_main_process:
        return
    how = {"level": config.level, "draws": config.draws, "seed": config.seed}
    compared = pairs(plan.lenses, {sheet.name: (sheet.layers, sheet.views) for sheet in sheets}, **how)
    found = Found(plan.lenses, tuple(sheets), tuple(compared), plan.images.name, len(plan.images))
    print_sheets(found)
    print_pairs(found)
    if plan.folder is not None:
        from apps.layers.figures import draw  # the plotting library is slow to load
        from apps.layers.maps import draw_maps

        draw(plan.folder / "layers.png", found)
        maps = ", layers-maps.png" if draw_maps(plan.folder / "layers-maps.png", found, plan.images) else ""
    keep(plan.folder, config, plan.images.digest, found)
    if plan.folder is not None:
        say(f"Written to {plan.folder}: layers.png{maps} and {FILE}.")


def _plan(config: LayerSettings) -> _Plan:
    """Find all that the command names."""
    folder = config.out or named.results_in(config.model)
    network = named.classifier(config.model, config.foreign)
    images = _images(config, network)
    objects = _objects(config, images)
    networks = {}
    for name in (config.model, *config.against):
        own = network if name == config.model else named.classifier(name)
        if own is not network:
            check_shape(own.image_shape, f"--against {name}", images)
        try:
            networks[name] = own, layers_of(own, config.taps, images.image_shape)
        except InputError as error:
            raise InputError(f"{name}: {error}" if config.against else str(error)) from None
    check_apart({name: own for name, (own, _) in networks.items()})
    if folder is not None:
        claim_evaluations(folder, FILE)
    return _Plan(config, lenses(config.lenses), images, objects, networks, folder)


def _images(config: LayerSettings, network: Classifier) -> ImageSet:
    """The first test images, or the first of any folder of pictures."""
    root = config.place.data_root
    size = folder_size(config.model, network, config.data, config.sizes.image_size)
    if _is_folder_of_pictures(config.data):
        size = size or (network.image_shape and network.image_shape[1])
        brought = {"image_size": size, "resize": config.sizes.resize, "classes": config.sizes.classes}
        whole = sources.load_pictures(config.data, "test", root=root, **brought)
        check_shape(network.image_shape, config.model, whole)
    else:
        given = {"data": config.data, "image_size": size, "resize": config.sizes.resize, "root": root}
        given |= {"classes": config.sizes.classes}
        whole = images_for(config.model, network, "test", same_classes=False, first=config.images, **given)
    if len(whole) < 4:
        raise InputError(f"{whole.name} has {len(whole)} images: 4 or more were expected, for errors")
    return first_images(whole, config.images)[0]


def _is_folder_of_pictures(data: str | None) -> bool:
    """Whether that is a folder without a training and a test set."""
    place = Path(data or "")
    return data not in (None, *DATASETS) and place.is_dir() and not holds_splits(place)


def _objects(config: LayerSettings, images: ImageSet) -> Tensor | None:
    """Where the object of each picture is, in truth values; None where nothing says so.

    Raises:
        InputError: no folder of pictures, masks or boxes that do not go with them, or objects that are all or nothing.
    """
    objects, pictures = config.objects, []
    if not objects.given:  # a lens that would want them says what is missing
        if images.objects is None or images.objects.without_outside:
            return None
        objects = PictureObjects(boxes=OWN)
    if objects.by_name:
        if not _is_folder_of_pictures(config.data):
            raise InputError(f"{objects.by_name}: masks and boxes are of pictures in a plain folder, not of a data set")
        folder = Path(config.data)
        pictures = [folder / path for path in pictures_under(folder)][: len(images)]
    (found,) = regions_of(objects, images, pictures, config.sizes.resize).values()
    if not bool(divided(found).any()):
        raise InputError(
            f"{' '.join(map(str, *objects.given.items()))}: the objects of all pictures cover all or nothing of them"
        )
    return found


def _subject(plan: _Plan, name: str, accelerator: Accelerator) -> Subject:
    """A network, on the device."""
    network, layers = plan.networks[name]
    return Subject(
        model=name,
        network=network.to(accelerator.device).eval(),
        layers=layers,
        images=plan.images,
        objects=plan.objects,
        known=same_classes(network.class_names, plan.images.class_names),
        runs=(plan.config.place.runs, *([folder.parent] if (folder := named.results_in(name)) else [])),
        accelerator=accelerator,
        seed=plan.config.seed,
    )


def _check_any(prepared: Mapping[str, Mapping[str, Prepared]]) -> None:
    """Make sure that there is something to look at.

    Raises:
        InputError: no lens has a value of any layer.
    """
    if any(one.look is not None for own in prepared.values() for one in own.values()):
        return
    own = next(iter(prepared.values()))
    reasons = "; ".join(f"{name}: {next(iter(one.gaps.values()))}" for name, one in own.items())
    raise InputError(f"no lens has a value of any layer: {reasons}")
