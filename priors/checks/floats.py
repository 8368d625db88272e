"""What every function that computes is given: floating-point numbers, of float32's digits where they have fewer."""

import torch
from jaxtyping import Shaped
from torch import Tensor, nn

from priors.errors import InputError

PLAIN = "floating-point numbers were expected, as by .float()"
PIXELS = "floating-point values in [0, 1] were expected (divide bytes by 255)"


def require_floats(values: Shaped[Tensor, "*shape"], what: str, expected: str = PLAIN) -> None:
    """Make sure that numbers are floating-point ones: whole ones wrap around where they are subtracted or negated.

    Args:
        values: what is given.
        what: it is called, in the plural.
        expected: what was expected, in words.

    Raises:
        InputError: whole, complex or truth values.

    Example:
        >>> require_floats(torch.tensor([3]), "activations")
        Traceback (most recent call last):
        ...
        priors.errors.InputError: activations are torch.int64: floating-point numbers were expected, as by .float()
    """
    if not values.is_floating_point():
        raise InputError(f"{what} are {values.dtype}: {expected}")


def at_least_float32(values: Shaped[Tensor, "*shape"], what: str = "values") -> Shaped[Tensor, "*shape"]:
    """Numbers of half precision in float32, with the values that they have; float32 and float64 as they are.

    Densities and distances are not for half precision, whatever autocast or a network computed their numbers in.

    Raises:
        InputError: no floating-point numbers; `what` they are called.

    Example:
        >>> at_least_float32(torch.tensor([0.5], dtype=torch.float16)).dtype
        torch.float32
    """
    require_floats(values, what)
    return values if values.dtype in (torch.float32, torch.float64) else values.float()


def own_dtype(network: nn.Module) -> torch.dtype | None:
    """The type of a network's first floating-point weight, which is what it takes its inputs in; None without any."""
    return next((weight.dtype for weight in network.parameters() if weight.is_floating_point()), None)


def to_own(
    network: nn.Module, values: Shaped[Tensor, "*shape"], what: str, expected: str = PLAIN
) -> Shaped[Tensor, "*shape"]:
    """Inputs in the type that a network takes them in; under autocast, which converts by itself, as they are.

    Raises:
        InputError: no floating-point numbers; `what` they are called.
    """
    require_floats(values, what, expected)
    own, kind = own_dtype(network), values.device.type
    if own is None or (torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind)):
        return values
    return values.to(own)


def require_digits(network: nn.Module, what: str) -> None:
    """Make sure that a network's weights have single precision's digits.

    Raises:
        InputError: they are float16 or bfloat16, as after `.half()`; under autocast weights stay float32.
    """
    own = own_dtype(network)
    if own is not None and torch.finfo(own).bits < 32:
        raise InputError(
            f"the weights of {what} are {own}: float32 or float64 was expected, as by .float(); autocast computes in "
            "fewer digits and leaves them so"
        )
