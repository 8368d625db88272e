"""The process a verb runs in: its device, its threads, its place among the others."""

import atexit
import gc
from collections.abc import Callable
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Literal, TypeVar

import torch
import torch.distributed
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import InitProcessGroupKwargs

from apps.command import ending
from apps.command.config import Where
from apps.command.launch import local_processes, processes
from apps.data.sweep import sweep
from apps.training.cores import free_cores
from apps.training.devices import chosen
from apps.training.numerics import in_full
from apps.training.waiting import PATIENCE, wait_for
from priors.errors import InputError

Found = TypeVar("Found")


def start(
    where: Where, *, precision: Literal["fp32", "bf16"] = "fp32", work: Literal["small", "large"] = "large"
) -> Accelerator:
    """An accelerator for this process: one CPU, one GPU, or one of several processes that torchrun started.

    Args:
        where: device, threads and trackers.
        precision: fp32, or bf16 under autocast.
        work: small networks run on one thread (at small sizes a second one costs more than it brings), large ones on
            the cores that other programs leave free: threads wait for each other, and one that shares its core holds
            up all.

    Raises:
        InputError: a tracker is not installed, or the device is not there.
    """
    in_full()
    device = chosen(where.device, local_processes())
    if device.index is not None:
        torch.accelerator.set_device_index(device.index)
    # Each verb has an accelerator of its own, also where one process runs several verbs in turn with other settings.
    AcceleratorState._reset_state(reset_partial_state=not torch.distributed.is_initialized())
    accelerator = Accelerator(
        cpu=device.type == "cpu",
        mixed_precision="bf16" if precision == "bf16" else "no",
        log_with=list(where.tracker) or None,
        project_dir=str(where.runs),
        kwargs_handlers=[InitProcessGroupKwargs(timeout=PATIENCE)],
    )
    if torch.distributed.is_initialized():
        atexit.unregister(_leave)
        atexit.register(_leave)
    missing = set(where.tracker) - {getattr(kind, "value", kind) for kind in accelerator.log_with}
    if missing:
        raise InputError(
            f"--tracker {', '.join(sorted(missing))}: not installed here; install it with pip, or leave it out"
        )
    torch.set_num_threads(where.threads or (1 if work == "small" else free_cores(local_processes())))
    return accelerator


def _leave() -> None:
    """Leave the process group before the interpreter ends.

    A thread of the backend that wants to free a Python object after that has the process aborted. Not after an error
    of one process: the others may be waiting for it in a collective, and would have it wait for them.
    """
    if torch.distributed.is_initialized() and not ending.failed():
        gc.collect()  # what still holds the group, in circles, would have its threads go on
        torch.distributed.destroy_process_group()


def agreed(accelerator: Accelerator, action: Callable[[], object], long: bool = False) -> None:
    """Run `action()` on every process; where it fails on one, all raise its error, so that none waits in vain.

    It is a barrier as well. The action itself must not wait for other processes.

    Args:
        accelerator: of this process.
        action: what to do.
        long: whether the first process may take longer than the others would wait for it.

    Raises:
        InputError, OSError: on every process, where the action raised one on any.
    """
    if accelerator.num_processes == 1:
        action()
        return
    failure: str | tuple | None = None
    try:
        action()
    except InputError as error:
        failure = str(error)
    except OSError as error:
        failure = (error.errno, error.strerror, error.filename)
    if long:
        wait_for([0])
    failures: list[str | tuple | None] = [None] * accelerator.num_processes
    torch.distributed.all_gather_object(failures, failure)
    for failure in failures:
        if failure is not None:
            raise InputError(failure) if isinstance(failure, str) else OSError(*failure)


def on_main(accelerator: Accelerator, action: Callable[[], object], long: bool = False) -> None:
    """Run `action()` on the first process; the others wait, and what is wrong there ends all of them, with one line.

    Args:
        accelerator: of this process.
        action: what to do.
        long: whether it may take longer than `apps.training.waiting.PATIENCE`.

    Raises:
        InputError, OSError: on every process, where the action raised one.
    """
    agreed(accelerator, action if accelerator.is_main_process else lambda: None, long)


def from_main(accelerator: Accelerator, find: Callable[[], Found], long: bool = False) -> Found:
    """What `find()` gives on the first process, on every process; see `on_main`.

    Raises:
        InputError, OSError: on every process, where it raised one.
    """
    found: list[Found | None] = [None]
    on_main(accelerator, lambda: found.__setitem__(0, find()), long)
    if accelerator.num_processes > 1:
        torch.distributed.broadcast_object_list(found, src=0)
    return found[0]


def from_first(where: Where, find: Callable[[], Found]) -> Found:
    """What the first of several processes finds, on every process, before an accelerator is there.

    However long that one still works by itself, the others wait.

    Args:
        where: the processes compute.
        find: called on the first one.

    Raises:
        InputError, OSError: on every process, where it raised one.
    """
    return find() if processes() == 1 else from_main(start(where, work="small"), find, long=True)


@contextmanager
def tracking(accelerator: Accelerator, where: Where, folder: Path):
    """Open the trackers that were asked for, on a run's folder, and close them at the end."""
    if where.tracker:
        accelerator.init_trackers(folder.name, init_kwargs={"wandb": {"name": folder.name, "dir": str(folder)}})
    try:
        yield
    finally:
        for tracker in accelerator.trackers:
            tracker.finish()
        accelerator.trackers = []


def sweeping(accelerator: Accelerator, progress: bool = False):
    """`sweep` over a set by the processes of `accelerator`."""
    return partial(sweep, accelerator=accelerator, progress=progress)
