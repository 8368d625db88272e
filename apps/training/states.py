"""What of a training must survive a kill, and its folder: written beside, renamed, read back or refused in one line."""

import os
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from apps.command.config import differences
from apps.runs.run import KEPT_STATES, Run
from apps.training.averaging import Average
from apps.training.checkpoint import load_optimizer_state, load_random_state, optimizer_state, random_state
from apps.training.session import on_main
from apps.training.shares import everywhere
from apps.training.task import Task
from apps.training.whole_state import WHAT, read_description, write_description
from priors.errors import InputError, reason
from priors.files.checksums import check_finite
from priors.files.tensors import load_weights, read_tensors, write_tensors
from priors.remarks import remark


@dataclass
class Progress:
    """Where a training stands; saved with every state."""

    step: int = 0
    """Updates done."""
    drawn: int = 0
    """Global batches drawn."""
    phase: int = 0
    """Index of the current phase."""
    best: float | None = None
    """Best value of the criterion so far."""
    best_step: int | None = None
    """The step it was reached at."""
    waited: int = 0
    """Validations since then that count towards the patience."""
    seconds: float = 0.0
    """Time spent training, over all resumptions."""
    metrics: dict[str, float] = field(default_factory=dict)
    """What the last validation gave."""
    best_metrics: dict[str, float] = field(default_factory=dict)
    """What the best validation gave."""
    stopped: bool = False
    """Whether patience ran out."""


@dataclass
class Training:
    """Everything of a training that a state holds."""

    task: Task
    """For what it keeps beside its networks."""
    networks: dict[str, nn.Module]
    """The task's networks as it made them, not the prepared ones."""
    averages: dict[str, Average] = field(default_factory=dict)
    """By network, where averages are kept."""
    optimizers: dict[str, torch.optim.Optimizer] = field(default_factory=dict)
    """By turn, those of the current phase."""
    progress: Progress = field(default_factory=Progress)
    """Where it stands."""
    best: dict[str, dict[str, Tensor]] = field(default_factory=dict)
    """By network, the best weights so far, on the CPU."""
    best_files: tuple[Path, ...] = ()
    """The complete states that hold `best`, of those that are kept, oldest first."""

    def kept(self) -> dict[str, nn.Module]:
        """The networks whose weights a user gets: averaged where averages are kept."""
        return {
            name: self.averages[name].network if name in self.averages else network
            for name, network in self.networks.items()
        }

    def snapshot(self) -> dict[str, dict[str, Tensor]]:
        """A copy, on the CPU, of the weights a user gets."""
        return {
            name: {key: tensor.detach().to("cpu", copy=True) for key, tensor in network.state_dict().items()}
            for name, network in self.kept().items()
        }


def save(training: Training, run: Run, accelerator: Accelerator) -> None:
    """Write the whole state beside, then rename it: a kill at any moment leaves a complete one.

    The first process writes all of it, also what the others draw from.

    Raises:
        OSError: on every process, where one could not write; the last complete state is untouched.
    """
    step = training.progress.step
    beside = run.state_beside(step)
    generators = everywhere(random_state(accelerator.device))

    def write() -> None:
        described = _write(training, run.begin_state(step), run) | {"device": accelerator.device.type}
        for rank, tensors in enumerate(generators):
            write_tensors(beside / f"random-{rank}.safetensors", tensors)
        write_description(beside, described)
        run.commit_state(beside)

    try:
        on_main(accelerator, write)
    except OSError as error:
        if accelerator.is_main_process:
            run.drop_state(beside)
        states = run.states()
        kept = f"the last complete state is {states[-1]}" if states else "no state had been saved yet"
        said = f"could not write the state of step {step}: {error.strerror}; {kept}"
        raise OSError(error.errno, said, str(run.folder)) from error
    training.best_files = (*training.best_files, run.state(step))[-KEPT_STATES:] if training.best else ()


