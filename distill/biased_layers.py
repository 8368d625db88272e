"""Layers whose effective biases are looked at: those that are named, or some that are spread over a network."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from math import ceil

from jaxtyping import Float
from torch import Tensor, nn

from analysis.jacobians.bias import effective_bias, preceding_layers
from priors.checks.floats import own_dtype
from priors.errors import InputError
from priors.reading.dry_pass import undisturbed
from priors.reading.taps import find_module, refuse_scripted, unwrapped

NORMS = (nn.modules.batchnorm._BatchNorm,)
"""Kinds of batch norm."""
_CONVOLUTIONS = (nn.modules.conv._ConvNd,)
_SPREAD = re.compile(r"spread:([1-9][0-9]*)/([1-9][0-9]*)")


@dataclass(frozen=True)
class BiasedLayer:
    """A layer of a network, which is read at each step and never called.

    Attributes:
        name: of the module in the network.
        module: a convolution, a linear layer or a batch norm.
        preceding: the convolution or linear layer before a batch norm, whose bias counts as the norm's.
    """

    name: str
    module: nn.Module
    preceding: nn.Module | None

    def bias(self) -> Float[Tensor, " channels"]:
        """The effective bias, on the graph of the layer's parameters.

        Raises:
            InputError: it has none.
        """
        found = effective_bias(self.module, self.preceding, name=self.name)
        if found is None:
            raise InputError(f"layer {self.name!r} has no bias: name another one, such as the batch norm behind it")
        return found


def spread(count: int) -> tuple[str, ...]:
    """Names that stand for some layers of any network, spread over its depth.

    They are batch norms, or convolutions with a bias where there are none, or linear layers but the last where there is
    neither; each runs once. Layers that give maps of one size, one after the other, are a stage; the last layer of
    every so many stages is taken, the last stage's always. A network with fewer stages has every so many layers taken.

    Example:
        >>> spread(3)
        ('spread:1/3', 'spread:2/3', 'spread:3/3')
    """
    return tuple(f"spread:{number}/{count}" for number in range(1, count + 1))


def biased_layers(network: nn.Module, names: Sequence[str], image_shape: Sequence[int]) -> dict[str, BiasedLayer]:
    """The layers that names stand for, each under what it was called.

    Args:
        network: that has them.
        names: of modules, or such as `spread` gives.
        image_shape: (channels, height, width).

    Raises:
        InputError: there is no such module (the nearest is offered), it has no effective bias, or there are fewer
            layers than are to be spread.
    """
    if not names:
        return {}
    core, places = unwrapped(network), {}
    refuse_scripted(core)
    candidates: list[list[str]] | None = None
    for name in names:
        chosen = _SPREAD.fullmatch(name)
        if chosen is None:
            places[name] = find_module(network, name)[0]
            continue
        number, count = int(chosen[1]), int(chosen[2])
        candidates = _stages(core, image_shape) if candidates is None else candidates
        last = [stage[-1] for stage in candidates]
        pool = last if len(last) >= count else [one for stage in candidates for one in stage]
        if len(pool) < count:
            raise InputError(
                f"{count} layers are to be compared, and it has {len(pool)} that could be (batch norms, or "
                "convolutions or hidden linear layers with a bias, that run once): name layers "
                "(--full-jacobian.student-layers and --full-jacobian.teacher-layers, likewise of other terms)"
            )
        places[name] = pool[ceil(number * len(pool) / count) - 1]
    before = preceding_layers(core, tuple(dict.fromkeys(places.values())), image_shape)
    found = {name: BiasedLayer(place, find_module(network, place)[1], before[place]) for name, place in places.items()}
    for layer in found.values():
        layer.bias()
    return found


def _stages(core: nn.Module, image_shape: Sequence[int]) -> list[list[str]]:
    """Layers that could be taken, in the order in which they run, by the sizes of their maps."""
    modules = {name: module for name, module in core.named_modules() if name}
    norms = [name for name, one in modules.items() if isinstance(one, NORMS) and one.running_mean is not None]
    convolutions = [name for name, one in modules.items() if isinstance(one, _CONVOLUTIONS) and one.bias is not None]
    linear = [name for name, one in modules.items() if isinstance(one, nn.Linear) and one.bias is not None]
    chosen = norms or convolutions or linear
    ran: list[tuple[str, tuple[int, ...]]] = []
    hooks = [
        modules[name].register_forward_hook(partial(lambda name, _, __, out: ran.append((name, out.shape[2:])), name))
        for name in chosen
    ]
    try:
        like = next(core.parameters())
        with undisturbed(core):
            core(like.new_zeros((1, *image_shape), dtype=own_dtype(core)))
    finally:
        for hook in hooks:
            hook.remove()
    once = [(name, size) for name, size in ran if sum(name == other for other, _ in ran) == 1]
    if chosen is linear:
        once = once[:-1]
    stages: list[list[str]] = []
    for number, (name, size) in enumerate(once):
        if number == 0 or size != once[number - 1][1]:
            stages.append([])
        stages[-1].append(name)
    return stages
