"""What every training verb does around the loop: open the run, train or resume, score, conclude."""

import platform
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

import torch
from accelerate import Accelerator

from apps.command.config import Optimisation, Where
from apps.command.console import counted, say
from apps.command.errors import Planned
from apps.command.launch import local_processes
from apps.command.version import own_commit, own_version
from apps.data.image_set import ImageSet
from apps.data.sources.forms import form_of
from apps.data.sources.image_files import ImageFiles
from apps.runs.run import Run
from apps.training import numerics
from apps.training.compiling import check_compiler
from apps.training.cores import available_cores, machine
from apps.training.loop import Fit, fit, snapshots_of
from apps.training.machines import check_shared
from apps.training.memory import check_training
from apps.training.plan import plan_of, print_plan
from apps.training.session import agreed, on_main
from apps.training.task import Task
from priors.errors import InputError
from priors.rare_constants import load_rare_constants

load_rare_constants()


def slug(text: str) -> str:
    """A folder's name: what is not a letter, digit, dot, dash or underscore becomes a dash.

    Example:
        >>> slug("torchvision:resnet18 on my/photos.npz")
        'torchvision-resnet18-on-my-photos.npz'
    """
    return re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("-.")


def data_label(name: str, classes: str | None = None) -> str:
    """A data set's name for a folder's: its own, or the last part of its path without the .npz, or of what it is in.

    Those of its classes that were chosen follow.
    """
    chosen = "" if classes is None else f"-{classes}"
    if (form := form_of(name)) is not None:
        return form.label + chosen
    return (Path(name).stem if name.lower().endswith(".npz") else Path(name).name) + chosen


def environment(accelerator: Accelerator, compiled: bool = False) -> dict[str, Any]:
    """Where a run was made: versions, device, machine, processes, and whether its steps were compiled."""
    device = accelerator.device
    return {
        "penult": own_version(),
        **({} if (commit := own_commit()) is None else {"commit": commit}),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "machine": machine(),
        "processes": accelerator.num_processes,
        "threads": torch.get_num_threads(),
        "compiled": compiled,
    }


