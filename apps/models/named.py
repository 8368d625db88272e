"""A MODEL on the command line.

It is a run's folder, one that `priors.zoo.save` wrote, `pretrained:NAME` of those that come with the package,
`torchvision:NAME[:WEIGHTS]`, `timm:NAME[:TAG]`, or `import:package.module:factory[,weights=FILE]`.
"""

from collections.abc import Sequence
from dataclasses import replace
from difflib import get_close_matches
from glob import escape
from os.path import lexists
from pathlib import Path
from typing import Any

from torch import nn

from apps.command.config import Data, Foreign, Unsaid, Where, restored
from apps.data.image_set import ImageSet
from apps.data.sources.catalogue import DATASETS
from apps.data.sources.forms import is_form, is_there
from apps.models.generator import GENERATOR, Generator
from apps.models.imported import in_single_precision, made
from apps.models.other_images import check_shape, is_of, say_if_other
from apps.models.registry import CLASSIFIER, classifier_of, kind_of, refused
from apps.pretrained_models.finding import PREFIX, is_pretrained, place_of, pretrained_names
from apps.runs.format import check_known
from apps.runs.run import Run
from priors import zoo
from priors.errors import InputError
from priors.files.checksums import check_finite
from priors.files.json_files import read_json
from priors.files.tensors import load_weights, read_tensors
from priors.zoo.network import ImageNetwork, same_classes

_SAID = ("head", "mean", "std", "taps")
"""Options by which one says of a module of one's own what runs know of theirs."""
_LIBRARIES = {"torchvision": ("WEIGHTS", "DEFAULT"), "timm": ("TAG", "pretrained")}
"""Zoos of others: what they call weights, and which are taken where none are named."""
_LISTED = 20
"""Classes that a message names at most."""
_NEAREST = 6
"""Runs that a message names at most."""


def is_run(model: str) -> bool:
    """Whether a MODEL is meant as a run, by its folder or as pretrained:NAME, rather than as a network alone."""
    return not model.startswith(("import:", *(f"{library}:" for library in _LIBRARIES))) and not is_network(model)


def is_network(model: str | Path) -> bool:
    """Whether a MODEL is a folder that `priors.zoo.save` wrote: a network, without what it was trained by and on."""
    place = place_of(model)
    whole = all((place / name).is_file() for name in ("model.json", "model.safetensors"))
    return whole and not lexists(place / "config.json")  # one that is no file is of a damaged run


def results_in(model: str) -> Path | None:
    """The folder that results about a MODEL are kept in where no other is given: a run's own.

    None where there is none: what comes with the package stays as it is, and a network alone has no such folder.
    """
    return Path(model) if is_run(model) and not is_pretrained(model) else None


def own_run(model: str, writes: str) -> Run:
    """The finished run that a MODEL means, into whose folder something is written whatever else is asked for.

    Raises:
        InputError: it comes with the package, or as for `open_run`.
    """
    if is_pretrained(model):
        raise InputError(
            f"{model} comes with penult and stays as it is, and {writes} in a run's folder: give penult export "
            f"{model} DIR, and then DIR"
        )
    return open_run(model)


def open_run(folder: str | Path, finished: bool = True) -> Run:
    """The run at `folder`.

    Args:
        folder: its place, or pretrained:NAME.
        finished: whether it has to be finished.

    Raises:
        InputError: there is none (the nearest of its neighbours is offered), it is not finished, or a newer program
            made it.
    """
    run = Run(folder)
    folder = run.folder
    if not (folder / "config.json").is_file():
        raise _no_run(folder)
    if not run.finished and not run.ours:
        raise InputError(f"{folder} is no run of penult: its config.json is another program's")
    if finished and not run.finished:
        raise InputError(
            f"{folder} is not finished: give its training command again, and it goes on from its last checkpoint"
        )
    check_known(folder)
    return run


