"""What a training would take, by some steps of it: time, arithmetic and memory, before a week is spent on it.

It ends within two minutes or so, however long a step is: weights and updates are said first, as many steps are timed as
there is time for, and a first step that is longer than that is left in its middle.
"""

import math
import resource
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from statistics import median

import torch
import torch.distributed
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from apps.command.console import counted, say, table
from apps.training.loop import Fit
from apps.training.memory import needed_for
from apps.training.meter import Meter

_TIMED = 3
"""Steps of each phase, after one that is not timed: in that one optimisers make their state."""
_SECONDS = 90.0
"""Of all steps together: none is begun that would not be done by then."""


@dataclass(frozen=True)
class PhasePlan:
    """A phase of a training.

    Attributes:
        name: of it; nothing where there is one.
        steps: updates.
        seconds: of each, the median of those that were timed; all its turns and parts are in it, and neither
            validations nor states.
        flop: floating-point operations of each, in products of matrices and convolutions; a product and a sum are two.
        operations: calls of torch's own that compute: about as many kernels as a GPU is given.
        timed: how many: three, fewer where those are long, or none: seconds are of the first, which makes optimisers'
            state.
        whole: whether that one came to its end; where not, an update takes more than all these numbers.
    """

    name: str
    steps: int
    seconds: float
    flop: int
    operations: int
    timed: int = _TIMED
    whole: bool = True


@dataclass(frozen=True)
class TrainingPlan:
    """A training.

    Attributes:
        weights: parameters by network.
        trained: those of them that are trained.
        phases: in order; one without steps is left out.
        needed: bytes that it is estimated to take of its device, beside the networks as they are built.
        peak: bytes at the most so far: of the GPU's memory, or of this process.
    """

    weights: dict[str, int]
    trained: dict[str, int]
    phases: tuple[PhasePlan, ...]
    needed: int
    peak: int

    @property
    def seconds(self) -> float:
        """Of all phases."""
        return sum(phase.steps * phase.seconds for phase in self.phases)


class _Late(Exception):
    """A step is longer than there is time for."""


class _Operations(TorchDispatchMode):
    """Counts calls that compute, and leaves off at a time of `time.perf_counter`."""

    def __init__(self, until: float):
        super().__init__()
        self.count, self.until = 0, until

    def __torch_dispatch__(self, function: Callable, types: tuple, args: tuple = (), kwargs: dict | None = None):
        if time.perf_counter() > self.until:
            raise _Late
        self.count += not (function.is_view or function.namespace != "aten" or function._opname == "detach")
        return function(*args, **(kwargs or {}))


def plan_of(fit: Fit) -> TrainingPlan:
    """Train some steps of each phase in memory, and write nothing; the networks are not to be used after that.

    Args:
        fit: a training that has not begun.
    """
    fit.set_up()
    try:
        fit.prepare()
        weights = {name: sum(one.numel() for one in network.parameters()) for name, network in fit.raw.items()}
        trained = {name: sum(one.numel() for one in parameters) for name, parameters in fit.trainable.items()}
        if fit.main:
            _say_known(fit, weights, trained)
        begins = [0, *fit.ends[:-1]]
        some = [one for one in zip(begins, fit.ends, fit.task.phases, strict=True) if one[1] > one[0]]
        since = time.perf_counter()
        phases = [
            _phase(fit, begin, end, phase.name if len(begins) > 1 else "", since, number * _SECONDS / len(some))
            for number, (begin, end, phase) in enumerate(some, 1)
        ]
        held = fit.config.batch_size // (fit.processes * fit.config.accumulate)
        shape = fit.batches.images.image_shape
        needed = needed_for(fit.task, shape, held, fit.config, fit.device).device
        return TrainingPlan(weights, trained, tuple(phases), needed, _peak(fit.device))
    finally:
        fit.take_down()


def _say_known(fit: Fit, weights: dict[str, int], trained: dict[str, int]) -> None:
    """Before any step, what is known without."""
    words = ", ".join(
        f"{name} {count:,}" + ("" if trained[name] == count else f" ({trained[name]:,} trained)")
        for name, count in weights.items()
    )
    say(
        f"{fit.run.folder.name}: {counted(f'{fit.steps:,}', 'update')} of {fit.config.batch_size} images; weights: "
        f"{words}; some updates are timed now, for {_said(_SECONDS)} at the most."
    )


