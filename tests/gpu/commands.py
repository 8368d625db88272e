"""Commands of penult up to the first step of their trainings, which are handed over instead of trained."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, replace
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from spoken import last_of_each
from torch import Tensor

from apps.command.cli import main
from apps.inverting import layer_runs
from apps.training import train as training
from apps.training.loop import Fit
from apps.training.meter import Meter

STRICT = range(3, 20)
"""Steps of a phase that must not wait for the device."""


class _Enough(BaseException):
    """All trainings of a command are handed over."""


def hand_over(words, take: Callable[[Fit], None], count: int = 1) -> None:
    """Run a command in an empty folder until its first trainings are to begin, and give each to `take`.

    Args:
        words: of the command; of flags that are there twice the last counts.
        take: is given each training, with the numerics that its settings ask for.
        count: of trainings; what the command does after them is left out.
    """
    usual, inverting, left, said = training.fit, layer_runs.train, [count], StringIO()

    def fit(*given, **options):
        take(Fit(*given, **options))
        left[0] -= 1
        raise _Enough

    def one(**options):
        try:
            inverting(**options)
        except _Enough:
            if not left[0]:
                raise

    training.fit, layer_runs.train = fit, one
    try:
        with TemporaryDirectory() as folder, inside(Path(folder)), redirect_stdout(said), redirect_stderr(said):
            status = main(last_of_each(map(str, words)))
    except _Enough:
        return
    finally:
        training.fit, layer_runs.train = usual, inverting
    raise RuntimeError(f"ended with {status} before its training: {' '.join(said.getvalue().split())[-200:]}")


@contextmanager
def inside(folder: Path) -> Iterator[None]:
    """Another current folder."""
    before, path = os.getcwd(), list(sys.path)
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)
        sys.path[:] = path


@dataclass(frozen=True)
class Turn:
    """What one turn of a training comes to at the weights that it begins with.

    Attributes:
        name: the training's run, the phase and the turn.
        loss: the sum of its terms.
        gradients: by network and in one, of all that the turn trains; on the CPU, in double precision.
    """

    name: str
    loss: float
    gradients: dict[str, Tensor]


def turns(fit: Fit, bits: int | None = None) -> list[Turn]:
    """Each kind of turn of each phase, on the same batch, and without an update.

    Args:
        fit: the training.
        bits: that weights and images are rounded to first; None: they are not.
    """
    found = []
    with prepared(fit):
        batch = fit.batches.at(0)
        if bits is not None:
            for network in fit.raw.values():
                for weights in network.parameters():
                    weights.data.copy_(rounded(weights.data, bits))
            batch = replace(batch, images=rounded(batch.images, bits))
        for phase in _phases(fit):
            for turn in dict.fromkeys(fit.task.turns(fit.progress.step)):
                fit.learn(*fit.task.trained(turn))
                with fit.accelerator.autocast():
                    losses = fit.task.losses(turn, batch, fit.progress.step)
                loss = sum(losses.values())
                fit.accelerator.backward(loss)
                name = f"{fit.run.folder.name} {phase} {turn}"
                found.append(Turn(name, float(loss.detach()), _gradients(fit)))
    return found


def rounded(values: Tensor, bits: int) -> Tensor:
    """Numbers in single precision with so many bits of their fractions' 23, half up."""
    drop = 23 - bits
    whole = values.contiguous().view(torch.int32) + (1 << (drop - 1))
    return (whole >> drop << drop).view(torch.float32)


def steps(fit: Fit, strict: Callable) -> int:
    """Train some steps of each phase, those of `STRICT` within `with strict():`; how many there were in all."""
    taken, meter = 0, Meter(STRICT.stop, fit.device)
    fit.ends = [(number + 1) * STRICT.stop for number in range(len(fit.ends))]
    with prepared(fit):
        for _ in _phases(fit):
            for number in range(STRICT.stop):
                with strict() if number in STRICT else ExitStack():
                    fit.one_step(meter)
                fit.progress.step += 1
                taken += 1
            fit.read(meter)
            fit.settle()
    return taken


@contextmanager
def prepared(fit: Fit) -> Iterator[Fit]:
    """A training that is set up, and taken down again."""
    fit.set_up()
    try:
        fit.prepare()
        yield fit
    finally:
        fit.take_down()


def _phases(fit: Fit) -> Iterator[str]:
    """Enters each phase that has steps at its begin."""
    for index, (begin, end, phase) in enumerate(zip([0, *fit.ends], fit.ends, fit.task.phases, strict=False)):
        if end > begin:
            fit.progress.step = begin
            fit.enter_phase(index)
            yield phase.name


def _gradients(fit: Fit) -> dict[str, Tensor]:
    """What the backward pass left behind, which is taken away."""
    found = {}
    for name, parameters in fit.trainable.items():
        parts = [one.grad.detach().cpu().double().flatten() for one in parameters if one.grad is not None]
        if parts:
            found[name] = torch.cat(parts)
        for one in parameters:
            one.grad = None
    return found
