"""The linear layer that a classifier ends with: which one it is, and the weight that it applies."""

import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.utils._pytree import tree_leaves

from priors.errors import InputError
from priors.reading.affine_head import AffineHead
from priors.reading.dry_pass import undisturbed
from priors.reading.taps import find_module, modules_by_name, refuse_scripted, tap, unwrapped

_SIDES = (32, 28, 64, 224, 8, 16, 48, 96, 128, 256, 299)
"""Of the images that a network is tried on where its own size is not known."""
_SHARDED = "_fsdp_wrapped_module"


@dataclass(frozen=True)
class Head:
    """What a final linear layer does: logits are weight . a + bias.

    Attributes:
        weight: (classes, m).
        bias: (classes,); None where there is none.
    """

    weight: Float[Tensor, "classes m"]
    bias: Float[Tensor, " classes"] | None


def read_head(layer: nn.Linear, name: str = "") -> Head:
    """The weight and the bias that a linear layer applies in evaluation mode.

    That is what `layer.weight` holds only where nothing computes it before each pass: `torch.nn.utils.weight_norm` and
    `spectral_norm` leave there what the last pass had, which weights that were loaded since have not changed. So a
    layer that is more than a `torch.nn.Linear` is run on a few vectors, and its weight is read afterwards. If the two
    do not agree, since it has a `forward` or hooks of its own, the weight is what it makes of each unit vector.

    Args:
        layer: it is left as it was, but for such weights, which are those of now.
        name: for messages.

    Raises:
        InputError: it has no weight yet, cannot be run on its own, or does something else than weight . a + bias.

    Example:
        >>> layer = nn.utils.parametrizations.weight_norm(nn.Linear(3, 2))
        >>> torch.equal(read_head(layer).weight, layer.weight)
        True
    """
    called = f"the head {name!r}" if name else "the head"
    if any(is_lazy(parameter) for parameter in layer.parameters()):
        raise InputError(f"{called} has no weight yet: run the network on some images first")
    if _is_plain(layer):
        return Head(layer.weight.detach(), None if layer.bias is None else layer.bias.detach())
    try:
        with undisturbed(layer):
            found = _applied(layer)
    except (AttributeError, RuntimeError, TypeError, ValueError) as error:  # a forward of the user's own
        said = str(error).partition("\n")[0]
        raise InputError(f"{called}, a {type(layer).__name__}, cannot be run on vectors of its own: {said}") from None
    if found is None:
        raise InputError(
            f"{called}, a {type(layer).__name__}, gives something else than weight . a + bias for activations a, "
            "so that no weight can be read off it; where you know better, give one to ClassifierPrior.from_weight"
        )
    return found


def _is_plain(layer: nn.Linear) -> bool:
    """Whether a layer does what torch's own does, with the weight that is stored."""
    hooked = layer._forward_pre_hooks or layer._forward_hooks or "forward" in vars(layer)
    return type(layer) is nn.Linear and not hooked


def _applied(layer: nn.Linear) -> Head | None:
    """Weight and bias by what the layer gives; None where no pair of them gives that."""
    like, m = next(layer.parameters(), layer.weight), layer.in_features
    source = torch.Generator().manual_seed(0)
    vectors = torch.randn(8, m, generator=source, dtype=torch.float64).to(like)
    given = layer(vectors)
    stored = Head(layer.weight.detach().clone(), None if layer.bias is None else layer.bias.detach())
    if _gives(stored, vectors, given):
        return stored
    bias = layer(vectors.new_zeros(1, m))[0]
    weight = (layer(torch.eye(m).to(like)) - bias).T.contiguous()
    measured = Head(weight, bias if layer.bias is not None or bool((bias != 0).any()) else None)
    return measured if _gives(measured, vectors, given) else None


def _gives(head: Head, vectors: Tensor, given: Tensor) -> bool:
    """Whether a head gives these logits, up to rounding; values that are not finite agree with one another."""
    if head.weight.shape != (given.shape[-1], vectors.shape[-1]):
        return False
    bias = None if head.bias is None else head.bias.to(given)
    expected = nn.functional.linear(vectors, head.weight.to(vectors), bias)
    length = float(vectors.double().norm(dim=1).max() * head.weight.double().norm(dim=1).nan_to_num(0, 0, 0).max())
    eps = torch.finfo(given.dtype).eps
    return bool(torch.isclose(given, expected, rtol=16 * eps, atol=16 * eps * length, equal_nan=True).all())