def print_plan(plan: TrainingPlan, fit: Fit) -> None:
    """What was found, as a table."""
    rows = []
    for phase in plan.phases:
        more = "" if phase.whole else "> "
        rows.append(
            (
                phase.name or "training",
                f"{phase.steps:,}",
                f"{more}{phase.seconds:.4g}",
                f"{more}{phase.flop / 1e9:,.4g}",
                f"{more}{phase.operations:,}",
                f"{more}{_said(phase.steps * phase.seconds)}",
            )
        )
    kind, gib = fit.device.type, 2**30
    most = f"{plan.peak / gib:.2f} GiB at the most so far {'on the GPU' if kind == 'cuda' else 'of this process'}"
    table(
        f"{fit.run.folder.name}: what the training takes",
        ("phase", "updates", "seconds each", "GFLOP each", "operations each", "in all"),
        rows,
        f"{counted(fit.processes, 'process')} on {kind}, {fit.config.batch_size} images an update; "
        f"memory: {most}, {plan.needed / gib:.2f} GiB estimated beside the networks; seconds: {_timed(plan)}, "
        "without validations and states; GFLOP: of products of matrices and convolutions; operations: about as many "
        f"kernels as a GPU is given{', without --compile' if fit.compiled.on else ''}",
    )
    left = [phase for phase in plan.phases if not phase.whole]
    if left:
        say(
            f"An update takes longer than {_said(max(phase.seconds for phase in left))} here and was left in its "
            "middle: what stands behind > had been done by then. A GPU, or a smaller --batch-size, can be timed."
        )
    others = ", ".join(f"{_said(plan.seconds * fit.processes / n)} of {n}" for n in (2, 4, 8) if n > fit.processes)
    best = f"; shared by more processes without loss, {others}" if others and not left else ""
    whole = f"{'More than ' if left else ''}{_said(plan.seconds)} of {counted(fit.processes, 'process')}"
    say(f"{whole}{best}. Nothing was written (--plan).")


def _timed(plan: TrainingPlan) -> str:
    """What the seconds are of."""
    if not all(phase.whole for phase in plan.phases):
        return "of what was done of the first update"
    timed = min((phase.timed for phase in plan.phases), default=_TIMED)
    if timed == 0:
        return "of the first update alone, in which optimisers make their state"
    return (
        "median of three updates"
        if timed == _TIMED
        else f"of {counted(timed, 'update')}, as there was no time for more"
    )


def _said(seconds: float) -> str:
    """A time in the unit that it is read in."""
    for unit, length in (("days", 86_400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.3g} {unit}"
    return f"{seconds:.3g} s"


def _phase(fit: Fit, begin: int, end: int, name: str, began: float, most: float) -> PhasePlan:
    """Time and count steps of a phase, until so many seconds have gone since a time of `time.perf_counter`."""
    fit.progress.step = begin
    meter = Meter(1, fit.device)

    def step() -> float:
        _finish(fit.device)
        since = time.perf_counter()
        fit.one_step(meter)
        _finish(fit.device)
        return _slowest(fit, time.perf_counter() - since)

    def in_time(long: float) -> bool:
        """Whether a step of so many seconds would be done."""
        return _slowest(fit, time.perf_counter() - began) + long < most

    def counted_step(until: float) -> tuple[float, int, int, bool]:
        """Its seconds, products and sums, and operations; and whether it came to its end."""
        since, whole = time.perf_counter(), False
        # Counted as they are without --compile: what compiled code calls is not seen.
        with fit.compiled.eager(), FlopCounterMode(display=False) as flop, _Operations(until) as operations:
            with suppress(_Late):
                fit.one_step(meter)
                _finish(fit.device)
                whole = True
        return _slowest(fit, time.perf_counter() - since), flop.get_total_flops(), operations.count, whole

    # One process that left a step would leave the others waiting for its gradients.
    *found, whole = counted_step(began + most if fit.processes == 1 else math.inf)
    long, seconds = found[0], []
    if fit.compiled.on and whole and in_time(long):
        step()  # in which the code is made
    while whole and len(seconds) < _TIMED and in_time(long):
        seconds.append(step())
        long = seconds[-1]
    if len(seconds) == _TIMED and in_time(found[0]):
        found = list(counted_step(math.inf)[:-1])  # without what is made but once
    if whole:
        fit.read(meter)
    return PhasePlan(name, end - begin, median(seconds or found[:1]), *found[1:], len(seconds), whole)


def _slowest(fit: Fit, seconds: float) -> float:
    """The most of all processes, so that they do the same."""
    if fit.processes == 1:
        return seconds
    every: list = [None] * fit.processes
    torch.distributed.all_gather_object(every, seconds)
    return max(every)


def _finish(device: torch.device) -> None:
    """Wait until a device has done all that it was given."""
    if device.type != "cpu":
        torch.accelerator.synchronize(device)


def _peak(device: torch.device) -> int:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
