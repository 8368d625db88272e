"""Neighbouring layers of a network, found by what it computes: those between which a scale can be moved.

A layer whose weights and biases are divided by a positive number gives features that are so much smaller. So is all
that is made of them by what is positively homogeneous, f(a x) = a f(x) for a > 0, such as ReLU and pooling. The next
layer undoes it, by weights that are so much larger.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Shaped
from torch import Tensor, nn
from torch.utils import _pytree as trees
from torch.utils._python_dispatch import TorchDispatchMode

from priors.checks.floats import PIXELS
from priors.errors import InputError, reason, shown
from priors.reading.dry_pass import undisturbed
from priors.reading.taps import modules_by_name, tap, unwrapped

_LAYERS = {"addmm": (1, 2, 0), "mm": (0, 1, None), "linear": (0, 1, 2), "convolution": (0, 1, 2)}
"""By torch's name of a layer's operation, where its input, its weights and its biases stand."""
_NORMS = {
    "native_layer_norm": (0, 2, 3),
    **dict.fromkeys(("native_batch_norm", "cudnn_batch_norm", "miopen_batch_norm", "native_group_norm"), (0, 1, 2)),
    **dict.fromkeys(("batch_norm", "_native_batch_norm_legit_no_training", "_batch_norm_no_update"), (0, 1, 2)),
}
"""Likewise of normalisations."""
_HOMOGENEOUS = frozenset(
    "relu leaky_relu _prelu_kernel rrelu max_pool2d_with_indices max_pool1d max_pool2d max_pool3d_with_indices "
    "avg_pool1d avg_pool2d avg_pool3d _adaptive_avg_pool2d _adaptive_avg_pool3d adaptive_avg_pool1d "
    "adaptive_max_pool1d adaptive_max_pool2d adaptive_max_pool3d mean sum amax max amin min dropout feature_dropout "
    "alias clone detach contiguous _to_copy to lift_fresh view _unsafe_view reshape _reshape_alias flatten "
    "unflatten permute transpose t squeeze unsqueeze expand select slice narrow split split_with_sizes chunk unbind "
    "unfold repeat roll flip pixel_shuffle pixel_unshuffle channel_shuffle index_select gather upsample_nearest1d "
    "upsample_nearest2d upsample_nearest3d upsample_linear1d upsample_bilinear2d upsample_bicubic2d "
    "upsample_trilinear3d _upsample_bilinear2d_aa _upsample_bicubic2d_aa reflection_pad1d reflection_pad2d "
    "replication_pad1d replication_pad2d neg".split()
)
"""What lets a scale through, by torch's names, where it takes one tensor that carries it."""


@dataclass(frozen=True)
class NeighbouringLayers:
    """A layer L, and the layer L + 1 that takes what it gives.

    Attributes:
        first: name of L, a convolution or a linear layer.
        second: name of L + 1; None where there is no such layer, or more than one.
        norm: name of the last normalisation between the two, whose weights and biases take a scale in L's place, since
            it swallows the scale of what it is given; None: there is none.
        sites: names, for `priors.reading.taps`, of the features that carry the scale, as the network computes them:
            outputs of modules, and last what L + 1 is given.
        shapes: by site, of one image's features.
        refused: why no scale can be moved from L to L + 1, in one line; None where it can.
    """

    first: str
    second: str | None
    norm: str | None
    sites: tuple[str, ...]
    shapes: Mapping[str, tuple[int, ...]]
    refused: str | None

    @property
    def scaled(self) -> str:
        """Name of the module whose weights and biases take the scale: L, or the normalisation after it."""
        return self.norm or self.first


