"""Part a: versions and flags, the tests that need a GPU, and each training's step there against the CPU's."""

import os
import platform
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import fake_cuda
import pytest
import torch
from accelerate.state import AcceleratorState, PartialState
from commands import Turn, hand_over, steps, turns
from real_waits import refused
from recording import Check, Failed, Skip
from same_draws import SameDraws
from trainings import Given, Training, trainings

from apps.training import session
from apps.training.loop import Fit

ROOT = Path(__file__).parents[2]
PACKAGES = ("torch", "torchvision", "accelerate", "triton", "numpy", "safetensors", "tyro", "torch-fidelity")
FAKE = "fake"
"""A device of the tests that computes as the CPU does, to try all of this without a GPU."""


@dataclass(frozen=True)
class Way:
    """A way to compute on the device.

    Attributes:
        flags: of it.
        loss: how far the losses may lie from the CPU's in single precision, by their size.
        gradients: likewise of each network's gradients, in one, by their norm; None: as they are.
        bits: of the numbers' fractions. A loss and gradients may also move thrice as far as the CPU's do where weights
            and images are rounded to so many: deep networks with batch norm have gradients that hang on every digit.
            None: they may not.
    """

    flags: tuple[str, ...]
    loss: float
    gradients: float | None
    bits: int | None = None


WAYS = {
    "full": Way(("--tf32", "off"), 1e-5, 1e-3),
    "tf32": Way(("--tf32", "all"), 1e-2, 1e-2, bits=10),
    "bf16": Way(("--tf32", "off", "--precision", "bf16"), 2e-2, None, bits=7),
}
COMPARED = ("--batch-size", "32", "--threads", os.environ.get("OMP_NUM_THREADS", "1"))
"""What is compared has a batch of some size: batch norm of a few images would make much of little."""
SMALL = 0.5
"""A loss is compared as if it were this large where it is smaller, as one that is a difference of scores."""


def checks(device: str, folder: Path, toy: bool) -> list[Check]:
    """All of this part.

    Args:
        device: cuda, cpu or `FAKE`.
        folder: for what the trainings are given.
        toy: whether to try one training of each kind alone.
    """
    given = Given(folder)
    found = [Check("versions", partial(versions, device)), Check("flags", partial(flags, given, device))]
    found.append(Check("tests marked gpu", partial(marked, device), seconds=10))
    every = sorted(trainings(), key=lambda one: not one.slow)  # so that none waits for a long one
    if toy:
        every = list({one.build: one for one in every}.values())
    for training in every:
        found.append(Check(f"step: {training.name}", partial(agree, training, given, device)))
        found.append(Check(f"no waits: {training.name}", partial(no_waits, training, given, device)))
    return found


def versions(device: str) -> dict:
    """What is installed."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "none"
    if device == "cuda":
        free, whole = torch.cuda.mem_get_info()
        found |= {
            "cuda": torch.version.cuda,
            "cudnn": torch.backends.cudnn.version(),
            "card": torch.cuda.get_device_name(),
        }
        found |= {"capability": str(torch.cuda.get_device_capability()), "GiB": whole / 2**30, "free GiB": free / 2**30}
    return found


def flags(given: Given, device: str) -> dict:
    """What a training's flags do: TensorFloat-32 as told while it trains, and none of it afterwards."""
    backends, kind = torch.backends, "cpu" if device == "cpu" else "cuda"
    seen = []

    def look(fit: Fit) -> None:
        matrices, convolutions = backends.cuda.matmul.fp32_precision, backends.cudnn.conv.fp32_precision
        seen.append((matrices, convolutions, backends.cudnn.benchmark, fit.device.type))

    for tf32 in ("off", "convolutions", "all"):
        with on(device):
            hand_over(_words(next(trainings()), given, device, "--tf32", tf32), look)
    told = (("ieee", "ieee"), ("ieee", "tf32"), ("tf32", "tf32"))
    if seen != [(*one, True, kind) for one in told]:
        raise Failed(f"for off, convolutions and all they were {seen}")
    after = backends.cuda.matmul.fp32_precision, backends.cudnn.conv.fp32_precision
    if after != told[0]:
        raise Failed(f"{after} were left behind")
    return {"as told": len(seen)}


