"""The full-Jacobian of a network at images: f(x) = J_x x + the sum of what each operation adds."""

import inspect
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

import torch
from jaxtyping import Shaped
from torch import Tensor, nn

from analysis.jacobians.intercepts import Source
from analysis.jacobians.outputs import Asked, asked, classes_of
from analysis.jacobians.recording import Recorded, Recorder, own_functions
from analysis.jacobians.terms import BiasTerm, Decomposition
from priors import ClassifierPrior, tap
from priors.checks.floats import own_dtype, require_digits
from priors.errors import InputError, unknown
from priors.reading.dry_pass import constant_parameters, without_autocast
from priors.reading.taps import refuse_scripted, unwrapped

Kept = Literal["totals", "maps", "values"]
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
    prior: ClassifierPrior | None = None,
    head: str | None = None,
    arguments: Sequence[Shaped[Tensor, "..."]] = (),
    keep: str = "maps",
    memory: int = 2**30,
) -> Decomposition:
    """Write what a network computes at images as f(x) = J_x x + sum of b_l . df/dz_l (Srinivas and Fleuret 2019).

    The sum is exact for any composition of differentiable operations: each gives D z + b of what it is given, D being
    its derivative there. Equation 1 of the paper is the case of ReLU networks, whose b are parameters.

    Each execution of an operation is followed by itself, so layers may be used again, may be functions and may write
    over what they are given. What is computed without gradients counts as constant. A `torch.autograd.Function` of the
    network's own has to define a `jvp`.

    A log-density depends on the direction of the penultimate activations alone: whatever makes them longer changes
    nothing. So J_x x and all terms of the network add up to 0, and their signs say what turns the direction towards
    the class and what away from it. The normalisation to a direction has the term concentration * cosine, and what is
    left are constants; all of these are of the layer "log-density".

    Args:
        network: from images (batch, ...) to outputs (batch, classes) or (batch,); in evaluation mode. Wrappers around
            it are looked through, compiled networks run eagerly, and autocast is off.
        images: x, in single or double precision; brought to that of the network's weights.
        target: the classes, one or one an image; unset: the largest output.
        of: f is the "logit" of the target; its "margin", the logit less the largest other one; or, under a prior, the
            "log-density" of where the penultimate activations point, in nats.
        prior: of log-densities; with of="margin", f is the log-density less the largest other one, which are the
            log-odds of two classes that are as probable before the image is seen.
        head: name of the linear layer whose input are the penultimate activations, where it is not clear.
        arguments: what else the network is given after the images, one row an image, such as the labels that an SNGAN's
            discriminator takes.
        keep: of each term its totals, maps too, or values too; the last take the memory of all activations.
        memory: bytes that a pass may take about, beside what is returned; more images are worked on in turn.

    Raises:
        InputError: images of another kind or of a size that an operation does not take, which is named, or that are not
            finite; outputs that are not one tensor; a class that there is none of; a prior of another network; batch
            norm or dropout in training mode; an operation that cannot be decomposed, which is named.
    """
    if keep not in get_args(Kept):
        raise unknown("keep", keep, get_args(Kept))
    core = unwrapped(network)
    refuse_scripted(core)
    with torch.inference_mode(False):
        given = _checked(core, images, arguments)
        labels = None if target is None else classes_of(target, len(images))
    with torch.inference_mode(False), without_autocast(given[0].device):
        passing = _Passing(core, asked(core, given[0], of, prior, head), keep, given, labels)
        with constant_parameters(core):
            return passing.decomposed(memory)