def neighbouring_layers(network: nn.Module, images: Shaped[Tensor, "..."]) -> tuple[NeighbouringLayers, ...]:
    """Find all layers of a network, and for each the next one, by one pass of an image.

    What stands between the two must be positively homogeneous: ReLU, LeakyReLU and PReLU, pooling, dropout in
    evaluation mode, flattening and other changes of shape, products with numbers. Batch, group and layer norms with
    weights may stand there too. Nothing else may see what the first layer gives, as a residual sum does.

    Args:
        network: any module whose layers hold their own `weight` and `bias`; it runs in evaluation mode, and is not
            changed.
        images: what it takes, a row an image; the first is run.

    Returns:
        Of each convolution and linear layer, in the order in which they run; a layer that runs several times is there
        once.

    Raises:
        InputError: the network cannot take the images, or is one of torch.jit.
    """
    if not isinstance(images, Tensor) or images.ndim < 2 or not images.numel():
        raise InputError(f"images are {shown(images)}: one tensor (batch, ...) was expected")
    if images.dtype not in (torch.float32, torch.float64):
        raise InputError(f"images are {images.dtype}: {PIXELS}, in float32 or float64")
    trace = _Trace(network)
    with undisturbed(network), tap(network, []), trace.modules():
        try:
            with trace:
                output = network(images[:1])
        except InputError:
            raise
        except (RuntimeError, TypeError, ValueError) as error:
            raise InputError(
                f"the network cannot take images of shape {tuple(images.shape)}: {reason(error)}"
            ) from None
    for one in trees.tree_leaves(output):
        if isinstance(one, Tensor) and id(one) in trace.carried:
            trace.carried[id(one)][0].problems.append("it is the network's output, which no layer comes after")
    return trace.found()


@dataclass
class _Run:
    """One run of a layer, and where what it gives goes to.

    Attributes:
        layer: its name.
        takers: what takes it, by how many norms it went through before: a norm's or a layer's name.
        norms: those of them that are norms, in order.
        problems: what takes it and lets no scale through.
        sites: modules that give it, with the number of their call, how many norms it went through, and what they give,
            with torch's number of its version.
    """

    layer: str
    takers: list[tuple[int, str]] = field(default_factory=list)
    norms: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    sites: list[tuple[str, int, int, Tensor, int]] = field(default_factory=list)


