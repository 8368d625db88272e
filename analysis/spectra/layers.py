"""How a stack of convolutions changes a power law: what their weights alone say.

Each layer multiplies the power by its own, so that its logarithm gains a term a layer (after equation 7 of Rotman and
Wolf, 2021).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float64
from torch import Tensor

from analysis.spectra.fields import power_law
from analysis.spectra.frequencies import frequency_grid
from analysis.spectra.kernels import kernel_transform, mean_power
from analysis.spectra.likelihood import most_likely
from priors.errors import InputError


@dataclass(frozen=True)
class LayerSpectrum:
    """What is expected of maps after a layer.

    Attributes:
        layer: its number; 0 of the maps that come in.
        shape: (height, width) of its maps, in pixels.
        power: (height, width) at each frequency of the full plane, as `torch.fft.fft2` has them; that of a white map of
            variance 1 is 1.
        frequency: (rings,) exp of the mean log |k| of each ring, in cycles per pixel.
        value: (rings,) mean power over each.
        exponent: that Whittle's likelihood tends to as images are added.
        steepening: the exponent less that of the layer before; below 0 where high frequencies are lost.
    """

    layer: int
    shape: tuple[int, int]
    power: Float64[Tensor, "height width"]
    frequency: Float64[Tensor, " rings"]
    value: Float64[Tensor, " rings"]
    exponent: float
    steepening: float


def spectrum_of_layers(
    weights: Sequence[Tensor],
    shape: tuple[int, int],
    *,
    exponent: float = 0.0,
    strides: Sequence[int] | None = None,
) -> tuple[LayerSpectrum, ...]:
    """Predict spectra layer by layer, of maps with a power law, by the weights of convolutions.

    It is exact for one layer on maps without edges whose channels are uncorrelated and have one spectrum. What it
    leaves out: nonlinearities, edges, and that the channels within a network hang together. Rectifying and padding
    with zeros bring high frequencies back. So it is an end, and no estimate, for a trained network: of four layers
    trained on CIFAR-10, measured with a Hann window, the first took the exponent from -3.5 to -4.7 (predicted: -4.5),
    the second to -5.1 (-5.9), the third to -4.8 (-7.0), and the fourth, of stride 2, to -3.1 (-5.9).

    Args:
        weights: (out, in, height, width) of each convolution, first to last; of grouped ones, as they are.
        shape: (height, width) of the maps that come in, in pixels.
        exponent: of their power; 0 of white noise.
        strides: of each convolution; None: 1. High frequencies fold where maps become smaller.

    Returns:
        One more than there are layers: first the maps that come in.

    Raises:
        InputError: weights of another kind, sizes that a stride does not divide, or maps of fewer than 5x5 pixels.

    Example:
        >>> blur = torch.ones(1, 1, 2, 2) / 4
        >>> found = spectrum_of_layers([blur, blur], (16, 16), exponent=-2.0)
        >>> [round(one.exponent, 2) for one in found]
        [-2.0, -4.1, -6.34]
    """
    strides = [1] * len(weights) if strides is None else list(strides)
    if len(strides) != len(weights) or min(strides, default=1) < 1:
        raise InputError(f"strides are {strides}: one of 1 or more was expected for each of {len(weights)} layers")
    height, width = shape
    frequency_grid((height, width))  # which are large enough
    half = power_law((height, width), exponent)
    power = torch.cat([half, half[:, 1 : (width + 1) // 2].flip(1)], 1)  # the same at k and at its mirror image
    found = [_layer(0, power, exponent)]
    for number, (weight, stride) in enumerate(zip(weights, strides, strict=True), 1):
        if weight.ndim != 4:
            raise InputError(
                f"the weights of layer {number} have shape {tuple(weight.shape)}: (out, in, height, width) was expected"
            )
        power = power * kernel_transform(mean_power(weight.cpu()), tuple(power.shape)).real.clamp_min(0)
        power = _folded(power, stride, number)
        found.append(_layer(number, power, found[-1].exponent))
    return tuple(found)


def _folded(power: Tensor, stride: int, number: int) -> Tensor:
    """The power of maps of which every so many pixels are kept: the mean of what falls together."""
    height, width = power.shape
    if height % stride or width % stride:
        raise InputError(
            f"layer {number} has maps of {height}x{width} pixels, which its stride {stride} does not divide"
        )
    return power.view(stride, height // stride, stride, width // stride).mean((0, 2))


def _layer(number: int, power: Tensor, before: float) -> LayerSpectrum:
    height, width = power.shape
    grid = frequency_grid((height, width))
    half = power[:, : width // 2 + 1].flatten()
    rings = grid.over_rings(grid.count)
    inside = (grid.length > 0) & (grid.length < 0.5 - 1e-9)
    if not bool(half[inside].any()):
        raise InputError(f"layer {number} lets no power through")
    exponent = most_likely(half[inside], grid.length[inside].log(), grid.weight[inside])[0]
    return LayerSpectrum(
        layer=number,
        shape=(height, width),
        power=power,
        frequency=(grid.over_rings(grid.count * grid.log_length) / rings).exp(),
        value=grid.over_rings(grid.over_groups(half[None]))[:, 0] / rings,
        exponent=exponent,
        steepening=exponent - before,
    )
