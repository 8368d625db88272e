"""How a GPU multiplies single precision, and whether it sums alike every time: by policy, and not by torch's defaults.

TensorFloat-32 keeps 10 of the 23 bits of each factor, and is several times as fast. Likelihoods, scores and analyses
are never computed so; trainings are as their settings say, which their runs store.
"""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from apps.command.config import Optimisation
from priors.errors import InputError

_FULL, _SHORT = "ieee", "tf32"


def in_full() -> None:
    """Multiply single precision in full, from now on: what every command begins with."""
    _set(_FULL, _FULL)


@contextmanager
def scoring() -> Iterator[None]:
    """Multiply in full while the context is open, as within a training where it scores what it has."""
    before = torch.backends.cuda.matmul.fp32_precision, torch.backends.cudnn.conv.fp32_precision
    in_full()
    try:
        yield
    finally:
        _set(*before)


@contextmanager
def training(settings: Optimisation, device: torch.device) -> Iterator[None]:
    """Compute as a training's settings say while the context is open; then as before, in full.

    Sizes are the same in all steps, so that the fastest ways to convolve are looked for once, but where sums are to
    come out alike.

    Args:
        settings: `tf32`, which `check_tf32` has let in, and `deterministic`.
        device: of the training.

    Raises:
        InputError: an operation has no form that gives the same every time.
    """
    searched, alike = torch.backends.cudnn.benchmark, torch.are_deterministic_algorithms_enabled()
    _set(_SHORT if settings.tf32 == "all" else _FULL, _FULL if settings.tf32 == "off" else _SHORT)
    torch.backends.cudnn.benchmark = not settings.deterministic
    if settings.deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS reads it when it is first used
        torch.use_deterministic_algorithms(True)
    try:
        yield
    except RuntimeError as error:
        if settings.deterministic and (named := re.match(r"(\S+) does not have a deterministic", str(error))):
            raise InputError(
                f"--deterministic: {named[1]} has no form on {device.type} that gives the same every time: leave it out"
            ) from None
        raise
    finally:
        torch.backends.cudnn.benchmark = searched
        torch.use_deterministic_algorithms(alike)
        in_full()


def check_tf32(settings: Optimisation, device: torch.device) -> None:
    """Refuse matrices in TensorFloat-32 on a GPU that has none, which would be multiplied in full without a word.

    Raises:
        InputError: it has none.
    """
    if settings.tf32 == "all" and device.type == "cuda" and torch.cuda.get_device_capability(device) < (8, 0):
        raise InputError(
            f"--tf32 all: {torch.cuda.get_device_name(device)} has no TensorFloat-32, which begins with compute "
            "capability 8.0: leave it out"
        )


def _set(matrices: str, convolutions: str) -> None:
    torch.backends.cuda.matmul.fp32_precision = matrices
    torch.backends.cudnn.conv.fp32_precision = convolutions
    torch.backends.cudnn.rnn.fp32_precision = convolutions
