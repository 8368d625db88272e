"""Weights in half the bytes: what is rounded where a model is handed on, and what is not."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from priors.errors import InputError
from priors.files.checksums import not_finite

_PRIOR = "prior."
"""What the names of all that a generator's class prior is made of begin with."""


def rounded_to(dtype: str, tensors: Mapping[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
    """A model's tensors with its matrices and filters in another type.

    Biases, scales, running statistics and what a prior is made of, learnt or not, stay as they are: they are a few
    bytes, and much hangs on each. Where the model is built again, the numbers are put into its own type.

    Args:
        dtype: as torch calls it, such as "bfloat16".
        tensors: of the model, by name.
        model: says which of them are trained.

    Raises:
        InputError: a number is too large for the type.
    """
    wanted = getattr(torch, dtype)
    trained = {name: one for name, one in model.named_parameters() if not name.startswith(_PRIOR)}
    matrices = {name for name, one in trained.items() if one.ndim > 1 and one.is_floating_point()}
    found = dict(tensors)
    for name in matrices & tensors.keys():
        found[name] = tensors[name].to(wanted)
        if not_finite(found[name]):
            largest = float(tensors[name].abs().max())
            raise InputError(
                f"--dtype {dtype}: {name} holds numbers up to {largest:.3g}, which are too large for it; give bfloat16 "
                "or float32"
            )
    return found
