"""What a training would take: by finished runs of its like, else by its arithmetic and the speed of this machine."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from statistics import median
from typing import Any

import torch
import torch.nn.functional as F

from apps.command.console import counted
from apps.runs.run import Run
from apps.tables.arithmetic import Words, images_seen, operations, words_of
from priors import zoo
from priors.errors import InputError

TRAINS = ("train ", "distill", "prune")
"""How verbs that train begin."""
_DENSITIES = "analyse invert"
"""The analysis whose trainings are most of its work."""
_APART = frozenset(
    """--seed --name --epochs --steps --runs --data-root --device --threads --validate-every --checkpoint-every
    --log-every --train-images --validation --schedule --milestones --decay --lr --final-lr --weight-decay --warmup
    --patience --kl-warmup --snapshots --tracker --plan --reset-momentum --concentration --crop-fill --teacher
    --classifier --extractor --jacobian-angle""".split()
)
"""Flags that leave a step of a training about as long as it is; so do weights of terms."""
_REFERENCE, _BATCH, _TIMED = "wrn-16-2", 64, 2
_ENOUGH = 3
"""Finished trainings that are asked before one network that is not theirs."""


@dataclass(frozen=True)
class Estimate:
    """Hours of trainings.

    Attributes:
        hours: None where it is not known of all trainings.
        whole: whether that is all: False where commands that score are left out.
        by: what it was made by, of "runs" and "arithmetic".
    """

    hours: float | None
    whole: bool
    by: frozenset[str] = frozenset()

    @property
    def said(self) -> str:
        """In a word or two, such as 3.4 h, 3.4 h+ or unknown."""
        if self.hours is None:
            return "unknown"
        return f"{_round(self.hours)} h{'' if self.whole else '+'}"


def _round(hours: float) -> str:
    """Two digits, which is more than is known."""
    return f"{float(f'{hours:.2g}'):,.10g}" if hours >= 0.01 else "0.01"


@dataclass(frozen=True)
class Rate:
    """How fast a machine trains.

    Attributes:
        value: floating-point operations a second.
        runs: finished trainings that it is the median of; 0 where it was measured now.
    """

    value: float
    runs: int


@dataclass
class Costs:
    """What trainings take.

    Args:
        runs: folder of the runs, of which finished ones are taken for measurements.
        device: that is measured where there are no runs of the kind.
        threads: of the CPU.
    """

    runs: Path
    device: torch.device
    threads: int
    rates: dict[str, Rate] = field(default_factory=dict)
    _known: dict[str, tuple[float | None, str]] = field(default_factory=dict)

    def of(self, lines: Sequence[str], makers: Mapping[str, Words], split: Mapping[str, list[str]]) -> Estimate:
        """What commands take together.

        Args:
            lines: the commands, each once.
            makers: by run, the command that makes it.
            split: by command, its words.
        """
        hours, whole, by, known = 0.0, True, set(), False
        for line in lines:
            seconds, source = self._of(line, makers, split[line])
            if seconds is not None:
                hours, known = hours + seconds / 3600, True
                by.add(source)
            elif line.startswith((*TRAINS, _DENSITIES)):
                return Estimate(None, False)  # the rest may be the smallest part
            else:
                whole = False
        return Estimate(hours if known else None, whole, frozenset(by))

    def _of(self, line: str, makers: Mapping[str, Words], split: list[str]) -> tuple[float | None, str]:
        if line not in self._known:
            self._known[line] = self._found(words_of(split), makers)
        return self._known[line]

    def _found(self, words: Words, makers: Mapping[str, Words]) -> tuple[float | None, str]:
        kept = self._kept.get(_signature(words), ())
        updates = _updates(words, makers)
        if kept and updates is not None:
            return updates * median(seconds for seconds, _ in kept), "runs"
        flop = operations(words, makers)
        return (None, "") if flop is None else (flop / self._rate(words), "arithmetic")

    def _rate(self, words: Words) -> float:
        """Floating-point operations a second in a training's precision: of finished ones here, or measured now."""
        precision = str(words.value("--precision") or "fp32")
        if precision not in self.rates:
            there = self._rates.get(precision, [])
            enough = len(there) >= _ENOUGH
            rate = median(there) if enough else _measured(self.device, self.threads, precision)
            self.rates[precision] = Rate(rate, len(there) if enough else 0)
        return self.rates[precision].value

    @cached_property
    def _rates(self) -> dict[str, list[float]]:
        """By precision, what finished trainings did on average; the smallest first."""
        makers = {words.flags.get("--name", ""): words for kept in self._kept.values() for _, words in kept}
        found: dict[str, list[float]] = {}
        for kept in self._kept.values():
            for seconds, words in kept:
                try:
                    flop, updates = operations(words, makers), _updates(words, makers)
                except (ValueError, ArithmeticError):  # words that were never a command of this program, or are damaged
                    continue
                if flop and updates:
                    precision = str(words.value("--precision") or "fp32")
                    found.setdefault(precision, []).append(flop / (seconds * updates))
        return {precision: sorted(values) for precision, values in found.items()}

    @cached_property
    def _kept(self) -> dict[tuple, list[tuple[float, Words]]]:
        """By what makes trainings alike, the seconds an update that finished ones took."""
        found: dict[tuple, list[tuple[float, Words]]] = {}
        for folder in sorted(self.runs.iterdir()) if self.runs.is_dir() else ():
            run = Run(folder)
            if not run.finished:
                continue
            try:
                stored, result = run.config(), run.result()
                words = words_of([str(word) for word in stored.get("command") or ()])
            except (InputError, IndexError, OSError):
                continue  # a damaged run is no measurement, and others say so
            environment = stored.get("environment")
            device = str(environment.get("device", "cpu")) if isinstance(environment, dict) else "cpu"
            if (device == "cpu") != (self.device.type == "cpu"):
                continue
            seconds, steps = result.get("seconds"), result.get("steps")
            if words.verb.startswith(TRAINS) and _is_some(seconds) and _is_some(steps):
                found.setdefault(_signature(words), []).append((seconds / steps, words))
        return found

    def said(self) -> list[str]:
        """What estimates by arithmetic were made by, in sentences."""
        lines = []
        for precision, rate in self.rates.items():
            if rate.runs:
                there = self._rates[precision]
                lines.append(
                    f"{precision}: {rate.value / 1e9:.3g} billion operations a second, the median of {rate.runs} "
                    f"finished trainings here, which did {there[0] / 1e9:.3g} to {there[-1] / 1e9:.3g}."
                )
            else:
                lines.append(
                    f"{precision}: {rate.value / 1e9:.3g} billion operations a second, measured just now by "
                    f"{_TIMED} steps of a {_REFERENCE} ({_said_of(self.device, self.threads)})."
                )
        return lines


