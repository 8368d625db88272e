"""Bias-Jacobians of a few layers, on the graph: what a layer's bias adds to an output, for losses that train by it.

`decompose` finds all terms of any network, for looking at. Here are those of named layers alone, by one backward pass,
differentiable in weights and biases.
"""

from collections.abc import Mapping, Sequence
from functools import partial

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from priors.checks.floats import own_dtype
from priors.errors import InputError, unknown
from priors.reading.dry_pass import undisturbed

_NORMS = (nn.modules.batchnorm._BatchNorm,)
_AFFINE = (nn.modules.conv._ConvNd, nn.Linear)


def effective_bias(
    module: nn.Module, preceding: nn.Module | None = None, *, name: str = ""
) -> Float[Tensor, " channels"] | None:
    """What a layer adds to its output beside what is linear in its input, on the graph of its parameters.

    Of a convolution or a linear layer it is the bias. Of a batch norm it is beta - gamma mu / sqrt(var + eps), by the
    running statistics in whatever mode it is (Srinivas and Fleuret 2019, section 3.2). With the convolution before it,
    gamma (b - mu) / sqrt(var + eps) + beta, which is what both add, at the norm's output: then a bias b that the norm
    takes off again changes nothing. `decompose` gives a term each for the two, and their maps add up to this one's.

    Args:
        module: a convolution, a linear layer or a batch norm.
        preceding: what gives a batch norm's input, a convolution or a linear layer, where its bias is to be counted in
            (see `preceding_layers`); nothing for other modules.
        name: of the module, for messages.

    Returns:
        None where the layer has no bias.

    Raises:
        InputError: another kind of module, or a batch norm without running statistics.

    Example:
        >>> norm = nn.BatchNorm1d(2).eval()
        >>> norm.running_mean.copy_(torch.tensor([1.0, -2.0]))
        tensor([ 1., -2.])
        >>> effective_bias(norm).detach()
        tensor([-1.0000,  2.0000])
    """
    said = f"layer {name!r}, a {type(module).__name__}," if name else f"a {type(module).__name__}"
    if isinstance(module, _AFFINE):
        return module.bias
    if not isinstance(module, _NORMS):
        raise InputError(
            f"{said} has no effective bias: a convolution, a linear layer or a batch norm was expected; of anything "
            "else, analysis.jacobians.decomposition.decompose finds what it adds"
        )
    if module.running_mean is None:
        raise InputError(f"{said} keeps no running statistics, by which its effective bias is defined")
    within = None if preceding is None else preceding.bias
    # In the norm's own type: halves of statistics have lost what the difference hangs on.
    mean = module.running_mean.detach().clone()
    factor = (module.running_var.detach() + module.eps).rsqrt()
    factor = factor if module.weight is None else factor * module.weight
    shift = (-mean if within is None else within - mean) * factor
    return shift if module.bias is None else shift + module.bias


def preceding_layers(
    network: nn.Module, names: Sequence[str], image_shape: Sequence[int]
) -> dict[str, nn.Module | None]:
    """The convolution or linear layer whose output a batch norm is given as it is, by the norm's name.

    It is found by one pass over an image of zeros in evaluation mode, which changes nothing. None for what is no batch
    norm, and for a norm that is given something else, such as a sum, or that runs several times.

    Args:
        network: that has the modules.
        names: of modules, as `network.named_modules()` has them.
        image_shape: (channels, height, width).

    Raises:
        InputError: there is no such module; the nearest is offered.
    """
    modules = dict(network.named_modules())
    for name in names:
        if name not in modules:
            raise unknown("layer", name, [one for one in modules if one])
    norms = {modules[name]: name for name in names if isinstance(modules[name], _NORMS)}
    made: list[tuple[Tensor, nn.Module]] = []
    found: dict[str, list[nn.Module | None]] = {}
    hooks = []

    def keep(module: nn.Module, args: tuple, output: Tensor) -> None:
        made.append((output, module))

    def look(name: str, module: nn.Module, args: tuple) -> None:
        before = next((maker for output, maker in made if args and output is args[0]), None)
        found.setdefault(name, []).append(before)

    for module in modules.values():
        if isinstance(module, _AFFINE):
            hooks.append(module.register_forward_hook(keep))
    for module, name in norms.items():
        hooks.append(module.register_forward_pre_hook(partial(look, name)))
    try:
        if norms:
            like = next(network.parameters(), torch.empty(0))
            with undisturbed(network):
                network(like.new_zeros((1, *image_shape), dtype=own_dtype(network)))
    finally:
        for hook in hooks:
            hook.remove()
    alone = {name: makers[0] for name, makers in found.items() if len(makers) == 1}
    return {name: alone.get(name) for name in names}


