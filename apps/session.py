"""The process a verb runs in: its device, its threads, its place among the others."""

import os
from contextlib import suppress
from functools import partial
from typing import Literal

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import broadcast_object_list

from apps.config import Where
from apps.sweep import sweep
from priors.errors import InputError


def start(
    where: Where, *, precision: Literal["fp32", "bf16"] = "fp32", work: Literal["small", "large"] = "large"
) -> Accelerator:
    """An accelerator for this process: one CPU, one GPU, or one of several processes that torchrun or accelerate started.

    Args:
        where: device, threads and trackers.
        precision: fp32, or bf16 under autocast.
        work: small networks run on one thread (at small sizes a second one costs more than it brings), large ones on all cores.

    Raises:
        InputError: a tracker is not installed.
    """
    # Each verb has an accelerator of its own, also where one process runs several verbs in turn with other settings.
    AcceleratorState._reset_state()
    accelerator = Accelerator(
        cpu=where.device == "cpu",
        mixed_precision="bf16" if precision == "bf16" else "no",
        log_with=list(where.tracker) or None,
        project_dir=str(where.runs),
    )
    missing = set(where.tracker) - {getattr(kind, "value", kind) for kind in accelerator.log_with}
    if missing:
        raise InputError(f"--tracker {', '.join(sorted(missing))}: not installed here; install it with pip, or leave it out")
    cores = max(1, available_cores() // max(1, local_processes()))
    torch.set_num_threads(where.threads or (1 if work == "small" else cores))
    return accelerator


def available_cores() -> int:
    """CPU cores that this process may use."""
    with suppress(AttributeError):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def local_processes() -> int:
    """Processes of this launch on this machine."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", "1"))


def on_main(accelerator: Accelerator, action) -> None:
    """Run `action()` on the first process; bad input found there ends all of them, with the same line.

    Raises:
        InputError: on every process, where `action` raised one.
    """
    message: list[str | None] = [None]
    if accelerator.is_main_process:
        try:
            action()
        except InputError as error:
            message = [str(error)]
    if accelerator.num_processes > 1:
        broadcast_object_list(message)
    if message[0] is not None:
        raise InputError(message[0])


def sweeping(accelerator: Accelerator, progress: bool = False):
    """`sweep` over a set by the processes of `accelerator`."""
    return partial(sweep, accelerator=accelerator, progress=progress)