def _no_run(folder: Path) -> InputError:
    """The error for a place without a run: the nearest ones beside it, or among the runs, are offered.

    Names alone are compared: the folders before them are alike for all.
    """
    if folder.is_dir():
        named = sorted(str(found.parent) for found in folder.parent.glob(f"{escape(folder.name)}-*/config.json"))
        if lexists(folder / "config.json"):
            return InputError(f"{folder} is not a run: its config.json is no file that could be read")
        offer = f"; its name begins those of the runs {', '.join(named[:_NEAREST])}: give one of them" if named else ""
        return InputError(f"{folder} is not a run: it has no config.json{offer}")
    places = [place for place in dict.fromkeys((folder.parent, Where.runs)) if place.is_dir()]
    found: dict[str, list[str]] = {}
    for run in (config.parent for place in places for config in sorted(place.glob("*/config.json"))):
        found.setdefault(run.name, []).append(str(run))
    near = [place for name in get_close_matches(folder.name, found, n=_NEAREST, cutoff=0.6) for place in found[name]]
    near += [f"{PREFIX}{name}" for name in get_close_matches(str(folder), pretrained_names(), n=1, cutoff=0.6)]
    guess = f": did you mean {near[0]!r}?" if near else ""
    close = [place for name in get_close_matches(folder.name, found, n=_NEAREST, cutoff=0.0) for place in found[name]]
    count, listing = sum(map(len, found.values())), ", ".join(close[:_NEAREST])
    more = f", ... {count} in all" if count > _NEAREST else ""
    known = f" (known: {listing}{more})" if found else " (none exist)"
    return InputError(f"unknown run {str(folder)!r}{guess}{known}; see penult ls runs")


def trained_on(run: Run) -> Data:
    """Which images a run was trained on.

    Raises:
        InputError: its configuration does not say.
    """
    check_known(run.folder)
    stored = read_json(run.folder / "config.json", "run configuration")
    config = stored.get("config") if isinstance(stored, dict) else None
    if not isinstance(config, dict) or not isinstance(config.get("data"), str):
        raise InputError(
            f"{run.folder}/config.json does not say what the run was trained on: it is damaged, or of another program"
        )
    try:
        return replace(restored(Data, config), validation=None)
    except InputError as error:
        raise InputError(f"{run.folder}/config.json: {error}") from None


def generator_run(folder: str | Path) -> Generator:
    """The generator of a finished run, on the CPU, in evaluation mode.

    Raises:
        InputError: no such run, not finished, not a generator, or weights that do not fit.
    """
    return _read(folder, GENERATOR)


def model_run(folder: str | Path, network: nn.Module | None = None) -> zoo.Classifier | Generator:
    """The classifier or the generator of a finished run, on the CPU, in evaluation mode.

    Args:
        folder: of the run, or what `priors.zoo.save` wrote.
        network: for a classifier that was made by code of the user's own: what that code makes, whose weights are
            replaced.

    Raises:
        InputError: no such run, not finished, neither of the two, or weights that do not fit.
    """
    run = Run(folder) if is_network(folder) else open_run(folder)
    if (kind := kind_of(run)) is not CLASSIFIER and kind.family != GENERATOR:
        raise InputError(f"{folder} is {kind.family}, and no classifier or generator: give a run of one of these")
    if network is None:
        return kind.read(run)
    if kind is not CLASSIFIER:
        raise InputError(f"{folder} is {kind.family}, which is built as its files say: leave the network out")
    return classifier_of(run, network)


def _read(folder: str | Path, family: str) -> Any:
    """What a finished run holds, where it is of that family."""
    run = open_run(folder)
    if (kind := kind_of(run)).family != family:
        raise refused(folder, kind, family)
    return kind.read(run)


def layered(model: str, foreign: Unsaid | None = None) -> ImageNetwork:
    """The network that a MODEL means, on the CPU, in evaluation mode: a classifier, or another one with layers.

    Raises:
        InputError: no such model, weights that do not fit, or a run of something without layers to look into.
    """
    if is_run(model) and (kind := kind_of(open_run(model))) is not CLASSIFIER and kind.layered is not None:
        _check_alone(model, foreign)
        return kind.read(Run(model))
    return classifier(model, foreign)


def _check_alone(model: str, foreign: Unsaid | None) -> None:
    """Refuse what says of a run what it knows itself."""
    given = [f"--{name}" for name, value in vars(foreign or Foreign()).items() if value and name in _SAID]
    if given:
        raise InputError(f"{', '.join(given)} with the run {model}: a run knows its own; leave them out")


def classifier(model: str, foreign: Unsaid | None = None) -> zoo.Classifier:
    """The classifier that a MODEL means, on the CPU, in evaluation mode.

    Raises:
        InputError: no such model, weights that do not fit, or no final linear layer.
    """
    options = vars(foreign or Foreign())
    options = {name: options.get(name, ()) for name in _SAID}
    if is_run(model):
        _check_alone(model, foreign)
        return _read(model, CLASSIFIER.family)
    if is_network(model):
        _check_alone(model, foreign)
        if (kind := kind_of(Run(model))) is not CLASSIFIER:
            raise refused(model, kind, CLASSIFIER.family)
        return CLASSIFIER.read(Run(model))
    if model.startswith("import:"):
        return _imported(model, options)
    return _of_library(model, options)