def marked(device: str) -> dict:
    """The tests that need a GPU."""
    if device != "cuda":
        raise Skip("there is no GPU")
    places = sorted(str(path) for path in (ROOT / "tests").rglob("test_*.py") if "pytest.mark.gpu" in path.read_text())
    words = ["-m", "pytest", "-q", "-m", "gpu", "--gpu", "--slow", *places]
    words += ["-p", "no:cacheprovider", "-p", "no:benchmark"]
    done = subprocess.run([sys.executable, *words], cwd=ROOT, env=os.environ, capture_output=True, text=True)
    lines = [line for line in done.stdout.splitlines() if line.strip()]
    if done.returncode:
        failed = [line for line in lines if line.startswith(("FAILED", "ERROR"))]
        raise Failed("; ".join([lines[-1] if lines else done.stderr.strip()[-200:], *failed]))
    return {"said": lines[-1]}


def agree(training: Training, given: Given, device: str) -> dict:
    """A step on the device against the CPU's, of equal weights, batch and draws: losses and gradients."""
    here = _turns(training, given, "cpu")
    found, wrong = {}, []
    for name, way in WAYS.items():
        losses, gradients = apart(here, _turns(training, given, device, *way.flags))
        found |= {f"{name} loss": losses, f"{name} gradients": gradients}
        moved = (0.0, 0.0)
        if way.bits is not None:
            moved = apart(here, _turns(training, given, "cpu", bits=way.bits))
            found |= {f"{way.bits} bits' gradients": moved[1]}
        if not losses <= max(way.loss, 3 * moved[0]):
            wrong.append(f"{name} loss")
        if way.gradients is not None and not gradients <= max(way.gradients, 3 * moved[1]):
            wrong.append(f"{name} gradients")
    if wrong:
        raise Failed(f"too far from the CPU's: {', '.join(wrong)}", found)
    return found


def apart(here: list[Turn], there: list[Turn]) -> tuple[float, float]:
    """How far losses, and the gradients of networks, are apart at the most: by their size on the CPU."""
    if [(turn.name, *turn.gradients) for turn in there] != [(turn.name, *turn.gradients) for turn in here]:
        raise Failed(f"other turns or networks than on the CPU: {[turn.name for turn in there]}")
    losses, gradients = [], [0.0]
    for one, other in zip(here, there, strict=True):
        losses.append(abs(one.loss - other.loss) / max(abs(one.loss), SMALL))
        for name, slope in one.gradients.items():
            gradients.append(float((other.gradients[name] - slope).norm() / slope.norm().clamp_min(1e-12)))
    return max(losses), max(gradients)


def no_waits(training: Training, given: Given, device: str) -> dict:
    """Steps that must not wait for the device, of each phase."""
    taken = []
    with on(device):
        strict = refused if device == "cuda" else ExitStack
        words = _words(training, given, device)
        hand_over(words, lambda fit: taken.append(steps(fit, strict)), training.count)
    return {"steps": sum(taken)}


def _turns(training: Training, given: Given, device: str, *more: str, bits: int | None = None) -> list[Turn]:
    found: list[Turn] = []
    words = _words(training, given, device, *more, *COMPARED)
    with on(device), SameDraws():
        hand_over(words, lambda fit: found.extend(turns(fit, bits)), training.count)
    return found


def _words(training: Training, given: Given, device: str, *more: str) -> tuple:
    words = (*training.words(given), *more)
    return words if device == FAKE else (*words, "--device", device)


@contextmanager
def on(device: str) -> Iterator[None]:
    """Have trainings find the device, which for `FAKE` is the fake one."""
    if device != FAKE:
        yield
        return
    patch, usual = pytest.MonkeyPatch(), session.Accelerator

    def started(**options) -> Callable:
        found = usual(**options)
        for state in (PartialState, AcceleratorState):
            state._shared_state["device"] = fake_cuda.DEVICE
        return found

    patch.setattr(session, "Accelerator", started)
    patch.setattr(torch.cuda, "get_device_capability", lambda device=None: (9, 0))
    try:
        with fake_cuda.Fake(patch):
            yield
    finally:
        AcceleratorState._reset_state(reset_partial_state=True)
        patch.undo()