def _write(training: Training, folder: Path, run: Run) -> dict[str, Any]:
    """Write the tensors, and give what is to be said of them in `state.json`."""
    for name, network in training.networks.items():
        write_tensors(folder / f"network-{name}.safetensors", network.state_dict())
    for name, average in training.averages.items():
        write_tensors(folder / f"average-{name}.safetensors", average.network.state_dict())
    for name, tensors in training.best.items():
        _keep_best(training.best_files, folder / f"best-{name}.safetensors", tensors)
    numbers = {}
    for turn, optimizer in training.optimizers.items():
        tensors, numbers[turn] = optimizer_state(optimizer)
        write_tensors(folder / f"optimizer-{turn}.safetensors", tensors)
    write_tensors(folder / "task.safetensors", training.task.state_dict())
    return {
        "format": run.format,
        "config": run.config()["config"],
        "networks": list(training.networks),
        "averages": {name: average.updates for name, average in training.averages.items()},
        "best": list(training.best),
        "optimizers": numbers,
        "progress": vars(training.progress),
    }


def _keep_best(before: tuple[Path, ...], file: Path, tensors: dict[str, Tensor]) -> None:
    """The best weights under another name where the state that goes next has them already, else written.

    Not those of the newest state, which stays: what damages the one file would damage both states.
    """
    if len(before) == KEPT_STATES:
        try:
            os.link(before[0] / file.name, file)
            return
        except OSError:  # no links on this file system, or the older state was taken away
            pass
    write_tensors(file, tensors)


def load_networks(training: Training, folder: Path, run: Run) -> None:
    """Put back the progress and the networks' weights.

    Raises:
        InputError: the state is damaged, or of another training.
    """
    with _refusing(folder):
        state = read_description(folder)
        changed = differences(state["config"], run.config()["config"])
        if changed:
            raise InputError(f"it is of a run with another configuration ({'; '.join(changed)})")
        if state.get("format", 0) != run.format:
            raise InputError(f"it is of a run of format {state.get('format', 0)}, this one is of {run.format}")
        if state["networks"] != list(training.networks):
            raise InputError(f"it holds the networks {state['networks']}, this run has {list(training.networks)}")
        training.progress = Progress(**state["progress"])
        if not isinstance(training.progress.step, int) or not isinstance(training.progress.drawn, int):
            raise TypeError("step")
        for name, network in training.networks.items():
            _load(network, folder / f"network-{name}.safetensors")


def load_rest(
    training: Training,
    folder: Path,
    optimizer: Callable[[str], torch.optim.Optimizer],
    accelerator: Accelerator,
) -> None:
    """Put back everything else, the random-number generators last; `optimizer` makes a turn's.

    A kind of device draws by generators of its own: a line says where the training was on another one.

    Raises:
        InputError: the state is damaged, or of another training.
    """
    with _refusing(folder):
        state = read_description(folder)
        for name, average in training.averages.items():
            _load(average.network, folder / f"average-{name}.safetensors")
            if average.format >= 2:  # a list of the names before, where nothing went by the updates
                average.updates = int(state["averages"][name])
        unchecked = "files" not in state
        for turn, numbers in state["optimizers"].items():
            tensors, _ = read_tensors(folder / f"optimizer-{turn}.safetensors", WHAT, finite=unchecked)
            load_optimizer_state(optimizer(turn), tensors, numbers)
        for name in state["best"]:
            file = folder / f"best-{name}.safetensors"
            training.best[name] = read_tensors(file, WHAT)[0]
            check_finite(training.best[name], file, training.networks[name].state_dict())
        training.best_files = (folder,) if training.best else ()
        training.task.load_state_dict(read_tensors(folder / "task.safetensors", WHAT)[0])
        file = folder / f"random-{accelerator.process_index}.safetensors"
        if file.exists():  # a process more than before starts on its own fresh stream
            load_random_state(read_tensors(file, WHAT)[0], accelerator.device)
    before, now = state.get("device"), accelerator.device.type
    if before not in (None, now):
        remark(
            f"{folder} was written on {before}; it goes on on {now}, which draws other random numbers: the result will "
            "not be, to the number, what either alone would have given"
        )


def _load(network: nn.Module, file: Path) -> None:
    load_weights(network, read_tensors(file, WHAT)[0], file)


@contextmanager
def _refusing(folder: Path):
    """Say of a damaged or foreign state where it is and what to do."""
    try:
        yield
    except InputError as error:
        raise InputError(f"cannot go on from {folder}: {error}; remove that folder to start over") from None
    except (KeyError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        raise InputError(
            f"cannot go on from {folder}: not a state of this run ({reason(error)}); remove that folder to start over"
        ) from None
