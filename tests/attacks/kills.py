"""Kills: a command is ended by SIGKILL at a random moment, and given again: it gives what it gives when left alone."""

import random
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from material import CACHED, PLACE, SCORE, TRAIN
from outcome import Outcome, Tally, ill, run


@dataclass(frozen=True)
class Victim:
    """A command to kill.

    Attributes:
        scene: where it is given.
        command: what is given.
        made: what it writes and will not write over: where that is there after the kill, it must be whole.
    """

    scene: str
    command: str
    made: str = ""


VICTIMS = (
    Victim("stopped-classifier", TRAIN["classifier"]),
    Victim("stopped-hvae-l", TRAIN["hvae-l"]),
    Victim("stopped-sngan", TRAIN["sngan"]),
    Victim("stopped-student", TRAIN["student"]),
    Victim(
        "done", CACHED.replace("--name cached", "--name new").replace("--cache-logits logits", "--cache-logits new")
    ),
    Victim("done", "sample runs/hvae-l --n 2000 --out new.npz --device cpu", "new.npz"),
    Victim("done", "sample runs/sngan --n 200 --out new --device cpu", "new"),
    Victim("done", "export runs/sngan new", "new"),
    Victim("done", f"prior runs/classifier --concentration 20 --out new.safetensors {PLACE}", "new.safetensors"),
    Victim("done", SCORE["hvae-l"]),
    Victim("done", SCORE["sngan"]),
    Victim("done", "report runs/hvae-l --n 1"),
)


def _fresh(made: Path, work: Path, victim: Victim) -> None:
    if work.exists():
        shutil.rmtree(work)
    shutil.copytree(made / victim.scene, work)


def attack(machine: Callable, made: Path, work: Path, count: int, seed: int, victims=VICTIMS) -> Tally:
    """Kill so many times, each victim in turn."""
    tally, rng = Tally("kills"), random.Random(seed)
    for number, victim in enumerate(victims):
        _fresh(made, work, victim)
        since = time.monotonic()
        alone = run(machine, work, victim.command)
        seconds = time.monotonic() - since
        assert alone.status == 0, f"penult {victim.command}: {alone.err}"
        for _ in range(count // len(victims) + (number < count % len(victims))):
            killed, moment = None, rng.uniform(0, seconds)
            while killed is None or killed.status == 0:  # quicker than when it was left alone: once more, and sooner
                moment = moment if killed is None else moment / 2
                _fresh(made, work, victim)
                killed = run(machine, work, victim.command, kill_after=moment)
            end, again = _again(machine, work, victim, killed, alone)
            tally.note(end, f"killed after {moment:.3f} s of {seconds:.3f}: penult {victim.command}", again)
    return tally


def _again(machine: Callable, work: Path, victim: Victim, killed: Outcome, alone: Outcome) -> tuple[str, Outcome]:
    """Give the command again, and compare what is there with what it gives when left alone."""
    if killed.status != -9:
        return ill(killed) or "unclear", killed
    again = run(machine, work, victim.command)
    if end := ill(again):
        return end, again
    whole = victim.made and any(path.startswith(victim.made) for path in killed.files)
    if again.status and not (whole and again.status == 2):  # it refuses to write over what is there
        return "refused after a kill", again
    unlike = {path for path in {*again.files, *alone.files} if again.files.get(path) != alone.files.get(path)}
    if unlike:
        return f"other files: {', '.join(sorted(unlike)[:5])}", again
    return "killed, then same", again