def _is_some(value: Any) -> bool:
    return isinstance(value, int | float) and value > 0


def _signature(words: Words) -> tuple:
    """What trainings have in common whose updates take about as long."""
    flags = {flag: value for flag, value in words.flags.items() if flag not in _APART and not flag.endswith(".weight")}
    return words.verb, words.first if words.verb == "distill" else "", tuple(sorted(flags.items()))


def _updates(words: Words, makers: Mapping[str, Words]) -> float | None:
    """How many updates a training has; None where it is not known of how many images."""
    if not words.verb.startswith(TRAINS):
        return None
    if (steps := words.flags.get("--steps")) is not None:
        return float(steps)
    seen = images_seen(words, makers)
    return None if seen is None else seen / float(words.value("--batch-size"))


def _said_of(device: torch.device, threads: int) -> str:
    return counted(threads, "thread") if device.type == "cpu" else device.type


def _measured(device: torch.device, threads: int, precision: str) -> float:
    """The fastest of some steps of one network; on a CPU of the time it worked, so that other programs do not count."""
    shape, before = (3, 32, 32), torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with torch.random.fork_rng():
            network = zoo.build(_REFERENCE, classes=100, image_shape=shape).to(device)
            images = torch.rand(_BATCH, *shape, device=device)
        own = device.type == "cpu"
        clock = time.process_time if own else time.perf_counter
        labels = torch.zeros(_BATCH, dtype=torch.int64, device=device)

        def step() -> float:
            begun = clock()
            with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
                found = network(images)
            F.cross_entropy(found.float(), labels).backward()
            if device.type != "cpu":
                torch.accelerator.synchronize(device)
            return (clock() - begun) / (threads if own else 1)

        step()
        seconds = min(step() for _ in range(_TIMED))
    finally:
        torch.set_num_threads(before)
    one = Words("train classifier", "", {"--arch": _REFERENCE, "--data": "cifar100", "--epochs": "1"})
    return operations(one, {}) / 50_000 * _BATCH / seconds
