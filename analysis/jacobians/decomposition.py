"""The full-Jacobian of a network at images: f(x) = J_x x + the sum of what each operation adds."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Literal, get_args

import torch
from jaxtyping import Shaped
from torch import Tensor, nn

from analysis.jacobians.intercepts import Source
from analysis.jacobians.recording import Recorded, Recorder
from analysis.jacobians.terms import BiasTerm, Decomposition
from priors.errors import InputError, unknown

Kept = Literal["totals", "maps", "values"]
Of = Literal["logit", "margin"]
_PASSES = 3
"""How many times the bytes of all results a pass takes, with what is kept for the way back."""
_LOST = 1e4
"""Roundings of a residual beyond which terms of several images were taken for each other's."""


def decompose(
    network: nn.Module,
    images: Shaped[Tensor, "..."],
    target: Shaped[Tensor, "..."] | Sequence[int] | int | float | None = None,
    *,
    of: str = "logit",
    keep: str = "maps",
    memory: int = 2**30,
) -> Decomposition:
    """Write what a network computes at images as f(x) = J_x x + sum of b_l . df/dz_l (Srinivas and Fleuret 2019).

    The sum is exact for any composition of differentiable operations: each gives D z + b of what it is given, D being
    its derivative there. Equation 1 of the paper is the case of ReLU networks, whose b are parameters.

    Each execution of an operation is followed by itself, so layers may be used again, may be functions and may write
    over what they are given. What is computed without gradients counts as constant.

    Args:
        network: from images (batch, ...) to outputs (batch, classes) or (batch,); in evaluation mode.
        images: x, in single or double precision.
        target: the classes, one or one an image; unset: the largest output.
        of: f is the "logit" of the target, or its "margin", the logit less the largest other one.
        keep: of each term its totals, maps too, or values too; the last take the memory of all activations.
        memory: bytes that a pass may take about; more images are worked on in turn.

    Raises:
        InputError: images of another kind, or that are not finite; outputs that are not one tensor; a class that there
            is none of; batch norm or dropout in training mode; an operation that cannot be decomposed, which is named.
    """
    if of not in get_args(Of):
        raise unknown("of", of, get_args(Of))
    if keep not in get_args(Kept):
        raise unknown("keep", keep, get_args(Kept))
    if images.dtype not in (torch.float32, torch.float64) or images.ndim < 2 or len(images) == 0:
        raise InputError(
            f"images are {images.dtype} of shape {tuple(images.shape)}: (batch, ...) in float32 or float64 was expected"
        )
    if not bool(images.isfinite().all()):
        raise InputError("images have values that are not finite")
    target = None if target is None else _classes(target, len(images))
    with _still(network):
        several = len(images) > 1
        alone = _pass(network, images[:1], _some(target, slice(0, 1)), of, "totals" if several else keep, None)
        if not several:
            return alone.found
        found, at = [], 0
        size = max(1, int(memory / max(1, _PASSES * alone.bytes)))
        while at < len(images):
            some = slice(at, min(at + size, len(images)))
            given = images[some], _some(target, some), of, keep
            if some.stop - at > 1:
                done = _pass(network, *given, alone.shapes).found
                if done is None or not bool(done.residual.amax() <= _LOST * torch.finfo(images.dtype).eps):
                    size = 1
                    continue
            else:
                done = _pass(network, *given, None).found
            found.append(done)
            at = some.stop
    return _joined(found)


@dataclass(frozen=True)
class _Passed:
    """What one pass found.

    Attributes:
        found: of its images; None where terms of several images cannot be told apart.
        shapes: of the results that terms are of.
        bytes: of all results.
    """

    found: Decomposition | None
    shapes: tuple[torch.Size, ...]
    bytes: int


def _pass(
    network: nn.Module,
    images: Tensor,
    target: Tensor | None,
    of: str,
    keep: str,
    alone: Sequence[torch.Size] | None,
) -> _Passed:
    """One pass through the network and back.

    Args:
        network: like what follows, as `decompose` says.
        images: one, or several.
        target: of them.
        of: which output.
        keep: of the terms.
        alone: shapes of the results in a pass of one image, by which the axis of several is found.
    """
    batch = len(images)

    def reduced(entry: Recorded, product: Tensor) -> tuple[Tensor, Tensor | None, Tensor | None]:
        axis = 0 if alone is None else _axis(alone[entry.number], entry.shape, batch)
        product = product.movedim(axis, 0)
        own = product.reshape(batch, -1).sum(1)
        if keep == "totals":
            return own, None, None
        spatial = entry.channels is not None and axis == 0 and product.ndim == 4 and len(product) == batch
        whole = product if alone is not None or len(product) == 1 else product[None]
        kept = keep == "values" or (spatial and entry.source == "constant")
        return own, product.sum(entry.channels) if spatial else None, whole if kept else None

    leaf = images.detach().clone().requires_grad_()
    recorder = Recorder(network, reduced)
    with torch.enable_grad():
        given = leaf.clone()
        recorder.begin(given)
        with recorder.layers(), recorder:
            outputs = network(given)
        chosen, labels = _chosen(recorder, outputs, batch, target, of)
        shapes = tuple(entry.shape for entry in recorder.found)
        if alone is not None and not _alike(alone, shapes, batch):
            return _Passed(None, shapes, recorder.bytes)
        slope = torch.autograd.grad(chosen.sum(), leaf)[0] if chosen.requires_grad else None
    chosen = chosen.detach()
    none = chosen.new_zeros(batch), None, None
    terms = tuple(
        BiasTerm(entry.layer, entry.operation, entry.execution, entry.source, *(entry.product or none))
        for entry in recorder.found
    )
    if slope is None:  # the output is no function of the images
        terms += (BiasTerm("", "output", 0, "constant", chosen, None, chosen if keep == "values" else None),)
        slope = torch.zeros_like(images)
    found = Decomposition(images.detach(), labels, chosen, slope, terms, chosen)
    return _Passed(replace(found, residual=_residual(found)), shapes, recorder.bytes)


