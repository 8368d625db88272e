"""Where activations point, seen from the directions of their own classes' weights."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor

from priors.checks.floats import require_floats
from priors.checks.labels import class_numbers
from priors.errors import InputError

_NUMBERS = 2**22
"""Numbers in double precision that are held at a time, besides what is kept."""


def unit(vectors: Float[Tensor, "*batch m"]) -> Float[Tensor, "*batch m"]:
    """Vectors over their norms, of any length that their type has: no square over- or underflows, no length is clamped.

    Zero vectors, which have no direction, and those that are not finite give NaN.

    Example:
        >>> unit(torch.tensor([[3e-30, 4e-30], [3e30, 4e30]]))
        tensor([[0.6000, 0.8000],
                [0.6000, 0.8000]])
    """
    near_one = vectors * _factor(vectors)
    return near_one / near_one.norm(dim=-1, keepdim=True)


def norms(vectors: Float[Tensor, "*batch m"]) -> Float[Tensor, "*batch"]:
    """Norms of vectors, of any length that their type has."""
    factor = _factor(vectors)
    return (vectors * factor).norm(dim=-1) / factor.squeeze(-1)


def in_parts(function: Callable[..., Tensor], *rows: Float[Tensor, "n _"]) -> Shaped[Tensor, "n *rest"]:
    """What a function gives for each row, some rows at a time: those of 21,841 classes in 2,048 dimensions are 358 MB.

    Args:
        function: from rows of each of the tensors to as many results, each of its rows alone.
        rows: one tensor or several, with as many rows.
    """
    count, m = rows[0].shape
    size = at_once(m)
    if count <= size:
        return function(*rows)
    found = None
    for first, *parts in zip(range(0, count, size), *(one.split(size) for one in rows), strict=True):
        own = function(*parts)
        found = own.new_empty(count, *own.shape[1:]) if found is None else found
        found[first : first + size] = own
    return found


def at_once(m: int) -> int:
    """Rows in m dimensions that are worked on at a time."""
    return max(1, _NUMBERS // max(1, m))


def _factor(vectors: Tensor) -> Tensor:
    """The power of two that brings a vector's largest entry to between 1/2 and 1: multiplying by it rounds nothing."""
    largest = vectors.detach().abs().amax(-1, keepdim=True).clamp_min(torch.finfo(vectors.dtype).tiny)
    return torch.frexp(largest).mantissa / largest


@dataclass(frozen=True)
class Directions:
    """Directions of activations about their classes' weights, in float64 on the weight's device.

    Attributes:
        versine: (n,) 1 - cos of the angle between an activation and its class's weight, in [0, 2], which rounding
            does not spoil where the two are close.
        labels: (n,) their classes.
        count: (classes,) how many of each class have a direction.
        zero: (classes,) how many were left out, since a zero activation has no direction.
        resultant: (classes,) length of the mean of each class's directions, wherever that points; NaN without any.
    """

    versine: Float[Tensor, " n"]
    labels: Int[Tensor, " n"]
    count: Int[Tensor, " classes"]
    zero: Int[Tensor, " classes"]
    resultant: Float[Tensor, " classes"]

    def of(self, label: int) -> Float[Tensor, " n_i"]:
        """The versines of one class."""
        return self.versine[self.labels == label]


def class_directions(
    activations: Float[Tensor, "..."],
    labels: Shaped[Tensor, "..."],
    weight: Float[Tensor, "classes m"],
    class_names: Sequence[str],
) -> Directions:
    """Look at activations (n, m) of classes (n,) from their classes' weights.

    Raises:
        InputError: activations or labels of another shape or none at all, a label out of range, or an activation that
            is not finite (its class is named) or an integer.
    """
    classes, m = weight.shape
    require_activations(activations, m)
    labels = class_numbers(labels, len(activations), classes).to(weight.device)
    loc = unit(weight.double())
    sums, versines, kept = torch.zeros_like(loc), [], []
    for rows, own in zip(*(part.split(at_once(m)) for part in (activations, labels)), strict=True):
        rows = rows.to(loc)
        largest = rows.abs().amax(1, keepdim=True)
        if not bool(largest.isfinite().all()):
            label = int(own[(~largest.isfinite()).flatten()][0])
            raise InputError(f"activations of class {class_names[label]!r} have values that are not finite")
        pointing = largest.flatten() > 0
        # Divided by the largest entry first, so that no square overflows.
        units = torch.nn.functional.normalize(rows[pointing] / largest[pointing], dim=1)
        sums.index_add_(0, own[pointing], units)
        versines.append(0.5 * (units - loc[own[pointing]]).square().sum(1))
        kept.append(own[pointing])
    kept = torch.cat(kept)
    count = kept.bincount(minlength=classes)
    return Directions(
        torch.cat(versines), kept, count, labels.bincount(minlength=classes) - count, sums.norm(dim=1) / count
    )


def versines(vectors: Float[Tensor, "n m"], loc: Float[Tensor, "n m"]) -> Float[Tensor, " n"]:
    """1 - cos of the angle between each vector and its unit vector, without cancellation; NaN for a zero vector."""
    return 0.5 * (unit(vectors) - loc).square().sum(1)


def directions_of(
    versine: Float[Tensor, " n"], labels: Int[Tensor, " n"], resultant: Float[Tensor, " classes"]
) -> Directions:
    """What a sweep's `versines` come to.

    Args:
        versine: of each activation; NaN where it has no direction.
        labels: their classes.
        resultant: as in `Directions`.
    """
    classes, pointing = len(resultant), ~versine.isnan()
    count = labels[pointing].bincount(minlength=classes)
    zero = labels.bincount(minlength=classes) - count
    return Directions(versine[pointing], labels[pointing], count, zero, resultant)


def require_activations(activations: Tensor, m: int) -> None:
    """Raise InputError where activations are not (N, m) with N at least 1, or no floating-point numbers."""
    if activations.ndim != 2 or activations.shape[1] != m or len(activations) == 0:
        raise InputError(f"activations have shape {tuple(activations.shape)}: (N, {m}) was expected, N at least 1")
    require_floats(activations, "activations")


def require_vectors(activations: Float[Tensor, "..."], m: int) -> None:
    """Raise InputError where activations are not (..., m), or no floating-point numbers."""
    require_floats(activations, "activations")
    if activations.ndim == 0 or activations.shape[-1] != m:
        raise InputError(f"activations have shape {tuple(activations.shape)}: (..., {m}) was expected")


def require_pointing(vectors: Float[Tensor, "*batch m"]) -> None:
    """Raise InputError on the CPU where vectors have no direction; other devices, which it would wait for, are spared.

    There, and while compiling, they give NaN.
    """
    if vectors.device.type == "cpu" and not torch.compiler.is_compiling():
        largest = vectors.detach().abs().amax(-1)
        without = int((~((largest > 0) & largest.isfinite())).sum())
        if without:
            raise InputError(f"{without} activations are zero or not finite: they have no direction")
