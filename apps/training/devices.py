"""Which device a command computes on: what was asked for, where it is there."""

import torch

from priors.errors import InputError
from priors.remarks import remark

_ACCELERATORS = {"cuda": "an NVIDIA or AMD GPU", "xpu": "an Intel GPU"}


def chosen(wanted: str, processes: int = 1) -> torch.device:
    """The device of this process; the number of a GPU only where one was asked for by it.

    Apple's GPUs have no double precision, in which priors, likelihoods and moments are computed: where there is one,
    the CPU takes its place, and a line says so.

    Args:
        wanted: auto, cpu, cuda, xpu, either with the number of a GPU as in cuda:1, or mps.
        processes: of this command on this machine, each of which takes a GPU of its own.

    Raises:
        InputError: there is no such device, or fewer GPUs than processes.

    Example:
        >>> chosen("cpu").type
        'cpu'
    """
    kind, _, number = wanted.partition(":")
    if kind == "auto":
        kind = next((name for name in _ACCELERATORS if count(name)), "cpu")
        if kind == "cpu" and torch.backends.mps.is_available():
            kind = "mps"
    if kind == "mps":
        remark("Apple's GPUs have no double precision, which priors and likelihoods need: computing on the CPU.")
        return torch.device("cpu")
    if kind == "cpu":
        return torch.device("cpu")
    there = count(kind)
    if not there:
        raise InputError(
            f"--device {wanted}: torch {torch.__version__} finds no {kind} device here, {_ACCELERATORS[kind]}: give "
            "--device cpu, or install a torch for it"
        )
    if number and int(number) >= there:
        known = ", ".join(f"{kind}:{one}" for one in range(there))
        raise InputError(f"--device {wanted}: there is no such device here (known: {known})")
    if number and processes > 1:
        raise InputError(
            f"--device {wanted} with {processes} processes: each takes a device of its own; give --device {kind}"
        )
    if processes > there:
        raise InputError(
            f"{processes} processes and {there} {kind} device{'s' if there > 1 else ''} on this machine: each takes "
            f"one of its own; start {there}, or give --device cpu"
        )
    return torch.device(wanted if number else kind)


def count(kind: str) -> int:
    """How many devices of a kind torch finds here."""
    module = getattr(torch, kind)
    return module.device_count() if module.is_available() else 0
