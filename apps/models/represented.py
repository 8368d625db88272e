"""Whose layer a run's model was trained on, as the run says it, and how it is found again."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from apps.command import own_code
from apps.command.config import Unsaid
from apps.data.image_set import ImageSet
from apps.models import named
from apps.models.registry import kept as read_kept
from apps.models.representation import Representation, representation
from apps.runs.run import Run
from priors.errors import InputError, reason
from priors.files.tensors import digest_of
from priors.zoo.network import ImageNetwork

KEPT = "network"
"""Folder in a run with a copy of the network; of a module of the user's own there is none."""


def whose(model: str, foreign: Unsaid, layer: Representation | None) -> dict[str, Any]:
    """Whose layer it is, and how to find it again: a part of a run's description.

    Args:
        model: as on the command line.
        foreign: what that does not say itself.
        layer: None of a model without one.
    """
    if layer is None:
        return {"network": None, "network_digest": None, "layer": None, "site": None, "foreign": None}
    return {
        "network": Path(model).name if Path(model).is_dir() else model,
        "network_digest": digest_of(layer.network.state_dict()),
        "layer": layer.layer,
        "site": layer.site,
        "foreign": {"mean": list(foreign.mean), "std": list(foreign.std), "head": foreign.head},
    }


def trained_on_layer(own: Mapping[str, Any], images: ImageSet, held_out: ImageSet | None) -> dict[str, Any]:
    """What decides the numbers of a model that is trained on a layer: images, and the network by its weights.

    Args:
        own: of `whose`.
        images: that are trained on.
        held_out: that checkpoints are chosen by.
    """
    return {
        "data": images.name,
        "data_digest": images.digest,
        "held_out_digest": None if held_out is None else held_out.digest,
        # Of the network its weights and its layer, not its name.
        **{key: own[key] for key in ("network_digest", "site")},
    }


def check_weights(model: str, foreign: Unsaid, network: ImageNetwork) -> None:
    """Make sure that a network of the user's own has the same weights whenever it is made.

    Raises:
        InputError: it has not.
    """
    if not model.startswith("import:"):
        return
    if digest_of(named.classifier(model, foreign).state_dict()) != digest_of(network.state_dict()):
        raise InputError(
            f"{model} has other weights each time it is made: give it weights by ,weights=FILE.safetensors, or seed it"
        )


def read_representation(
    run: Run, description: Mapping[str, Any], image_shape: tuple[int, ...], context: tuple[int, ...]
) -> Representation | None:
    """The layer that a run's model was trained on; None where it has none.

    It is of the copy of the network that lies in the run, or else of the MODEL that it was.

    Args:
        run: a finished one.
        description: what its `model.json` holds.
        image_shape: of its images.
        context: shape of what the layer gives.

    Raises:
        InputError: the network is not there any more, or is another one, or the description is damaged.
    """
    if description.get("layer", "") is None:
        return None
    try:
        found = _found(run, description, image_shape)
    except InputError:
        raise
    except (AttributeError, KeyError, TypeError, RuntimeError, ValueError) as error:
        path = run.folder / "model.json"
        raise InputError(f"{path} describes no layer of a network: it is damaged ({reason(error)})") from None
    if found.shape != context:
        raise InputError(f"{run.folder}: {found.layer} gives {found.shape}, and {context} was inverted: it is damaged")
    return found


def _found(run: Run, description: Mapping[str, Any], image_shape: tuple[int, ...]) -> Representation:
    kept = run.folder / KEPT
    own = description["foreign"]
    foreign = Unsaid(tuple(own["mean"]), tuple(own["std"]), own["head"])
    if not kept.is_dir():
        if not description["network"].startswith("import:"):
            raise InputError(f"{kept} is missing, the network that {run.folder} inverts: put the folder back")
        own_code.require(description["network"], run.folder)
    network = read_kept(kept) if kept.is_dir() else named.classifier(description["network"], foreign)
    if network.image_shape not in (None, image_shape):
        raise InputError(
            f"{run.folder} inverts images of {image_shape}, its network takes {network.image_shape}: damaged"
        )
    if digest_of(network.state_dict()) != description["network_digest"]:
        place = kept if kept.is_dir() else description["network"]
        raise InputError(f"{place} has other weights than the network that {run.folder} inverts")
    return replace(representation(network, description["site"], image_shape), layer=description["layer"])