class _Trace(TorchDispatchMode):
    """While it is entered, follows what each layer gives through torch's operations."""

    def __init__(self, network: nn.Module):
        super().__init__()
        self._named = modules_by_name(unwrapped(network))
        self._owners: dict[int, str] = {}
        for name, module in self._named.items():
            if isinstance(getattr(module, "weight", None), nn.Parameter):
                self._owners.setdefault(id(module.weight), name)
        self._laid: dict[int, int] = {}
        self._runs: list[_Run] = []
        self._uses: Counter[str] = Counter()
        self._calls: Counter[str] = Counter()
        self._inside: list[str] = [""]
        self._taken: dict[str, tuple[int, ...]] = {}
        self._held: list[Any] = []  # so that no other tensor gets the number of one that is gone
        self.carried: dict[int, tuple[_Run, int]] = {}

    @contextmanager
    def modules(self) -> Iterator[None]:
        """Hooks that say which module runs, and what it gives."""
        hooks = []
        try:
            for module, name in {module: name for name, module in reversed(self._named.items())}.items():
                hooks.append(module.register_forward_pre_hook(self._enter(name)))
                hooks.append(module.register_forward_hook(self._leave(name), always_call=True))
            yield
        finally:
            for hook in hooks:
                hook.remove()

    def _enter(self, name: str):
        def enter(module: nn.Module, args: tuple) -> None:
            self._inside.append(name)
            if args and isinstance(args[0], Tensor):
                self._taken[name] = tuple(args[0].shape[1:])

        return enter

    def _leave(self, name: str):
        def leave(module: nn.Module, args: tuple, output: object) -> None:
            self._inside.pop()
            self._calls[name] += 1
            if isinstance(output, Tensor) and id(output) in self.carried:
                run, stage = self.carried[id(output)]
                run.sites.append((name, self._calls[name], stage, output, output._version))

        return leave

    def __torch_dispatch__(self, operation: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        results = operation(*args, **(kwargs or {}))
        name = operation._overloadpacket.__name__.removesuffix("_")
        made = [one for one in trees.tree_leaves(results) if isinstance(one, Tensor)]
        given = list({id(one): one for one in trees.tree_leaves((args, kwargs)) if id(one) in self.carried}.values())
        self._held += made
        name = "convolution" if name.endswith("_convolution") else name
        if name in ("t", "transpose", "permute", "detach", "alias"):  # weights that are laid out otherwise
            self._laid[id(made[0])] = self._laid.get(id(args[0]), id(args[0]))
        if name in _NORMS and (own := self._owner(args, *_NORMS[name])) is not None:
            self._uses[own] += 1
        if name in _LAYERS and (own := self._owner(args, *_LAYERS[name])) is not None:
            self._layer(own, args[_LAYERS[name][0]], given, made)
        elif not given:
            for one in made:
                self.carried.pop(id(one), None)
        elif name in _NORMS and len(given) == 1 and (own := self._owner(args, *_NORMS[name])) is not None:
            run, stage = self.carried[id(given[0])]
            run.takers.append((stage, own))
            run.norms.append(own)
            self.carried[id(made[0])] = run, stage + 1
        elif len(given) == 1 and _lets_through(name, args, kwargs or {}):
            for one in made:
                self.carried[id(one)] = self.carried[id(given[0])]
        elif made or name == "_local_scalar_dense":
            for one in given:
                self.carried[id(one)][0].problems.append(self._refusal(name))
            for one in made:
                self.carried.pop(id(one), None)
        return results

    def _owner(self, args: Sequence[Any], _: int, weight: int, bias: int | None) -> str | None:
        """The module whose weights and biases an operation has; None where they are no module's own."""
        weights, biases = (
            None if place is None or place >= len(args) or args[place] is None else id(args[place])
            for place in (weight, bias)
        )
        name = self._owners.get(self._laid.get(weights, weights))
        if name is None:
            return None
        own = getattr(self._named[name], "bias", None)
        return name if self._laid.get(biases, biases) == (None if own is None else id(own)) else None

    def _layer(self, name: str, source: Tensor, given: Sequence[Tensor], made: Sequence[Tensor]) -> None:
        """A layer runs: it takes what the one before gave, and gives features of its own."""
        for one in given:
            run, stage = self.carried[id(one)]
            if one is source:
                run.takers.append((stage, name))
            else:
                run.problems.append(f"{name} takes it for weights")
        self._uses[name] += 1
        self._runs.append(_Run(name))
        for one in made[:1]:
            self.carried[id(one)] = self._runs[-1], 0

    def _refusal(self, operation: str) -> str:
        """What lets no scale through, and in which module."""
        name = self._inside[-1]
        kind = type(self._named[name]).__name__
        where = f"{name} ({kind})" if name else f"the network ({kind})"
        if operation in ("add", "sub", "rsub", "cat", "stack"):
            how = "put beside something else" if operation in ("cat", "stack") else "added to something else"
            return f"it is {how} in {where}, which then sees it at another scale"
        return f"{where} computes {operation} of it, which lets no scale through"

    def found(self) -> tuple[NeighbouringLayers, ...]:
        """Of each layer, where its features went."""
        first: dict[str, _Run] = {}
        for run in self._runs:
            first.setdefault(run.layer, run)
        return tuple(map(self._neighbours, first.values()))

    def _neighbours(self, run: _Run) -> NeighbouringLayers:
        layers = [name for stage, name in run.takers if name not in run.norms]
        second, norm = layers[0] if len(set(layers)) == 1 else None, run.norms[-1] if run.norms else None
        end = len(run.norms)
        sites = {
            f"{name}#{call}" if self._calls[name] > 1 else name: tuple(given.shape[1:])
            for name, call, stage, given, version in run.sites
            if stage == end and name and given._version == version  # else it was overwritten, and cannot be read
        }
        if second is not None and self._calls[second] == 1 and second in self._taken:
            sites[f"{second}:input"] = self._taken[second]
        return NeighbouringLayers(run.layer, second, norm, tuple(sites), sites, self._refused(run, second, norm))

    def _refused(self, run: _Run, second: str | None, norm: str | None) -> str | None:
        for name in (run.layer, norm, second):
            if name is not None and self._uses[name] > 1:
                return f"the weights of {name} are used {self._uses[name]} times in a pass"
        if run.problems:
            return run.problems[0]
        if not run.takers:
            return "no layer takes what it gives"
        stages = Counter(stage for stage, _ in run.takers)
        if max(stages.values()) > 1:
            return f"{' and '.join(dict.fromkeys(name for _, name in run.takers))} take it"
        return None if second is not None else f"nothing comes after the normalisation {norm}"


def _lets_through(name: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> bool:
    """Whether f(a x) = a f(x) for all a > 0."""
    values = [*args[1:], *kwargs.values()]
    if name in _HOMOGENEOUS:
        return True
    if name in ("mul", "div"):  # by a number, which torch may have as a tensor of no dimensions
        number = len(values) == 1 and (isinstance(values[0], int | float) or values[0].ndim == 0)
        return number and isinstance(args[0], Tensor) and args[0].ndim > 0
    if name in ("clamp", "clamp_min", "threshold"):
        return bool(values) and values[0] == 0 and all(one is None or one == 0 for one in values[1:])
    return name == "constant_pad_nd" and all(one == 0 for one in args[2:])