def find_head(
    module: nn.Module, name: str | None = None, image_shape: Sequence[int] | None = None
) -> tuple[str, nn.Linear]:
    """The linear layer that gives a classifier's logits, and its name.

    Where there are several linear layers and no name, one dry pass tells: the head is the one whose output the network
    returns. Where that cannot be seen (what the network returns is computed from logits, or it takes no images that
    are tried here), the head is the linear layer after which no other layer with parameters is registered, among those
    that took part in the pass. Where several could be (two heads side by side, say), nothing is guessed.

    Args:
        module: any network; a dry pass leaves it as it was.
        name: the layer's name, where it is known.
        image_shape: (channels, height, width) of its images, for the dry pass; None: some usual ones are tried.

    Raises:
        InputError: the layer named does not exist or is not linear; the network ends with another kind of layer;
            several linear layers could be the last. The message lists the candidates.

    Example:
        >>> find_head(nn.Sequential(nn.Linear(784, 128), nn.ReLU(), nn.Linear(128, 10)))
        ('2', Linear(in_features=128, out_features=10, bias=True))
    """
    core = unwrapped(module)
    refuse_scripted(core)
    if name is not None:
        name, head = find_module(module, name)
        if not isinstance(head, nn.Linear):
            raise InputError(
                f"the head {name!r} is a {type(head).__name__}: a linear layer (torch.nn.Linear) was expected; for "
                "other heads, such as a 1x1 convolution or cosines, see priors.zoo.Adapted"
            )
        return name, head
    modules = modules_by_name(core)
    linear = {path: layer for path, layer in modules.items() if isinstance(layer, nn.Linear)}
    if not linear:
        raise InputError(
            f"{type(core).__name__} has no linear layer (torch.nn.Linear) to read a prior from; for other heads, such "
            "as a 1x1 convolution or cosines, see priors.zoo.Adapted"
        )
    adapted = [path for path, layer in linear.items() if isinstance(layer, AffineHead)]
    if len(adapted) == 1:  # made to be one
        return adapted[0], linear[adapted[0]]
    seen = _giving_output(core, linear, image_shape) if len(linear) > 1 else ()
    if len({linear[path] for path in seen}) == 1:  # one layer, under whatever names
        return seen[0], linear[seen[0]]
    return last_linear(core, seen)


def last_linear(core: nn.Module, among: Sequence[str] = ()) -> tuple[str, nn.Linear]:
    """The linear layer after which no other layer with parameters is registered, and its name; nothing is run.

    Args:
        core: a network.
        among: names of the linear layers that may be it; the others are passed over. Empty: any.

    Raises:
        InputError: as for `find_head`.
    """
    modules = modules_by_name(core)
    linear = [path for path, layer in modules.items() if isinstance(layer, nn.Linear)]
    # What is inside a linear layer (the parametrisation of its weight) is part of it.
    inside = tuple(f"{path}." for path in linear)
    layers = [
        (path, layer)
        for path, layer in modules.items()
        if (not among or path in among if path in linear else _owns_parameters(layer) and not path.startswith(inside))
    ]
    kind = type(core).__name__
    tail: list[tuple[str, nn.Linear]] = []
    for path, layer in reversed(layers):
        if not isinstance(layer, nn.Linear):
            break
        tail.insert(0, (path, layer))
    if not tail:
        path, layer = layers[-1]
        raise InputError(
            f"the last layer of {kind} is {path!r}, a {type(layer).__name__}, not a linear one:"
            f" name the head (linear layers: {_listed(linear)})"
        )
    # A linear layer whose output a later one can take is a hidden layer; each of the others could give the logits.
    ends = [
        (path, layer)
        for index, (path, layer) in enumerate(tail)
        if all(layer.out_features != later.in_features for _, later in tail[index + 1 :])
    ]
    if len({layer for _, layer in ends}) > 1:
        raise InputError(
            f"{kind} has several final linear layers: name the head, one of {_listed([e[0] for e in ends])}"
        )
    return ends[0]


def _giving_output(
    core: nn.Module, linear: Mapping[str, nn.Linear], image_shape: Sequence[int] | None
) -> tuple[str, ...]:
    """Names of linear layers that can be the head, by one dry pass; empty where none succeeds.

    One whose output the network returns, or else all that gave something of the same shape as the network did.
    """
    if any(_SHARDED in module._modules for module in core.modules()):
        return ()  # a pass of one process alone would wait for the others
    if any(is_lazy(parameter) for parameter in core.parameters()):
        return ()  # images of a shape that is only tried would settle its shapes
    with undisturbed(core), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for images in _tried(core, image_shape):
            with tap(core, list(linear)) as taps:
                try:
                    output = core(images)
                except Exception:  # the user's network may raise anything on images that are not its own
                    continue
            given = [leaf for leaf in tree_leaves(output) if isinstance(leaf, Tensor)]
            called = {path: tensors[-1] for path in linear if (tensors := taps.calls(path))}
            returned = [path for path, found in called.items() if any(_is_view(leaf, found) for leaf in given)]
            alike = [path for path, found in called.items() if any(found.shape == leaf.shape for leaf in given)]
            return tuple(returned or alike or called)
    return ()


def _tried(core: nn.Module, image_shape: Sequence[int] | None) -> Iterator[Tensor]:
    """Batches to try, of the shapes that a network's first layer could take."""
    first = next((module for module in core.modules() if isinstance(module, nn.Conv2d | nn.Linear)), None)
    own = chain(core.parameters(), core.buffers())
    like = next((tensor for tensor in own if tensor.is_floating_point()), torch.empty(0))
    if image_shape is not None:
        shapes = [tuple(image_shape)]
    elif isinstance(first, nn.Conv2d):
        shapes = [(first.in_channels, side, side) for side in _SIDES]
    else:
        n = first.in_features
        squares = [(channels, math.isqrt(n // channels)) for channels in (1, 3)]
        shapes = [(channels, side, side) for channels, side in squares if channels * side * side == n]
        shapes += [(1, 1, n), (n,)]
    for shape in shapes:
        yield like.new_zeros(2, *shape)


def _is_view(one: Tensor, other: Tensor) -> bool:
    """Whether two tensors are the same numbers in memory."""
    return one is other or (
        one.numel() == other.numel() and one.untyped_storage().data_ptr() == other.untyped_storage().data_ptr() != 0
    )


def _owns_parameters(module: nn.Module) -> bool:
    return any(True for _ in module.parameters(recurse=False))


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names) if len(names) <= 8 else ", ".join(names[:3]) + f", ... {len(names)} in all"
