"""What one command of penult analyse invert is to do: found and checked before anything is trained."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from analysis.inversion.reconstruction import UpConvolution
from apps.classifiers.settings import ClassifierTraining
from apps.command.config import Where
from apps.command.console import counted
from apps.command.own_code import allow
from apps.data.image_set import ImageSet, split_validation
from apps.inverting import through_training
from apps.inverting.inverted import inverted_run
from apps.inverting.overfitting import overfitting
from apps.inverting.settings import InvertSettings
from apps.inverting.through_training import State
from apps.models.activations import images_for
from apps.models.layers import usual_layers
from apps.models.named import classifier, is_run, open_run
from apps.models.representation import Representation, check_order, representation
from apps.models.represented import check_weights
from apps.runs.outputs import check_writable
from apps.runs.run import Run
from apps.training.train import slug
from priors.errors import InputError, unknown
from priors.zoo import Classifier

Layers = Mapping[str, Representation | None]
"""By what they were called; None of "none", the density without context."""


@dataclass(frozen=True)
class Images:
    """What is trained and scored on."""

    training: ImageSet
    held_out: ImageSet | None
    """To choose checkpoints by."""
    test: ImageSet
    """To be scored, the first ones."""


@dataclass(frozen=True)
class Plan:
    """All that one command is to do."""

    config: InvertSettings
    folder: Path
    """Of pictures and numbers."""
    where: Where
    """Of the runs; its name is what theirs begin with."""
    images: Images
    layers: Layers
    """Of the network, as it was trained."""
    earlier: Sequence[State]
    """Snapshots of the network that are inverted as well."""
    second: ClassifierTraining | None
    """How a network is trained on few images, to be inverted beside."""
    others: Mapping[str, Run]
    """Densities that the network's are compared with."""

    def layers_of(self, state: State) -> dict[str, Representation]:
        """The layers of a network on its way, those that it has a representation at."""
        network = classifier(state.model)
        shape = self.images.test.image_shape
        return {name: representation(network, name, shape) for name, layer in self.layers.items() if layer is not None}


def plan(config: InvertSettings) -> Plan:
    """Find all that the command names.

    Raises:
        InputError: something of it is not there, or does not go together.
    """
    where = config.where(name_of(config))
    network = classifier(config.model, config.foreign)
    source = {"data": config.data, "image_size": config.image_size, "classes": config.classes, "root": where.data_root}
    training, test = (images_for(config.model, network, split, **source) for split in ("train", "test"))
    check_weights(config.model, config.foreign, network)
    layers = _layers(network, _names(config, network), training.image_shape)
    earlier = _snapshots(config, where.name) if config.snapshots else []
    second = _second(config, network, where) if config.overfit else None
    for code in (*config.place.allow, *([config.density.density] if config.density.density != "pixelcnn" else [])):
        allow(code)
    others = _others(config, training.image_shape)
    folder = folder_of(config)
    check_writable(folder / "sheet.png", f"--out {folder}")
    return Plan(config, folder, where, _images(config, training, test), layers, earlier, second, others)


def name_of(config: InvertSettings) -> str:
    """Of the folder, and of the runs before their layers'."""
    return config.name or slug(f"{Path(config.model).name}-inverted")


def folder_of(config: InvertSettings) -> Path:
    """Where pictures and numbers go."""
    return config.out or config.place.runs / name_of(config)


def said_of_second(config: InvertSettings) -> str:
    """What the second network is called beside the first."""
    return f"{config.overfit} images"


def _names(config: InvertSettings, network: Classifier) -> list[str]:
    """The layers that are asked for, each once."""
    if config.taps == "auto":
        names = usual_layers(network)
    else:
        names = config.asked_layers
    if not names:
        raise InputError(f"--taps {config.taps!r} names no layer: give some, such as conv1,fc3,logits")
    if twice := [one for one in names if names.count(one) > 1]:
        raise InputError(f"--taps {config.taps}: {twice[0]} is given twice")
    config.density.check(names)
    if config.closest is not None and (config.closest not in names or config.closest == "none"):
        raise unknown("layer", config.closest, [one for one in names if one != "none"], "--closest is one of --taps")
    return names


def _layers(network: Classifier, names: Sequence[str], image_shape: tuple[int, int, int]) -> Layers:
    """The layers by what they are called, in the order in which the network computes them."""
    layers = {name: None if name == "none" else representation(network, name, image_shape, ("none",)) for name in names}
    check_order({called: layer for called, layer in layers.items() if layer is not None}, image_shape)
    return layers


def _snapshots(config: InvertSettings, name: str) -> list[State]:
    """The run's snapshots."""
    kept = through_training.states(config.model, name, snapshots=True, finished=False) if is_run(config.model) else []
    if not kept:
        raise InputError(
            f"--snapshots: {config.model} has none; train it with penult train classifier --snapshots 0 100 1000 10000"
        )
    return kept


def _second(config: InvertSettings, network: Classifier, where: Where) -> ClassifierTraining:
    """How the second network is trained."""
    where = replace(where, name=f"{where.name}-overfit{config.overfit}")
    if is_run(config.model):  # all of its snapshots, whether they are inverted now or later
        kept = (path.name.removeprefix("step-") for path in open_run(config.model).snapshots())
        where = replace(where, snapshots=tuple(map(int, kept)))
    return overfitting(config.model, network, config.overfit, where)


def _others(config: InvertSettings, image_shape: tuple[int, int, int]) -> dict[str, Run]:
    """The runs that the NCE is compared with."""
    for place in config.against:
        model = inverted_run(place).model
        if isinstance(model, UpConvolution):
            raise InputError(f"--against {place} is a least-squares decoder: give the run of a density")
        if model.image_shape != image_shape:
            theirs, ours = ("x".join(map(str, shape)) for shape in (model.image_shape, image_shape))
            raise InputError(f"--against {place} is a density of {theirs} images, and these are {ours}")
    return {str(place): open_run(place) for place in config.against}


def _images(config: InvertSettings, training: ImageSet, test: ImageSet) -> Images:
    """What the trainings share, and the images that are scored."""
    count = len(training) // 12 if config.validation is None else config.validation
    held_out = None
    if count:
        training, held_out = split_validation(training, count, config.optimisation.seed)
    elif config.optimisation.patience is not None:
        raise InputError("--patience counts validations on held-out images: hold some out by --validation N")
    if config.test_images is not None:
        if config.test_images > len(test):
            raise InputError(f"--test-images {config.test_images}: {test.name} has {len(test)}")
        test = test.subset(range(config.test_images), f"{test.split}-{config.test_images}")
    if config.distances > len(test):
        raise InputError(f"--distances {config.distances}: {counted(len(test), 'test image')} to score")
    if config.estimates and len(test) < 4:
        raise InputError(f"--estimates of {counted(len(test), 'test image')}: 4 or more were expected")
    return Images(training, held_out, test)
