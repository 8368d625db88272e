"""What depends on no tensor: small tensors made once, and what torch.compile is told about such functions."""

from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor

from priors.errors import InputError
from priors.rare_constants import load_rare_constants

load_rare_constants()

TOLERANCE = {torch.float32: 2.0**-25, torch.float64: 2.0**-54}
"""How accurate what is computed in a type has to be, relative to itself."""

Function = TypeVar("Function", bound=Callable)


def constant_when_compiled(function: Function) -> Function:
    """Mark a function whose results a compiled graph keeps, as `torch.compiler.assume_constant_result` does.

    That one loads the compiler, which takes about as long as to load torch, wherever this package is imported.
    """
    function._dynamo_marked_constant = True
    return function


def transforming() -> bool:
    """Whether a torch.func transform is at work: those differentiate the formulas themselves, at some cost in speed."""
    return not torch.compiler.is_compiling() and torch._C._are_functorch_transforms_active()


_constants: dict[tuple, tuple[Tensor, ...]] = {}


def constants(key: tuple, rows: Callable[[], list], dtype: torch.dtype, device: torch.device) -> tuple[Tensor, ...]:
    """Small tensors made once for each key, type and device, from nested lists.

    They are ordinary tensors also when first asked for under inference mode; those made inside a tracer or a function
    transform, which wraps them, are not kept.
    """
    key = (*key, dtype, device)
    made = _constants.get(key)
    if made is None:
        if dtype not in TOLERANCE:
            raise InputError(f"concentration of type {dtype}: give float32 or float64, as by concentration.float()")
        with torch.inference_mode(False):
            made = tuple(torch.tensor(row, dtype=dtype, device=device) for row in rows())
        if all(type(tensor) is Tensor for tensor in made) and not transforming():
            _constants[key] = made
    return made
