"""Networks whose layers are revised so that nothing is discarded that was not before (section 4 and appendix B).

What a measure of discarded information says should not hang on the scale of a layer's features, which the next layer
can undo: that is coherency. It may hang on the scales of a layer's filters against one another: a pixel that moves
features less contributes less to them, and is discarded more.
"""

import copy
from collections.abc import Sequence

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn
from torch.utils import _pytree as trees

from analysis.discarding.features import require_positive
from analysis.discarding.neighbours import NeighbouringLayers
from priors.errors import InputError, shown
from priors.reading.dry_pass import undisturbed
from priors.reading.taps import find_module

_AT_ONCE = 16
"""Images that are run at a time."""
_TRANSPOSED = nn.ConvTranspose1d | nn.ConvTranspose2d | nn.ConvTranspose3d
_ROUNDING = 2.0**10
"""Times the rounding of one number by which outputs may differ, of the largest."""


def rescaled_network(
    network: nn.Module,
    pair: NeighbouringLayers,
    images: Shaped[Tensor, "..."],
    *,
    factor: int | float = 4.0,
) -> nn.Module:
    """A copy of a network whose layer L gives smaller features, which its layer L + 1 undoes (section 4).

    Weights and biases of L are divided by the factor, weights of L + 1 multiplied by it, and the biases of L + 1 stay.
    Where a normalisation stands between the two, its weights and biases are divided in place of L's, since it would
    swallow the scale.

    Args:
        network: any module; it is not changed.
        pair: of `neighbouring_layers`.
        images: that the output is compared at, a row an image.
        factor: above 0; the paper's 4. By a power of two nothing is rounded.

    Raises:
        InputError: layers between which no scale can be moved, no such factor, or a network that gives something else
            for the images than before.
    """
    require_positive("factor", factor)
    _require_legal(pair)
    twin = copy.deepcopy(network)
    with torch.no_grad():
        for weights in _weights(twin, pair.scaled):
            weights.div_(factor)
        find_module(twin, pair.second)[1].weight.mul_(factor)
    require_same_output(network, twin, images, f"{pair.first} and {pair.second} rescaled by {factor:g}")
    return twin


def halved_network(
    network: nn.Module,
    pair: NeighbouringLayers,
    images: Shaped[Tensor, "..."],
    *,
    filters: Sequence[int] | None = None,
    compensated: bool = False,
) -> nn.Module:
    """A copy of a network in which some filters of a layer have half of their weights and biases (appendix B).

    Nothing is lost that the features had, as each could be doubled again; yet a pixel that moves the halved ones
    contributes less to the features, so that SID changes. Where a normalisation stands after the layer, its weights and
    biases are halved, as for `rescaled_network`.

    Args:
        network: any module; it is not changed.
        pair: of `neighbouring_layers`; the layer is the first of the two.
        images: that the output is compared at, where `compensated`.
        filters: numbers of those that are halved; None: every second one from the first on. The paper has "50%
            filters", and does not say which.
        compensated: whether the next layer's weights on halved features are doubled, so that the output stays. False,
            as the paper has w <- 0.5 w alone, and says that pixels then contribute "less numerical values to the
            network output". What the layer discards is the same either way: it hangs on nothing that comes after it.

    Raises:
        InputError: layers between which no scale can be moved, numbers of no filters, or, where `compensated`, a
            network that gives something else for the images than before.
    """
    _require_legal(pair)
    twin = copy.deepcopy(network)
    layer = find_module(twin, pair.scaled)[1]
    count = filter_count(network, pair)
    half = tuple(range(0, count, 2)) if filters is None else tuple(filters)
    if not half or not all(isinstance(one, int) and not isinstance(one, bool) and 0 <= one < count for one in half):
        raise InputError(
            f"filters are {shown(half)}: some numbers from 0 to {count - 1} were expected, of the {count} filters of "
            f"{pair.scaled}"
        )
    scales = torch.ones(count, dtype=torch.float64, device=layer.weight.device)
    scales[list(half)] = 0.5
    with torch.no_grad():
        for weights in _weights(twin, pair.scaled):
            weights.mul_(_of_outputs(layer, scales, weights))
        if compensated:
            after = find_module(twin, pair.second)[1]
            after.weight.mul_(_of_inputs(after, 1 / scales, pair))
    if compensated:
        require_same_output(network, twin, images, f"filters of {pair.first} halved, and {pair.second} for it")
    return twin