def _checked(network: nn.Module, images: Tensor, arguments: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """What the network is given, as it takes it."""
    if not isinstance(images, Tensor):
        raise InputError(f"images are a {type(images).__name__}: one tensor (batch, ...) was expected")
    if images.dtype not in (torch.float32, torch.float64) or images.ndim < 2 or len(images) == 0:
        raise InputError(
            f"images are {images.dtype} of shape {tuple(images.shape)}: (batch, ...) in float32 or float64 was expected"
        )
    if not bool(images.isfinite().all()):
        raise InputError("images have values that are not finite")
    for number, one in enumerate(arguments):
        if not isinstance(one, Tensor) or one.ndim == 0 or len(one) != len(images):
            said = f"of shape {tuple(one.shape)}" if isinstance(one, Tensor) else f"a {type(one).__name__}"
            raise InputError(
                f"arguments[{number}] is {said}: a tensor of {len(images)} rows, one an image, was expected"
            )
    require_digits(network, "the network")
    try:
        signature = inspect.signature(network.forward)
        signature.bind(images, *arguments)
    except TypeError as error:
        raise InputError(
            f"the network takes {signature}, and not images and {len(arguments)} further arguments ({error}): give "
            "what else it takes by arguments=, one row an image, or a module around it that takes images alone"
        ) from None
    return tuple(
        one.detach().clone() if one.is_inference() else one.detach()
        for one in (images.to(own_dtype(network) or images.dtype), *arguments)
    )


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


@dataclass(frozen=True)
class _Passing:
    """Passes through a network and back.

    Attributes:
        network: the eager one.
        asked: what f is.
        keep: of the terms.
        given: images, and what else the network takes.
        target: classes; None: those of the largest outputs.
    """

    network: nn.Module
    asked: Asked
    keep: str
    given: tuple[Tensor, ...]
    target: Tensor | None

    def decomposed(self, memory: int) -> Decomposition:
        """All images: the first alone, by which the axes of several are told, and as many at a time as fit."""
        count = len(self.given[0])
        alone = self._pass(slice(0, 1), "totals" if count > 1 else self.keep, None)
        if count == 1:
            return alone.found
        found, at = [], 0
        size = max(1, int(memory / max(1, _PASSES * alone.bytes)))
        while at < count:
            some = slice(at, min(at + size, count))
            several = some.stop - at > 1
            done = self._pass(some, self.keep, alone.shapes if several else None).found
            most = _LOST * torch.finfo(self.given[0].dtype).eps
            if several and (done is None or not bool(done.residual.amax() <= most)):
                size = 1
                continue
            found.append(done)
            at = some.stop
        return _joined(found)

    def _pass(self, some: slice, keep: str, alone: Sequence[torch.Size] | None) -> _Passed:
        """One pass and back.

        Args:
            some: which images.
            keep: of their terms.
            alone: shapes of the results in a pass of one image, by which the axis of several is found.
        """
        images, *rest = (one[some] for one in self.given)
        target = None if self.target is None else self.target[some]
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
        recorder = Recorder(self.network, reduced)
        try:
            with torch.enable_grad():
                chosen, labels = self.asked.chosen(self._scores(recorder, leaf, rest), target)
                shapes = tuple(entry.shape for entry in recorder.found)
                if alone is not None and not _alike(alone, shapes, batch):
                    return _Passed(None, shapes, recorder.bytes)
                slope = torch.autograd.grad(chosen.sum(), leaf)[0] if chosen.requires_grad else None
        finally:
            recorder.release()
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

    def _scores(self, recorder: Recorder, leaf: Tensor, rest: Sequence[Tensor]) -> Tensor:
        """What the network gives, or what the prior gives of its activations."""
        given = leaf.clone()
        recorder.begin(given)
        names = () if self.asked.tap is None else (self.asked.tap,)
        with tap(self.network, names) as taps, own_functions(), recorder.layers(), recorder:
            try:
                scores = self.network(given, *rest)
            except InputError:
                raise
            except Exception as error:
                said = recorder.failed(error)
                if said is None or isinstance(error, torch.OutOfMemoryError):
                    raise
                shape = f"shape {tuple(leaf.shape[1:])}, {leaf.dtype} on {leaf.device}"
                raise InputError(f"{said} fails for images of {shape}: {str(error).partition(chr(10))[0]}") from error
            if self.asked.tap is not None:
                activations = taps[self.asked.tap]
                recorder.check(activations)
                if activations.ndim != 2:
                    raise InputError(
                        f"the head is given {tuple(activations.shape)}: one vector an image was expected, of which a "
                        "prior has densities"
                    )
                with recorder.layer("log-density"):
                    scores = self.asked.prior.log_prob(activations)
        if not isinstance(scores, Tensor) or scores.ndim not in (1, 2) or len(scores) != len(leaf):
            said = f"shape {tuple(scores.shape)}" if isinstance(scores, Tensor) else type(scores).__name__
            raise InputError(f"the network gives {said}: one tensor (batch, classes) or (batch,) was expected")
        if not scores.is_floating_point():
            raise InputError(f"the network gives {scores.dtype}: numbers that have slopes were expected")
        recorder.check(scores)
        return scores


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
