"""Classifiers on disk: a folder with `model.json`, which says what it is, and `model.safetensors`, its weights."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from priors.errors import InputError, reason, shown
from priors.files.building import building
from priors.files.json_files import read_json, write_json
from priors.files.tensors import load_weights, read_tensors, write_tensors
from priors.reading.dry_pass import settle
from priors.zoo.network import Classifier
from priors.zoo.registry import build, trained_weights
from priors.zoo.wrapped import Wrapped, wrap

_FORMAT = "penult classifier 1"
_WHAT = "classifier"
_NARROWED = 16
"""Times a narrowed network's weights that one of its layers may have before: it is built whole, then narrowed. Of
torchvision's VGG-16 the first linear layer has three times what all that is left has."""


def save(classifier: Classifier, folder: str | Path, extra: Mapping[str, Any] | None = None) -> None:
    """Write a classifier, its class names, its normalisation and its provenance.

    Args:
        classifier: built by name or wrapped; of a wrapped one, the module's weights are written but not its code.
        folder: made where it does not exist; what an earlier save left there is replaced.
        extra: anything else that JSON can hold, given back by `describe`.

    Raises:
        InputError: a module that is neither (a compiled one: give the one it was made of).
        OSError: the disk is full or the place cannot be written.
    """
    if not isinstance(classifier, Classifier):
        raise InputError(f"a {type(classifier).__name__} cannot be saved as a classifier: give priors.zoo.wrap() of it")
    folder = Path(folder)
    # A compiled module's weights are saved under the names of the eager one.
    tensors = {name.replace("_orig_mod.", ""): tensor for name, tensor in classifier.state_dict().items()}
    description = {
        "format": _FORMAT,
        "architecture": classifier.architecture,
        "wrapped": _wrapped(classifier) if isinstance(classifier, Wrapped) else None,
        "provenance": classifier.provenance,
        "extra": dict(extra or {}),
    }
    write_tensors(folder / "model.safetensors", tensors, {"architecture": _identity(description)})
    write_json(folder / "model.json", description)


def describe(folder: str | Path) -> dict[str, Any]:
    """What `model.json` says: "architecture", "wrapped" (for a wrapped module), "provenance" and "extra".

    Raises:
        InputError: there is none, or it is of another kind.
    """
    path = Path(folder) / "model.json"
    description = read_json(path, _WHAT)
    if not isinstance(description, dict) or description.get("format") != _FORMAT:
        given = description.get("format") if isinstance(description, dict) else None
        raise InputError(f"{path} describes no classifier: format {_FORMAT!r} was expected, not {shown(given)}")
    return description


def load(folder: str | Path, network: nn.Module | None = None) -> Classifier:
    """Read a classifier onto the CPU, in evaluation mode; torch's random state is left as it was.

    Nothing is downloaded: the weights are those of the folder.

    Args:
        folder: what `save` wrote.
        network: for a wrapped module, another one of the same make, whose weights are replaced; code that a file names
            is never run.

    Raises:
        InputError: files that are missing, truncated, of another format or of two different classifiers, or that name
            trained weights to download.
    """
    folder = Path(folder)
    described, description = folder / "model.json", describe(folder)
    tensors, metadata = read_tensors(folder / "model.safetensors", f"{_WHAT} weights")
    if metadata.get("architecture") != _identity(description):
        raise InputError(f"model.json and model.safetensors in {folder} are of different classifiers: save it again")
    architecture, wrapped = description.get("architecture"), description.get("wrapped")
    margins = {"margin": _NARROWED} if isinstance(architecture, dict) and architecture.get("narrow") else {}
    with building(described, _WHAT, [architecture, wrapped], tensors, **margins):
        if wrapped is not None:
            classifier = _wrapped_anew(network, wrapped, folder)
        else:
            if network is not None:
                given = type(network).__name__
                raise InputError(f"{folder} says itself how its network is built: leave the {given} out")
            arguments = _arguments(architecture)
            if (named := trained_weights(architecture["name"], arguments)) is not None:
                raise InputError(
                    f"{described} names trained weights ({architecture['name']}, {named}): a file never has "
                    "anything downloaded; the weights are those beside it, and penult writes no such name"
                )
            with torch.random.fork_rng(devices=[]):
                classifier: Classifier = build(architecture["name"], **arguments)
        classifier.provenance = _provenance(description)
    load_weights(classifier, tensors, folder)
    return classifier.eval()


def _wrapped_anew(network: nn.Module | None, wrapped: Mapping[str, Any], folder: Path) -> Wrapped:
    if network is None:
        code = wrapped.get("code")
        maker = f", which {code} makes" if code else ""
        raise InputError(
            f"{folder} holds the weights of your own {wrapped['kind']}{maker}: give such a network to put them in"
        )
    if (shape := wrapped["image_shape"]) is not None:
        try:
            settle(network, shape)
        except Exception as error:  # a module of the user's own may raise anything
            shown = "x".join(map(str, shape))
            raise InputError(
                f"the {type(network).__name__} cannot take the images of {folder}, of {shown}: {reason(error)}"
            ) from None
    return wrap(network, **{key: value for key, value in wrapped.items() if key != "kind"})


def _arguments(architecture: Mapping[str, Any]) -> dict[str, Any]:
    arguments = {key: value for key, value in architecture.items() if key not in ("name", "options")}
    return arguments | architecture["options"]


def _provenance(description: Mapping[str, Any]) -> dict[str, str]:
    """What a classifier was made of, as text.

    Raises:
        TypeError: a list or an object in the place of a text, which nobody wrote.
    """
    for key, value in description["provenance"].items():
        if isinstance(value, list | dict):
            raise TypeError(f"expected a text as its {key!r}, not {type(value).__name__}")
    return {str(key): str(value) for key, value in description["provenance"].items()}


def _identity(description: Mapping[str, Any]) -> str:
    return json.dumps([description.get("architecture"), description.get("wrapped")], sort_keys=True)


def _wrapped(classifier: Wrapped) -> dict[str, Any]:
    return {
        "kind": type(classifier.network).__name__,
        "head": classifier.head_name.removeprefix("network").removeprefix("."),
        "class_names": list(classifier.class_names),
        "image_shape": None if classifier.image_shape is None else list(classifier.image_shape),
        "mean": classifier.mean.tolist(),
        "std": classifier.std.tolist(),
        "taps": [stage.removeprefix("network.") for stage in classifier.stages],
        **({} if classifier.code is None else {"code": classifier.code}),
    }