def train(
    verb: str,
    run: Run,
    identity: dict[str, Any],
    accelerator: Accelerator,
    images: ImageSet,
    build: Callable[[], Task],
    score: Callable[[Task], dict[str, Any]],
    optimisation: Optimisation,
    where: Where,
    following: str | None = None,
    augmentation=None,
    shift=None,
    older: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Train a task in its run's folder, or resume it, and return the result; a finished run is only reported.

    Args:
        verb: what made the run, such as "train hvae".
        run: its folder.
        identity: the flat configuration that decides its numbers.
        accelerator: of this process.
        images: to train on.
        build: makes the task; called only where there is something to train.
        score: final numbers of the trained task; called on every process.
        optimisation: how to train.
        where: where and how it is shown.
        following: the command to type next; None where another verb goes on by itself.
        augmentation: of the images.
        shift: of the images, before they are augmented.
        older: by key of the configuration, what a run does that was made before the key, see
            `apps.command.config.older_values`.

    Raises:
        InputError: the batch does not divide, or is larger than the set or than memory; the training ends before a
            snapshot; or the run's folder holds something else.
    """
    check_shared(accelerator, run.folder.parent)
    parts = accelerator.num_processes * optimisation.accumulate
    if optimisation.batch_size % parts:
        raise InputError(
            f"--batch-size {optimisation.batch_size} over {counted(accelerator.num_processes, 'process')} and "
            f"--accumulate {optimisation.accumulate}: expected a multiple of {parts}"
        )
    # A small set may be seen several times a step of the usual size; what is there already goes on as it was.
    most = max(len(images), Optimisation.batch_size)
    if optimisation.batch_size > most and not (run.finished or run.states()):
        raise InputError(
            f"--batch-size {optimisation.batch_size}: {counted(len(images), 'image')} to train on, and each would be "
            f"seen several times a step; give {most} or less"
        )
    if optimisation.warmup > optimisation.epochs and not (run.finished or run.states()):
        raise InputError(
            f"--warmup {optimisation.warmup:g}: the training has {counted(f'{optimisation.epochs:g}', 'epoch')}, and "
            "the learning rate would never reach its peak; give fewer than that"
        )
    snapshots = snapshots_of(where, optimisation, images)
    if snapshots:  # part of what a run is: it has all of them or was never asked for any
        identity = identity | {"snapshots": list(snapshots)}
    usual = torch.get_num_threads()
    torch.set_num_threads(_threads(run, where))
    task = None
    if not run.finished or where.plan:  # all before there is a folder
        _check_upright(run, images)
        task = build()
        held, shape = optimisation.batch_size // parts, images.image_shape
        numerics.check_tf32(optimisation, accelerator.device)
        if where.compile:
            check_compiler(accelerator.device)
        device = accelerator.device
        # What is free differs from one process to the next.
        agreed(accelerator, lambda: check_training(task, shape, held, optimisation, device, local_processes()))
    if where.plan:
        with numerics.training(optimisation, accelerator.device):
            _plan(Fit(task, images, run, optimisation, where, accelerator, augmentation, shift))
    after = f". Next: {following}" if following else ""
    on_main(accelerator, lambda: run.open(verb, identity, environment(accelerator, where.compile), older))
    try:
        if run.finished:
            result = run.result()
            if accelerator.is_main_process:
                say(f"{run.folder} is finished already ({summary(result)}); nothing was done{after}")
            return result
        with numerics.training(optimisation, accelerator.device):
            progress = fit(task, images, run, optimisation, where, accelerator, augmentation, shift)
        scored = score(task)
        result = {
            "steps": progress.step,
            "epochs": round(progress.step * optimisation.batch_size / len(images), 3),
            "seconds": round(progress.seconds, 1),
            "stopped early": progress.stopped,
            "last": progress.metrics,
            **({"best": progress.best_metrics, "best step": progress.best_step} if progress.best is not None else {}),
            **scored,
        }
        on_main(accelerator, lambda: _conclude(run, result))
        if accelerator.is_main_process:
            say(f"{run.folder} is done ({summary(result)}){after}")
        return result
    finally:
        run.close()
        torch.set_num_threads(usual)


def _plan(fit: Fit) -> NoReturn:
    """Say what a training takes, and end the command there.

    Raises:
        Planned: it is said.
    """
    found = plan_of(fit)
    if fit.main:
        print_plan(found, fit)
    raise Planned


def _threads(run: Run, where: Where) -> int:
    """Those that the run began with, as far as there are cores: another number sums in another order.

    Those of the process where the run is new, or is told how many.
    """
    now = torch.get_num_threads()
    if where.threads is not None or not (run.states() or run.metrics()):
        return now
    stored = run.config().get("environment")
    begun_with = stored.get("threads") if isinstance(stored, dict) else None
    return min(begun_with, available_cores()) if isinstance(begun_with, int) and begun_with > 0 else now


def _check_upright(run: Run, images: ImageSet) -> None:
    """Refuse to go on with a run whose pictures were not turned when it began, which its digest cannot tell.

    Raises:
        InputError: it is of an earlier program, and EXIF says to turn one of the files.
    """
    if run.format < 2 and isinstance(images.images, ImageFiles):
        turned = images.images.turned()
        if turned:
            raise InputError(
                f"{run.folder} was begun by an earlier penult, which left pictures on their side that EXIF says to "
                f"turn, as {images.images.folder / turned}: train anew under another --name"
            )


def _conclude(run: Run, result: dict[str, Any]) -> None:
    """Draw the curves, then write the result: it is there only when everything else is."""
    from apps.training.curves import curves  # the plotting library is slow to load: not before the first step

    with suppress(InputError):  # nothing that could be drawn, as after a single step
        curves(run.folder / "curves.png", run.metrics(), run.folder.name)
    run.finish(result)


def summary(result: dict[str, Any]) -> str:
    """The headline numbers of a result: how long it took, and its test scores, or else its validation's.

    A training of less than a hundredth of an epoch is told in steps.

    Example:
        >>> summary({"epochs": 2.004, "seconds": 61.2, "last": {"elbo": -30.21}, "best": {"elbo": -30.125}})
        '2 epochs in 61 s; validation: elbo -30.12'
        >>> summary({"epochs": 0.0, "steps": 3, "seconds": 1.2})
        '3 steps in 1 s'
    """
    tested = {name.removeprefix("test/"): value for name, value in result.items() if name.startswith("test/")}
    chosen = tested or result.get("best") or result.get("last") or {}
    scores = [f"{name} {value:.4g}" for name, value in chosen.items() if isinstance(value, float)]
    epochs, steps = result.get("epochs", 0), result.get("steps", 0)
    length = counted(f"{epochs:.3g}", "epoch") if epochs >= 0.01 or not steps else counted(steps, "step")
    spent = f"{length} in {result.get('seconds', 0):,.0f} s"
    return f"{spent}; {'test' if tested else 'validation'}: {', '.join(scores)}" if scores else spent
