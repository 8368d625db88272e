"""Which number of a network is decomposed: a logit, a margin, or the log-density of a class under a prior."""

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from priors import ClassifierPrior
from priors.errors import InputError, unknown
from priors.reading.heads import find_head
from priors.zoo.network import Classifier

Of = Literal["logit", "margin", "log-density"]


@dataclass(frozen=True)
class Asked:
    """What f is.

    Attributes:
        of: as `analysis.jacobians.decomposition.decompose` says.
        prior: in the type of the images and beside them; None where f is of the network's own outputs.
        tap: name of the penultimate activations for `priors.tap`, where there is a prior.
    """

    of: Of
    prior: ClassifierPrior | None = None
    tap: str | None = None

    def chosen(
        self, scores: Float[Tensor, "batch *classes"], target: Int[Tensor, " batch"] | None
    ) -> tuple[Float[Tensor, " batch"], Int[Tensor, " batch"]]:
        """The number that is looked at, and the class that it is of.

        Args:
            scores: logits or log-densities of classes, or one number an image.
            target: classes; None: those of the largest scores.

        Raises:
            InputError: a class that there is none of, or a margin where there is one class.
        """
        scores = scores[:, None] if scores.ndim == 1 else scores
        classes = scores.shape[1]
        labels = scores.argmax(1) if target is None else target.to(scores.device)
        if bool(((labels < 0) | (labels >= classes)).any()):
            raise InputError(f"target is {labels.tolist()}: classes 0 to {classes - 1} were expected")
        score = scores.gather(1, labels[:, None]).squeeze(1)
        if self.of != "margin":
            return score, labels
        if classes < 2:
            raise InputError("a margin is over another class: the network gives one output")
        others = scores.detach().scatter(1, labels[:, None], -torch.inf).argmax(1, keepdim=True)
        return score - scores.gather(1, others).squeeze(1), labels


def asked(network: nn.Module, images: Tensor, of: str, prior: ClassifierPrior | None, head: str | None) -> Asked:
    """Look up what f is to be.

    Args:
        network: the eager one.
        images: (batch, ...), as the network takes them.
        of: a name of `Of`.
        prior: of log-densities.
        head: name of the layer whose input are penultimate activations.

    Raises:
        InputError: no such name, a prior where none is used or none where it is, a head that is not there, or one that
            takes other activations than the prior is of.
    """
    if of not in get_args(Of):
        raise unknown("of", of, get_args(Of))
    if of == "log-density" and prior is None:
        raise InputError("of='log-density' is under a prior: give prior=, as ClassifierPrior.from_classifier makes it")
    if prior is None:
        if head is not None:
            raise InputError(f"head={head!r} says what a prior's activations are, and no prior is given")
        return Asked(of)
    if of == "logit":
        raise InputError("a prior has no part in a logit: give of='log-density', or of='margin' for that of densities")
    if head is None and isinstance(network, Classifier):
        head = network.head_name
    name, layer = find_head(network, head, images.shape[1:])
    if layer.in_features != prior.dim:
        raise InputError(
            f"the prior is of activations of {prior.dim} dimensions, and the head {name!r} takes {layer.in_features}: "
            "give the prior of this network"
        )
    if (prior.loc.dtype, prior.loc.device) != (images.dtype, images.device):
        prior = deepcopy(prior).to(images)
    return Asked(of, prior, f"{name}:input")


def classes_of(target: Tensor | Sequence[int] | int | float, count: int) -> Int[Tensor, " count"]:
    """Class numbers, one an image.

    Args:
        target: one for all, or one an image.
        count: of images.

    Raises:
        InputError: no whole numbers, or another number of them.
    """
    target = torch.as_tensor(target)
    if target.is_floating_point() or target.dtype == torch.bool or target.shape not in ((), (count,)):
        raise InputError(
            f"target is {target.dtype} of shape {tuple(target.shape)}: a class number, or one for each of {count} "
            "images, was expected"
        )
    return target.to(torch.long, copy=True).expand(count)  # a copy, since it may be of inference mode