def trained_data(run: Run, given: str | None, flag: str = "--data") -> str:
    """Which images a run is to be shown: those that are given, or else what it was trained on.

    Args:
        run: any that was trained on images.
        given: on the command line.
        flag: that says other images.

    Raises:
        InputError: the run's configuration does not say, or they are not there any more.
    """
    if given is not None:
        return given
    return data_there(run, f"give {flag} with its place")


def data_there(run: Run, advice: str) -> str:
    """What a run was trained on, which must be there still; `advice` says what to do where it is not.

    Raises:
        InputError: it is not there, or the run's configuration does not say.
    """
    data = trained_on(run).data
    if data not in DATASETS and not (is_there(data) if is_form(data) else Path(data).exists()):
        raise InputError(f"{run.folder} was trained on {data}, which is not there now: {advice}")
    return data


def check_classes(
    class_names: Sequence[str],
    source: str,
    images: ImageSet,
    made_of: str | None = None,
    image_shape: Sequence[int] | None = None,
) -> None:
    """Make sure that a model can be shown a data set: of its classes, in the same order, and of its shape.

    Bare numbers are taken as they come, and so are WordNet's: an ImageNet folder has its classes in order by those.
    Of one set that calls its classes by numbers they are names: other classes of it may have been chosen. Where the
    model is of another set than this one, a line says so.

    Args:
        class_names: the model's.
        source: the model, on the command line.
        images: the data set.
        made_of: as for `say_if_other`.
        image_shape: (channels, height, width) that the model takes; None where any, or where it is shown none.

    Raises:
        InputError: another number of classes, other names, another order, or another shape.
    """
    theirs, ours = tuple(class_names), images.class_names
    named = not all(name.isdecimal() for name in theirs) and len(theirs) <= _LISTED and "," not in "".join(theirs)
    chosen = f"; --classes {','.join(theirs)} takes its classes" if named and set(theirs) <= set(ours) else ""
    if len(theirs) != len(ours):
        raise InputError(f"{source} has {len(theirs)} classes and {images.name} {len(ours)}: they must agree{chosen}")
    own = made_of is not None and is_of(made_of, images) and all(name.isdecimal() for name in ours)
    if not same_classes(theirs, ours) or (own and theirs != ours):
        number = next(number for number, pair in enumerate(zip(theirs, ours, strict=True)) if pair[0] != pair[1])
        raise InputError(
            f"the classes of {source} and of {images.name} differ: class {number} is {theirs[number]!r} there and "
            f"{ours[number]!r} here; they must agree, in the same order{chosen}"
        )
    check_shape(image_shape, source, images)
    same = "their classes have the same names"
    matched = same if theirs == ours else f"their classes are matched by number ({theirs[0]!r} there, {ours[0]!r} here)"
    say_if_other(source, made_of, images, matched)


def _of_library(model: str, options: dict) -> zoo.Classifier:
    """A network of another zoo with trained weights (its usual ones where none are named)."""
    library, name, *weights = model.split(":")
    what, usual = _LIBRARIES[library]
    if len(weights) > 1:
        raise InputError(f"{model}: expected {library}:NAME or {library}:NAME:{what}")
    given = [f"--{option}" for option, value in options.items() if value]
    if given:
        raise InputError(f"{', '.join(given)} with {model}: it is known what that network is like; leave them out")
    return zoo.build(f"{library}:{name}", weights=weights[0] if weights else usual).eval()


def _imported(model: str, options: dict) -> zoo.Classifier:
    """The user's own module: a factory that is called without arguments, and its weights."""
    network, settings = made(model, settings=("weights",))
    in_single_precision(network, model)  # before it has its weights: these may be of more digits than it was made with
    if "weights" in settings:
        weights, metadata = read_tensors(settings["weights"], "weights", foreign=True)
        load_weights(network, weights, settings["weights"], metadata)
    else:  # buffers may be infinite by their making: masks are
        check_finite(dict(network.named_parameters()), model)
    return zoo.wrap(network, **{name: value for name, value in options.items() if value}).eval()