def filter_count(network: nn.Module, pair: NeighbouringLayers) -> int:
    """How many filters the first layer has, or channels the normalisation that takes its scale.

    Args:
        network: whose layers they are.
        pair: of `neighbouring_layers`.
    """
    layer = find_module(network, pair.scaled)[1]
    return layer.out_channels if isinstance(layer, _TRANSPOSED) else len(layer.weight)


def output_change(network: nn.Module, revised: nn.Module, images: Shaped[Tensor, "..."]) -> Float[Tensor, " batch"]:
    """How far the outputs of two networks are apart: the largest difference over the largest number, of each image.

    Args:
        network: any module.
        revised: another one, which gives outputs of the same shapes.
        images: a row an image.
    """
    found = []
    for some in images.split(_AT_ONCE):
        with undisturbed(network), undisturbed(revised):
            ours, theirs = (
                torch.cat([one.flatten(1) for one in trees.tree_leaves(own(some)) if isinstance(one, Tensor)], 1)
                for own in (network, revised)
            )
        most = ours.abs().amax(1).clamp_min(torch.finfo(ours.dtype).tiny)
        found.append((theirs - ours).abs().amax(1) / most)
    return torch.cat(found)


def require_same_output(network: nn.Module, revised: nn.Module, images: Shaped[Tensor, "..."], how: str) -> None:
    """Make sure that a revised network gives what the network gives, up to rounding.

    Args:
        network: any module.
        revised: another one.
        images: that they are compared at.
        how: it was revised.

    Raises:
        InputError: it does not.
    """
    change = output_change(network, revised, images)
    worst = float(change.max()) if bool(change.isfinite().all()) else float("nan")
    if not worst <= _ROUNDING * torch.finfo(change.dtype).eps:
        raise InputError(
            f"{how}: the network gives something else for the images, by {worst:.2g} of its largest output; something "
            "between the two layers lets no scale through, or mixes channels"
        )


def _require_legal(pair: NeighbouringLayers) -> None:
    if pair.refused is not None:
        raise InputError(f"{pair.first}: its scale cannot be moved to the next layer: {pair.refused}")


def _weights(network: nn.Module, name: str) -> list[Tensor]:
    """Weights and biases of a layer or a normalisation."""
    module = find_module(network, name)[1]
    return [module.weight] if module.bias is None else [module.weight, module.bias]


def _of_outputs(layer: nn.Module, scales: Tensor, weights: Tensor) -> Tensor:
    """A scale for each filter, as weights or biases are laid out."""
    scales = scales.to(weights.dtype)
    if isinstance(layer, _TRANSPOSED) and weights.ndim > 1:  # (inputs, outputs of a group, ...)
        own = scales.view(layer.groups, -1).repeat_interleave(len(weights) // layer.groups, 0)
        return own.view(*own.shape, *[1] * (weights.ndim - 2))
    return scales.view(-1, *[1] * (weights.ndim - 1))


def _of_inputs(layer: nn.Module, scales: Tensor, pair: NeighbouringLayers) -> Tensor:
    """A scale for each of a layer's inputs, as its weights are laid out; maps may have been flattened before it.

    Raises:
        InputError: it has no whole number of inputs a channel.
    """
    weights = layer.weight
    groups = getattr(layer, "groups", 1)
    inputs = len(weights) if isinstance(layer, _TRANSPOSED) else weights.shape[1] * groups
    if inputs % len(scales):
        raise InputError(
            f"{pair.second} takes {inputs} inputs, no whole number for each of the {len(scales)} filters of "
            f"{pair.first}: leave out compensated"
        )
    scales = scales.to(weights.dtype).repeat_interleave(inputs // len(scales))
    if isinstance(layer, _TRANSPOSED):
        return scales.view(-1, *[1] * (weights.ndim - 1))
    own = scales.view(groups, -1).repeat_interleave(len(weights) // groups, 0)
    return own.view(*own.shape, *[1] * (weights.ndim - 2))
