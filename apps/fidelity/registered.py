"""The feature extractors that torch-fidelity knows: DINOv2, CLIP, VGG-16, Inception, and what was registered with it.

Weights are had as torch-fidelity has them, from where their authors publish them into torch's cache. Those of CLIP are
known by their digests; DINOv2's come by `torch.hub`, which runs code of its authors' repository.
"""

import contextlib
import socket
import sys
from pathlib import Path

import torch
from torch import Tensor
from torch_fidelity.registry import FEATURE_EXTRACTORS_REGISTRY
from torch_fidelity.utils import create_feature_extractor

from apps.command.config import Foreign
from apps.command.own_code import described
from apps.fidelity.extractor import Extractor, classifier_extractor
from apps.fidelity.inception import NAME, downloaded, inception_extractor
from priors.errors import InputError, unknown
from priors.files.tensors import digest_of

PREFIX = "torch-fidelity:"
"""What a name on the command line begins with that is one of torch-fidelity's."""
_SECONDS = 30


def extractor_by_name(model: str, foreign: Foreign | None = None) -> Extractor:
    """What --extractor names: one of torch-fidelity's, or a classifier.

    Args:
        model: torch-fidelity:NAME[:LAYER], or any MODEL that classifies.
        foreign: what a classifier of one's own does not say itself.

    Raises:
        InputError: there is no such thing, or its weights cannot be had.
    """
    return registered_extractor(model) if model.startswith(PREFIX) else classifier_extractor(model, foreign)


def registered_extractor(given: str) -> Extractor:
    """One of torch-fidelity's extractors, with features of one of its layers.

    An Inception score is of logits, and extractors without a layer of them have none. Inception with its usual layer is
    the usual extractor.

    Args:
        given: torch-fidelity:NAME[:LAYER]; the layer is the one that torch-fidelity takes the FID of, where none is
            named.

    Raises:
        InputError: no such extractor or layer, or its weights are not there and cannot be downloaded.
    """
    name, _, layer = given.removeprefix(PREFIX).partition(":")
    kind = FEATURE_EXTRACTORS_REGISTRY.get(name)
    if kind is None:
        raise unknown("extractor of torch-fidelity", name, FEATURE_EXTRACTORS_REGISTRY)
    layers = kind.get_provided_features_list()
    if layer and layer not in layers:
        raise unknown(f"layer of {name}", layer, layers)
    layer = layer or kind.get_default_feature_layer_for_metric("fid")
    scored = kind.get_default_feature_layer_for_metric("isc")
    logits = scored if "logits" in scored else None
    if name == NAME and layer == "2048":
        return inception_extractor()
    network = _made(given, name, tuple(dict.fromkeys((layer, logits) if logits else (layer,))))

    def extract(pixels: Tensor) -> tuple[Tensor, Tensor]:
        found = network(pixels)
        features = found[0].flatten(1)
        return features, found[-1] if logits else features[:, :0]

    with torch.no_grad():
        width = extract(network.get_dummy_input_for_compile())[0].shape[1]
    return Extractor(
        name=name,
        model=given,
        layers=(layer, logits or layer),
        features=width,
        digest=digest_of(network.state_dict()),
        preprocessing=f"torch-fidelity's own for {name}",
        network=network,
        extract=extract,
        channels=3,
        batch_size=64,
        classifies=logits is not None,
    )


def _made(given: str, name: str, layers: tuple[str, ...]) -> torch.nn.Module:
    """The network, in evaluation mode on the CPU.

    Raises:
        InputError: its weights are not there and cannot be downloaded.
    """
    weights = {"feature_extractor_weights_path": str(downloaded())} if name == NAME else {}
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_SECONDS)  # give up on a network that does not answer
    try:
        with contextlib.redirect_stdout(sys.stderr):
            return create_feature_extractor(name, list(layers), cuda=False, verbose=False, **weights)
    except InputError:
        raise
    except Exception as error:  # whatever urllib, torch.hub and the code that it fetches raise
        place = Path(torch.hub.get_dir())
        raise InputError(
            f"--extractor {given}: its weights are not in {place} and could not be downloaded ({described(error)}): "
            "fetch them where there is a network and copy that folder ($TORCH_HOME/hub), or give another extractor"
        ) from None
    finally:
        socket.setdefaulttimeout(before)