def _chosen(recorder: Recorder, outputs: object, batch: int, target: Tensor | None, of: str) -> tuple[Tensor, Tensor]:
    """The output that is looked at, and the class that it is of."""
    if not isinstance(outputs, Tensor) or outputs.ndim not in (1, 2) or len(outputs) != batch:
        said = f"shape {tuple(outputs.shape)}" if isinstance(outputs, Tensor) else type(outputs).__name__
        raise InputError(f"the network gives {said}: one tensor (batch, classes) or (batch,) was expected")
    if not outputs.is_floating_point():
        raise InputError(f"the network gives {outputs.dtype}: numbers that have slopes were expected")
    recorder.check(outputs)
    outputs = outputs[:, None] if outputs.ndim == 1 else outputs
    classes = outputs.shape[1]
    labels = outputs.argmax(1) if target is None else target.to(outputs.device)
    if bool(((labels < 0) | (labels >= classes)).any()):
        raise InputError(f"target is {labels.tolist()}: classes 0 to {classes - 1} were expected")
    logit = outputs.gather(1, labels[:, None]).squeeze(1)
    if of == "logit":
        return logit, labels
    if classes < 2:
        raise InputError("a margin is over another class: the network gives one output")
    others = outputs.detach().scatter(1, labels[:, None], -torch.inf).argmax(1, keepdim=True)
    return logit - outputs.gather(1, others).squeeze(1), labels


def _classes(target: Tensor | Sequence[int] | int | float, count: int) -> Tensor:
    """Class numbers, (count,)."""
    target = torch.as_tensor(target)
    if target.is_floating_point() or target.dtype == torch.bool or target.shape not in ((), (count,)):
        raise InputError(
            f"target is {target.dtype} of shape {tuple(target.shape)}: a class number, or one for each of {count} "
            "images, was expected"
        )
    return target.long().expand(count)


def _some(target: Tensor | None, some: slice) -> Tensor | None:
    """The classes of some images."""
    return None if target is None else target[some]


def _alike(alone: Sequence[torch.Size], shapes: Sequence[torch.Size], batch: int) -> bool:
    """Whether a pass of several images did what that of one did."""
    pairs = zip(alone, shapes, strict=False)
    return len(alone) == len(shapes) and all(_axis(one, other, batch) is not None for one, other in pairs)


def _axis(alone: torch.Size, shape: torch.Size, batch: int) -> int | None:
    """The one axis that grew with the number of images."""
    if len(alone) != len(shape):
        return None
    grown = [axis for axis, (one, other) in enumerate(zip(alone, shape, strict=True)) if one != other]
    return grown[0] if len(grown) == 1 and shape[grown[0]] == batch * alone[grown[0]] else None


def _residual(found: Decomposition) -> Tensor:
    totals = torch.stack([found.input_term, *(term.total for term in found.terms)])
    return (found.output - totals.sum(0)).abs() / (found.output.abs() + totals.abs().sum(0)).clamp_min(
        torch.finfo(totals.dtype).tiny
    )


def _joined(found: Sequence[Decomposition]) -> Decomposition:
    """Several batches as one."""
    if len(found) == 1:
        return found[0]

    def joined(parts: Sequence[Tensor | None]) -> Tensor | None:
        return None if parts[0] is None else torch.cat(parts)

    terms = []
    for several in zip(*(one.terms for one in found), strict=False):
        first = several[0]
        if any(_name(one) != _name(first) for one in several) or len({len(one.terms) for one in found}) > 1:
            raise InputError(
                "the network runs other operations for other images: decompose them one by one, in a call each"
            )
        tensors = (joined([getattr(one, part) for one in several]) for part in ("total", "map", "value"))
        terms.append(BiasTerm(*_name(first), *tensors))
    parts = (torch.cat([getattr(one, part) for one in found]) for part in ("images", "target", "output", "jacobian"))
    return Decomposition(*parts, tuple(terms), torch.cat([one.residual for one in found]))


def _name(term: BiasTerm) -> tuple[str, str, int, Source]:
    return term.layer, term.operation, term.execution, term.source


@contextmanager
def _still(network: nn.Module) -> Iterator[None]:
    """Parameters that ask for no gradients: what does is what depends on the images."""
    asking = [one for one in network.parameters() if one.requires_grad]
    try:
        for one in asking:
            one.requires_grad_(False)
        yield
    finally:
        for one in asking:
            one.requires_grad_(True)
