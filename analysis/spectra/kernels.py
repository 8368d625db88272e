"""What a convolution's kernel does to a power spectrum: exactly, on average over directions, and as a paper has it.

Rotman and Wolf (Natural statistics of network activations and implications for knowledge distillation, 2021), equations
4 to 7. A convolution of maps without edges multiplies their transform by the kernel's (equation 4).
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Complex128, Float, Float64, Shaped
from torch import Tensor

from priors.checks.floats import require_floats
from priors.errors import InputError


@dataclass(frozen=True)
class KernelSpectrum:
    """A kernel's power, averaged over all directions of a frequency.

    Attributes:
        frequency: (n,) in cycles per pixel; the paper's |k| is 2 pi times as large.
        exact: (*kernels, n) sum over pairs of weights of w_a w_b J0(|k| |r_a - r_b|), r being their places.
        equation_6: (*kernels, n) |w_00 + e^(i|k|) W_1 + e^(i sqrt(2) |k|) W_2|^2, with W_1 the sum of the weights at
            distance 1 and W_2 of those in the corners: the paper's average, which is none over directions. NaN of
            kernels that are not 3x3.
        equation_7: (*kernels, n) w_00^2 + W_1^2 + W_2^2 + W_1 W_2 cos((1 - sqrt(2)) |k|) + w_00 W_1 cos |k|
            + w_00 W_2 cos(|k| / sqrt(2)): equation 7 without the factor |k| of ring sums and the map's own power. As
            printed: the square of equation 6 has each product twice, and sqrt(2) in the last one.
    """

    frequency: Float64[Tensor, " n"]
    exact: Float64[Tensor, "*kernels n"]
    equation_6: Float64[Tensor, "*kernels n"]
    equation_7: Float64[Tensor, "*kernels n"]

    @property
    def error_6(self) -> Float64[Tensor, "*kernels"]:
        """How far equation 6 is off: the mean distance over the mean power, over the frequencies."""
        return (self.equation_6 - self.exact).abs().mean(-1) / self.exact.mean(-1)

    @property
    def error_7(self) -> Float64[Tensor, "*kernels"]:
        """How far equation 7 is off: the mean distance over the mean power, over the frequencies."""
        return (self.equation_7 - self.exact).abs().mean(-1) / self.exact.mean(-1)


def kernel_transform(
    kernel: Shaped[Tensor, "*shape"], shape: tuple[int, int]
) -> Complex128[Tensor, "*kernels height width"]:
    """A kernel's transform over the full plane of a map, W(k) = sum_r w_r e^(i k r): equation 5 without its 1/N.

    What `torch.nn.functional.conv2d` gives of a map without edges has the map's transform times this one (equation 4).

    Args:
        kernel: (*kernels, height, width) weights; the one in the middle is at r = 0, of an even side the later of two.
        shape: (height, width) of the map, in pixels.

    Raises:
        InputError: no floating-point numbers, values that are not finite, or no kernel.

    Example:
        >>> kernel_transform(torch.ones(1, 3) / 3, (1, 6)).real[0].round(decimals=2).tolist()
        [1.0, 0.67, 0.0, -0.33, 0.0, 0.67]
    """
    kernel = _checked(kernel)
    waves = []
    for size, pixels in zip(kernel.shape[-2:], shape, strict=True):
        place = torch.arange(size, dtype=torch.float64, device=kernel.device) - size // 2
        k = torch.fft.fftfreq(pixels, dtype=torch.float64, device=kernel.device)
        angle = 2 * math.pi * k[:, None] * place
        waves.append(torch.complex(angle.cos(), angle.sin()))
    return waves[0] @ torch.complex(kernel, torch.zeros_like(kernel)) @ waves[1].T


def kernel_spectrum(kernel: Shaped[Tensor, "*shape"], frequency: Shaped[Tensor, "*n"]) -> KernelSpectrum:
    """A kernel's power on average over directions, and what the paper has for it.

    Args:
        kernel: (*kernels, height, width) weights.
        frequency: (n,) in cycles per pixel, Nyquist's being 1/2; on the kernel's device.

    Raises:
        InputError: no floating-point numbers, values that are not finite, no kernel, or frequencies that are no vector.

    Example:
        >>> blur = torch.tensor([[1.0, 2.0, 1.0], [2.0, 4.0, 2.0], [1.0, 2.0, 1.0]]) / 16
        >>> found = kernel_spectrum(blur, torch.tensor([0.0, 0.25]))
        >>> [round(value, 3) for value in found.exact.tolist() + found.equation_6.tolist()]
        [1.0, 0.261, 1.0, 0.498]
    """
    kernel = _checked(kernel)
    require_floats(frequency, "frequencies")
    if frequency.ndim != 1:
        raise InputError(f"frequencies have shape {tuple(frequency.shape)}: a vector was expected")
    frequency = frequency.detach().double()
    exact = ring_average(kernel, frequency)
    if kernel.shape[-2:] != (3, 3):
        none = torch.full_like(exact, torch.nan)
        return KernelSpectrum(frequency, exact, none, none)
    centre = kernel[..., 1, 1, None]
    beside = (kernel[..., 0, 1] + kernel[..., 2, 1] + kernel[..., 1, 0] + kernel[..., 1, 2])[..., None]
    corners = (kernel[..., ::2, ::2]).sum((-2, -1))[..., None]
    k, root = 2 * math.pi * frequency, math.sqrt(2)
    real = centre + beside * k.cos() + corners * (root * k).cos()
    equation_6 = real.square() + (beside * k.sin() + corners * (root * k).sin()).square()
    equation_7 = (
        (centre.square() + beside.square() + corners.square())
        + beside * corners * ((1 - root) * k).cos()
        + centre * beside * k.cos()
        + centre * corners * (k / root).cos()
    )
    return KernelSpectrum(frequency, exact, equation_6, equation_7)


def ring_average(
    kernel: Float64[Tensor, "*kernels height width"], frequency: Float64[Tensor, " n"]
) -> Float64[Tensor, "*kernels n"]:
    """|W(k)|^2 on average over the directions of k, sum_ab w_a w_b J0(2 pi |k| |r_a - r_b|)."""
    height, width = kernel.shape[-2:]
    y, x = torch.arange(height, device=kernel.device), torch.arange(width, device=kernel.device)
    places = torch.cartesian_prod(y, x).double()
    apart, which = (places[:, None] - places).square().sum(-1).unique(return_inverse=True)
    waves = bessel_j0(2 * math.pi * frequency[:, None] * apart.sqrt())[:, which]
    weights = kernel.flatten(-2)
    return torch.einsum("...a,nab,...b->...n", weights, waves, weights)


def bessel_j0(x: Float64[Tensor, "*shape"]) -> Float64[Tensor, "*shape"]:
    """J0, the mean of cos(x sin t) over a turn, by equal steps: their error vanishes once there are more than x.

    `torch.special.bessel_j0` is off by up to 4e-7, near 5 (torch 2.14).

    Example:
        >>> round(float(bessel_j0(torch.tensor(1.0, dtype=torch.float64))), 12)
        0.765197686558
    """
    steps = 32 + int(x.abs().max()) if x.numel() else 1  # over half a turn: the error is 2 J_(2 steps)(x)
    angle = math.pi * (torch.arange(steps, dtype=torch.float64, device=x.device) + 0.5) / steps
    return (x[..., None] * angle.sin()).cos().mean(-1)


def mean_power(weight: Float[Tensor, "out into height width"]) -> Float64[Tensor, "twice_height twice_width"]:
    """The kernel whose transform is the mean over outputs of the power that all inputs together give one.

    That is the sum of the kernels' own correlations: an uneven kernel, nearly twice as large.
    """
    height, width = weight.shape[-2:]
    rows = _checked(weight).flatten(0, 1).flatten(1)
    products = (rows.T @ rows).view(height, width, height, width) / len(weight)
    found = products.new_zeros(2 * height - 1, 2 * width - 1)
    for y in range(height):
        for x in range(width):
            found[height - 1 - y : 2 * height - 1 - y, width - 1 - x : 2 * width - 1 - x] += products[y, x]
    return found


def _checked(kernel: Tensor) -> Tensor:
    require_floats(kernel, "kernels")
    if kernel.ndim < 2 or not kernel.numel():
        raise InputError(f"kernels have shape {tuple(kernel.shape)}: (..., height, width) was expected")
    if not bool(kernel.isfinite().all()):
        raise InputError("kernels have values that are not finite")
    return kernel.detach().double()
