"""What a training would take, by some steps of it: time, arithmetic and memory, before a week is spent on it."""

import resource
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from apps.command.console import counted, say, table
from apps.training.loop import Fit
from apps.training.memory import needed_for
from apps.training.meter import Meter

_TIMED = 3
"""Steps of each phase, after one that is not timed: in that one optimisers make their state."""


@dataclass(frozen=True)
class PhasePlan:
    """A phase of a training.

    Attributes:
        name: of it; nothing where there is one.
        steps: updates.
        seconds: of each, the median of three; all its turns and parts are in it, and neither validations nor states.
        flop: floating-point operations of each, in products of matrices and convolutions; a product and a sum are two.
        operations: calls of torch's own that compute: about as many kernels as a GPU is given.
    """

    name: str
    steps: int
    seconds: float
    flop: int
    operations: int


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


class _Operations(TorchDispatchMode):
    """Counts calls that compute."""

    def __init__(self):
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, function: Callable, types: tuple, args: tuple = (), kwargs: dict | None = None):
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
        begins = [0, *fit.ends[:-1]]
        phases = [
            _phase(fit, begin, end, phase.name if len(begins) > 1 else "")
            for begin, end, phase in zip(begins, fit.ends, fit.task.phases, strict=True)
            if end > begin
        ]
        held = fit.config.batch_size // (fit.processes * fit.config.accumulate)
        shape = fit.batches.images.image_shape
        needed = needed_for(fit.task, shape, held, fit.config, fit.device).device
        weights = {name: sum(one.numel() for one in network.parameters()) for name, network in fit.raw.items()}
        trained = {name: sum(one.numel() for one in parameters) for name, parameters in fit.trainable.items()}
        return TrainingPlan(weights, trained, tuple(phases), needed, _peak(fit.device))
    finally:
        fit.take_down()


def print_plan(plan: TrainingPlan, fit: Fit) -> None:
    """What was found, as a table."""
    rows = [
        (
            phase.name or "training",
            f"{phase.steps:,}",
            f"{phase.seconds:.4g}",
            f"{phase.flop / 1e9:,.4g}",
            f"{phase.operations:,}",
            _said(phase.steps * phase.seconds),
        )
        for phase in plan.phases
    ]
    weights = ", ".join(
        f"{name} {count:,}" + ("" if plan.trained[name] == count else f" ({plan.trained[name]:,} trained)")
        for name, count in plan.weights.items()
    )
    kind, gib = fit.device.type, 2**30
    most = f"{plan.peak / gib:.2f} GiB at the most so far {'on the GPU' if kind == 'cuda' else 'of this process'}"
    table(
        f"{fit.run.folder.name}: what the training takes",
        ("phase", "updates", "seconds each", "GFLOP each", "operations each", "in all"),
        rows,
        f"{counted(fit.processes, 'process')} on {kind}, {fit.config.batch_size} images an update; weights: {weights}; "
        f"memory: {most}, {plan.needed / gib:.2f} GiB estimated beside the networks; seconds: median of three updates, "
        "without validations and states; GFLOP: of products of matrices and convolutions; operations: about as many "
        f"kernels as a GPU is given{', without --compile' if fit.compiled.on else ''}",
    )
    others = ", ".join(f"{_said(plan.seconds * fit.processes / n)} of {n}" for n in (2, 4, 8) if n > fit.processes)
    best = f"; shared by more processes without loss, {others}" if others else ""
    say(f"{_said(plan.seconds)} of {counted(fit.processes, 'process')}{best}. Nothing was written (--plan).")


def _said(seconds: float) -> str:
    """A time in the unit that it is read in."""
    for unit, length in (("days", 86_400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.3g} {unit}"
    return f"{seconds:.3g} s"


def _phase(fit: Fit, begin: int, end: int, name: str) -> PhasePlan:
    fit.progress.step = begin
    meter = Meter(1, fit.device)

    def step() -> float:
        _finish(fit.device)
        since = time.perf_counter()
        fit.one_step(meter)
        _finish(fit.device)
        return time.perf_counter() - since

    step()
    seconds = median(step() for _ in range(_TIMED))
    # Counted as they are without --compile: what compiled code calls is not seen.
    with fit.compiled.eager(), FlopCounterMode(display=False) as flop, _Operations() as operations:
        fit.one_step(meter)
    fit.read(meter)
    return PhasePlan(name, end - begin, seconds, flop.get_total_flops(), operations.count)


def _finish(device: torch.device) -> None:
    """Wait until a device has done all that it was given."""
    if device.type != "cpu":
        torch.accelerator.synchronize(device)


def _peak(device: torch.device) -> int:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
