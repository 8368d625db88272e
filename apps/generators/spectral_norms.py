"""Weights of spectral norm 1 (Miyato et al. 2018), whose power iterations are taken for all layers of a shape at once.

A layer's own are a dozen kernels on vectors so short that a GPU does little but start them.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.utils import parametrize

_EPS = 1e-12
"""Least length that a vector is divided by, as in torch's own `spectral_norm`."""
_FIRST = 15
"""Power iterations at the start, likewise."""

# A copy that a compiler cannot leave out. It would keep the vectors themselves for the backward pass, and another use
# of the network before that pass, as R1 has one, writes over them.
torch.library.define("penult::copied", "(Tensor vector) -> Tensor")


@torch.library.impl("penult::copied", "CompositeExplicitAutograd")
def _(vector: Tensor) -> Tensor:
    return vector.clone(memory_format=torch.contiguous_format)


@torch.library.register_fake("penult::copied")
def _(vector: Tensor) -> Tensor:
    return torch.empty_like(vector, memory_format=torch.contiguous_format)


def _copied(vector: Tensor) -> Tensor:
    if torch.compiler.is_compiling():
        return torch.ops.penult.copied(vector)
    return vector.clone(memory_format=torch.contiguous_format)


class SpectralNorm(nn.Module):
    """The parametrisation of torch's `spectral_norm`, with its buffers and its numbers, of one weight.

    In training each use takes a power iteration, unless `at_once` has done that.

    Args:
        weight: (rows, ...), as it starts; what follows the rows counts as columns.

    Attributes:
        ready: the weight of norm 1, while `at_once` is open.
    """

    _u: Tensor
    _v: Tensor

    def __init__(self, weight: Float[Tensor, "rows *columns"]):
        super().__init__()
        matrix = weight.flatten(1)
        self.ready: Tensor | None = None
        for name, size in zip(("_u", "_v"), matrix.shape, strict=True):
            self.register_buffer(name, F.normalize(matrix.new_empty(size).normal_(), dim=0, eps=_EPS))
        for _ in range(_FIRST):
            self._iterate(matrix)

    @torch.no_grad()
    def _iterate(self, matrix: Tensor) -> None:
        F.normalize(torch.mv(matrix, self._v), dim=0, eps=_EPS, out=self._u)
        F.normalize(torch.mv(matrix.H, self._u), dim=0, eps=_EPS, out=self._v)

    def forward(self, weight: Float[Tensor, "rows *columns"]) -> Float[Tensor, "rows *columns"]:
        """The weight over its largest singular value, as far as that is known."""
        if self.ready is not None:
            return self.ready
        matrix = weight.flatten(1)
        if self.training:
            self._iterate(matrix)
        u, v = _copied(self._u), _copied(self._v)
        return weight / torch.vdot(u, torch.mv(matrix, v))

    def right_inverse(self, weight: Float[Tensor, "rows *columns"]) -> Float[Tensor, "rows *columns"]:
        """The weight, which is taken to be what is normalised."""
        return weight


def spectral_norm(module: nn.Module) -> None:
    """Have a layer's weight normalised; its state is that of torch's `spectral_norm`."""
    parametrize.register_parametrization(module, "weight", SpectralNorm(module.weight))


def stored(module: nn.Module) -> Tensor:
    """A layer's weight as it is kept: to ask for one that is normalised would take a power iteration."""
    return module.parametrizations.weight.original if parametrize.is_parametrized(module, "weight") else module.weight


def while_used(network: nn.Module, groups: Sequence[Sequence[parametrize.ParametrizationList]], device: torch.device):
    """What is open while a network is used: `at_once` in training on a GPU; a CPU gains nothing by that.

    Args:
        network: whose weights they are.
        groups: as `by_shape` gives them; none: each layer takes its own power iterations.
        device: of what the network is given.
    """
    return at_once(groups) if network.training and groups and device.type != "cpu" else nullcontext()


def by_shape(network: nn.Module) -> list[list[parametrize.ParametrizationList]]:
    """The normalised weights of a network, those of equal rows and columns together."""
    found = defaultdict(list)
    for module in network.modules():
        weight = module.parametrizations.weight if parametrize.is_parametrized(module, "weight") else None
        if weight is not None and isinstance(weight[0], SpectralNorm):
            found[weight.original.flatten(1).shape].append(weight)
    return list(found.values())


@contextmanager
def at_once(groups: Sequence[Sequence[parametrize.ParametrizationList]]) -> Iterator[None]:
    """Take a power iteration for all of a network's weights, which are then used as often as one likes.

    Args:
        groups: as `by_shape` gives them.
    """
    pairs = (pair for group, weights in _normalised(groups) for pair in zip(group, weights, strict=True))
    used = [(norm[0], weight) for norm, weight in pairs]
    try:
        for norm, weight in used:
            norm.ready = weight
        yield
    finally:
        for norm, _ in used:
            norm.ready = None


def _normalised(groups) -> list[tuple[Sequence[parametrize.ParametrizationList], list[Tensor]]]:
    """Each group with its weights of norm 1; bf16 would spoil them."""
    with torch.autocast(groups[0][0].original.device.type, enabled=False):
        stacks = [_stacked(group) for group in groups]
        rows, columns = _iterated(groups, [stack.detach() for stack in stacks])
        found, first = [], 0
        for group, stack in zip(groups, stacks, strict=True):
            count, height, width = stack.shape
            u, v = rows[first : first + count, None, :height], columns[first : first + count, :width, None]
            weights = (stack / torch.bmm(u, torch.bmm(stack, v))).unbind()
            pairs = zip(group, weights, strict=True)
            found.append((group, [weight.view_as(norm.original) for norm, weight in pairs]))
            first += count
        return found


def _stacked(group: Sequence[parametrize.ParametrizationList]) -> Tensor:
    """The weights of a group as matrices (number, rows, columns)."""
    matrices = [norm.original.flatten(1) for norm in group]
    return matrices[0][None] if len(matrices) == 1 else torch.stack(matrices)


@torch.no_grad()
def _iterated(groups, stacks: list[Tensor]) -> tuple[Tensor, Tensor]:
    """Left and right vectors of all weights after an iteration, (weights, rows) and (weights, columns).

    Zeros fill them up to the largest: they change no norm. The networks' own are written over.
    """
    norms = [norm[0] for group in groups for norm in group]
    height, width = (max(stack.shape[side] for stack in stacks) for side in (1, 2))
    rows, columns = (stacks[0].new_zeros(len(norms), size) for size in (height, width))
    own_rows = [row[: len(norm._u)] for row, norm in zip(rows.unbind(), norms, strict=True)]
    own_columns = [column[: len(norm._v)] for column, norm in zip(columns.unbind(), norms, strict=True)]
    torch._foreach_copy_(own_columns, [norm._v for norm in norms])
    for kind, other, transposed in ((rows, columns, False), (columns, rows, True)):
        first = 0
        for stack in stacks:
            matrices = stack.mT if transposed else stack
            some = slice(first, first + len(stack))
            out = kind[some, : matrices.shape[1], None]
            torch.bmm(matrices, other[some, : matrices.shape[2], None], out=out)
            first += len(stack)
        F.normalize(kind, dim=1, eps=_EPS, out=kind)
    torch._foreach_copy_([norm._u for norm in norms], own_rows)
    torch._foreach_copy_([norm._v for norm in norms], own_columns)
    return rows, columns