def bias_jacobians(
    outputs: Shaped[Tensor, "..."],
    layers: Mapping[str, Shaped[Tensor, "..."]],
    biases: Mapping[str, Shaped[Tensor, "..."]],
    *,
    graph: bool = True,
) -> dict[str, Tensor]:
    """Each layer's bias-Jacobian, summed over channels: sum_c b_c df/dz_c (Srinivas and Fleuret 2019, section 4.1.3).

    The slopes are those of the sum of all outputs, so each image's are its own where a network computes images apart:
    as with running statistics in its batch norms, and not with those of a batch. In float32 at least, also in autocast.

    Args:
        outputs: f, a number an image (batch,), such as the logit of its class, on the graph of the layers.
        layers: by name, z, what each layer gave in that pass: (batch, channels, height, width) or (batch, channels).
        biases: by name, b, as `effective_bias` gives it: (channels,).
        graph: whether what is found is itself on the graph, so that a loss of it trains the network: its weights, and
            the biases too.

    Returns:
        By name, (batch, height, width), or (batch,) of vectors.

    Raises:
        InputError: shapes that do not fit, a layer without a bias, or one that the outputs do not hang on.

    Example:
        >>> x = torch.tensor([[1.0, 2.0], [3.0, -4.0]], requires_grad=True)
        >>> bias_jacobians(x.relu().sum(1), {"x": x}, {"x": torch.tensor([0.5, 0.1])}, graph=False)
        {'x': tensor([0.6000, 0.5000])}
    """
    if outputs.ndim != 1:
        raise InputError(f"outputs have shape {tuple(outputs.shape)}: one number an image, (batch,), was expected")
    for name, layer in layers.items():
        _check(name, layer, biases.get(name), len(outputs))
    if not layers:
        return {}
    if not outputs.requires_grad:
        raise InputError("the outputs are on no graph: compute them with gradients switched on")
    with torch.autocast(outputs.device.type, enabled=False):
        found = torch.autograd.grad(
            outputs.sum(), tuple(layers.values()), create_graph=graph, retain_graph=True, allow_unused=True
        )
        jacobians = {}
        for name, slope in zip(layers, found, strict=True):
            if slope is None:
                raise InputError(f"layer {name!r}: the outputs do not hang on it in this pass")
            jacobians[name] = summed_over_channels(slope, biases[name] if graph else biases[name].detach())
    return jacobians


def summed_over_channels(
    slope: Float[Tensor, "batch channels *space"], bias: Float[Tensor, " channels"]
) -> Float[Tensor, "batch *space"]:
    """sum_c b_c df/dz_c of slopes that are there already, in float32 at least.

    Args:
        slope: df/dz.
        bias: b.
    """
    dtype = torch.promote_types(torch.promote_types(slope.dtype, bias.dtype), torch.float32)
    slope, bias = slope.to(dtype), bias.to(dtype)
    if slope.ndim == 4 and slope.is_contiguous(memory_format=torch.channels_last):
        return slope.movedim(1, -1) @ bias  # what is derived from it lies likewise
    return (slope * bias.view(-1, *[1] * (slope.ndim - 2))).sum(1)


def _check(name: str, layer: Tensor, bias: Tensor | None, batch: int) -> None:
    if bias is None:
        raise InputError(f"layer {name!r} has no bias: name another one, such as the batch norm behind it")
    if layer.ndim not in (2, 4) or len(layer) != batch or bias.shape != layer.shape[1:2]:
        raise InputError(
            f"layer {name!r} gives {tuple(layer.shape)} and has a bias of {tuple(bias.shape)}: (batch, channels, "
            f"height, width) or (batch, channels) of {batch} images, and (channels,), were expected"
        )
    if not layer.requires_grad:
        raise InputError(f"layer {name!r} is on no graph: keep what it gives as it is, with gradients switched on")
