"""Out-of-distribution scores by pytorch-ood, of the same activations as penult's own: KNN, ViM and ReAct.

Higher is more like the classifier's own images here, as with the other scores; that package has it the other way round.
The settings are those of the papers, as far as they can be for any network.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib.util import find_spec

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import linear

from apps.models.activations import Activations
from priors.errors import InputError
from priors.model.final_layer import read_final_layer
from priors.zoo import Classifier

NEIGHBOURS = 50
"""Of knn: what its paper has on CIFAR-10 (200 on CIFAR-100, 1,000 on ImageNet)."""
PERCENTILE = 0.9
"""Of react: the fraction of all training activations that are not clipped."""

PeerScore = Callable[[Activations], Float[Tensor, " n"]]


def require_peers(names: Sequence[str]) -> None:
    """Refuse scores of a package that is not there.

    Raises:
        InputError: pytorch-ood is not installed.
    """
    if names and find_spec("pytorch_ood") is None:
        raise InputError(
            f"--also {' '.join(names)}: pytorch-ood is not installed here; install it with pip install pytorch-ood, or "
            "leave it out"
        )


def fit_peer_scores(names: Sequence[str], network: Classifier, train: Activations) -> dict[str, PeerScore]:
    """Each score, fitted to the training activations, by its name in tables.

    Args:
        names: of `PEERS`.
        network: whose final layer is read.
        train: activations of the training images.

    Raises:
        InputError: fewer training images than neighbours.
    """
    if "knn" in names and len(train.labels) < NEIGHBOURS:
        raise InputError(
            f"--also knn takes {NEIGHBOURS} training images at least, and there are {len(train.labels)}: leave it out"
        )
    weight, bias, *_ = read_final_layer(network)
    weight = weight.detach().cpu().float()
    bias = torch.zeros(len(weight)) if bias is None else bias.detach().cpu().float()
    return {PEERS[name][0]: PEERS[name][2](weight, bias, train) for name in dict.fromkeys(names)}


def _knn(weight: Tensor, bias: Tensor, train: Activations) -> PeerScore:
    """Minus the distance of a direction to its 50th nearest training direction (Sun, Ming, Zhu and Li 2022)."""
    from pytorch_ood.detector import KNN

    found = KNN(None, k=NEIGHBOURS).fit_features(train.penultimate.float(), train.labels)
    return lambda seen: -found.predict_features(seen.penultimate.float()).double()


def _vim(weight: Tensor, bias: Tensor, train: Activations) -> PeerScore:
    """Energy minus the virtual logit, a scaled norm outside the principal subspace (Wang, Li, Feng and Zhang 2022)."""
    from pytorch_ood.detector import ViM

    found = ViM(None, d=principal(weight.shape[1]), w=weight, b=bias)
    found.fit_features(train.penultimate.float(), train.labels)
    return lambda seen: -found.predict_features(seen.penultimate.float()).double()


def principal(dim: int) -> int:
    """Dimension of vim's principal subspace, as in its code: 1,000 of 2,048 or more, 512 of 768 or more, else half."""
    return 1000 if dim >= 2048 else 512 if dim >= 768 else dim // 2


def _react(weight: Tensor, bias: Tensor, train: Activations) -> PeerScore:
    """Energy of activations that are clipped at a percentile (Sun, Guo and Li 2021)."""
    from pytorch_ood.detector import ReAct

    found = ReAct(None, partial(linear, weight=weight, bias=bias), percentile=PERCENTILE)
    found.fit_feature_maps(train.penultimate.float(), train.labels)
    return lambda seen: -found.predict_feature_maps(seen.penultimate.float()).double()


PEERS: Mapping[str, tuple[str, str, Callable[[Tensor, Tensor, Activations], PeerScore]]] = {
    "knn": ("KNN", f"minus the distance to neighbour {NEIGHBOURS}", _knn),
    "vim": ("ViM", "energy minus the virtual logit (nats)", _vim),
    "react": ("ReAct", "energy of clipped activations (nats)", _react),
}
"""By the word on the command line: the name in tables, the quantity with its unit, and what fits it."""
