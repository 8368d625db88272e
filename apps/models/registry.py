"""The kinds of model that runs hold, and how each is read again. Methods fill it: nothing here knows any of them.

A method that trains a kind of its own has a module `kinds.py` in its room, with a tuple `KINDS` of what is described
here. Classifiers are of no method alone: every method starts from one.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from apps.command.given import runs
from apps.command.own_code import require
from apps.models.rooms import offered
from apps.models.sample_settings import SampleSettings
from apps.models.trainable import is_own, module_of
from apps.runs.run import Run
from priors import zoo
from priors.errors import InputError, reason
from priors.files.json_files import read_json, write_json
from priors.files.tensors import write_tensors
from priors.zoo.network import ImageNetwork
from priors.zoo.wrapped import Wrapped

if TYPE_CHECKING:
    from accelerate import Accelerator

    from apps.data.image_set import ImageSet

Sample = Callable[[SampleSettings, torch.device], int]
"""Draws images of a run and writes them; gives how many."""
Drawn = Callable[[Run, "ImageSet", "Accelerator", int], "ImageSet"]
"""As many images of a run as a set has, by that seed: of its own classes, or such as it cannot tell from the set's."""


@dataclass(frozen=True)
class Kind:
    """A kind of model.

    Attributes:
        name: as a run's `model.json` has it under "model".
        family: what models of this kind and of others like it are called in words, with the article.
        trained_by: the verb whose runs hold it.
        read: what a finished run holds, on the CPU, in evaluation mode.
        sample: draws images of it; None where it has none.
        drawn: gives images of it to be measured; None where it has none.
        scored_by: the command that scores it where `penult evaluate` does not; empty where it does.
        layered: the class of what `read` gives, where its layers can be looked into as a classifier's can; else None.
        describe: how such a network is built again, as a run's `model.json` has it.
    """

    name: str
    family: str
    trained_by: str
    read: Callable[[Run], Any]
    sample: Sample | None = None
    drawn: Drawn | None = None
    scored_by: str = ""
    layered: type[ImageNetwork] | None = None
    describe: Callable[[Any], dict[str, Any]] | None = None


def classifier_of(run: Run, network: nn.Module | None = None) -> zoo.Classifier:
    """The classifier of a finished run, on the CPU, in evaluation mode.

    Args:
        run: its folder.
        network: to put the weights of a module of the user's own into; None: their code makes one, where the command
            line names it.

    Raises:
        InputError: files that are damaged; code that is not named, or makes another network now.
    """
    wrapped = zoo.describe(run.folder).get("wrapped")
    code = wrapped.get("code") if isinstance(wrapped, dict) else None
    saved = "wrap(network, image_shape=(C, H, W), code='import:package.module:factory')"
    if network is None and isinstance(wrapped, dict) and code is None and runs():
        raise InputError(
            f"{run.folder} holds the weights of your own {wrapped.get('kind')}, and does not say what makes such a "
            f"network: save it as {saved}, and name that code by --allow"
        )
    if network is not None or code is None:
        return zoo.load(run.folder, network)
    if not isinstance(code, str) or not is_own(code):
        raise InputError(f"{run.folder}/model.json names {code!r} as the code of its network: it is damaged")
    if wrapped.get("image_shape", ()) is None:
        raise InputError(f"{run.folder} does not say for which images {code} is to make a network: save it as {saved}")
    require(code, str(run.folder))
    try:
        names, shape = [str(name) for name in wrapped["class_names"]], tuple(map(int, wrapped["image_shape"]))
        channels, height, width = shape
    except (KeyError, TypeError, ValueError) as error:
        place = run.folder / "model.json"
        raise InputError(f"{place} does not describe a network: it is damaged ({reason(error)})") from None
    with torch.random.fork_rng(devices=[]):
        module, _ = module_of(code, names, (channels, height, width))
    try:
        return zoo.load(run.folder, module)
    except InputError as error:
        raise InputError(f"{run.folder} was made with {code}, which may have changed since: {error}") from None


CLASSIFIER = Kind(
    "classifier",
    "a classifier",
    "train classifier",
    classifier_of,
    layered=zoo.Classifier,
)
"""What a run holds whose description names no other kind."""


def kinds() -> tuple[Kind, ...]:
    """All kinds that methods offer."""
    return tuple(kind for module in offered("kinds") for kind in module.KINDS)


def kind_of(run: Run) -> Kind:
    """What a finished run holds.

    Raises:
        InputError: its description is damaged.
    """
    name = description_of(run).get("model")
    return next((kind for kind in kinds() if kind.name == name), CLASSIFIER)


def description_of(run: Run) -> dict[str, Any]:
    """How the model of a finished run is built again, as its `model.json` has it.

    Raises:
        InputError: it is damaged.
    """
    description = read_json(run.folder / "model.json", "model description")
    if not isinstance(description, dict):
        raise InputError(f"{run.folder}/model.json does not describe a model")
    return description


def can_be_kept(network: ImageNetwork) -> bool:
    """Whether a network can be built again by its description: by name, or by code that is named there."""
    return network.architecture is not None or (isinstance(network, Wrapped) and network.code is not None)


def keep(network: ImageNetwork, folder: Path) -> None:
    """Write a network with layers, of whatever kind, so that `kept` reads it again.

    Args:
        network: such that it can be built again, see `can_be_kept`.
        folder: made where it does not exist.
    """
    if isinstance(network, zoo.Classifier):
        zoo.save(network, folder)
        return
    kind = next(kind for kind in kinds() if kind.layered is not None and isinstance(network, kind.layered))
    write_tensors(folder / "model.safetensors", network.state_dict())
    write_json(folder / "model.json", kind.describe(network))


def kept(folder: Path) -> ImageNetwork:
    """The network that `keep` wrote.

    Raises:
        InputError: files that are missing or damaged.
    """
    run = Run(folder)
    return kind_of(run).read(run)


def refused(folder: str | Path, kind: Kind, family: str) -> InputError:
    """The error where a run holds one kind, and a model of another family was expected.

    Args:
        folder: the run's.
        kind: what it holds.
        family: what was expected, as kinds are called.
    """
    verbs = " or ".join(dict.fromkeys(one.trained_by for one in (CLASSIFIER, *kinds()) if one.family == family))
    return InputError(f"{folder} is {kind.family}, not {family}: give a run of penult {verbs}")
