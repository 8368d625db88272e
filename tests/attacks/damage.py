"""Damaged readings: one file of a scene is damaged, and a command that reads it is given."""

import itertools
import random
import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from material import CACHED, PLACE, SCORE, SHARED, TRAIN
from outcome import Outcome, Tally, against, run
from ways import Way, ways


@dataclass(frozen=True)
class Reading:
    """A command, and the files that it reads.

    Attributes:
        scene: where it is given.
        command: what is given.
        files: patterns of the files to damage, in the scene.
        free: whether what the command says and writes may follow the damaged file, where no reader can tell it from
            one that was made so: a log may end early, and a list shows what there is.
    """

    scene: str
    command: str
    files: tuple[str, ...]
    free: tuple[str, ...] = ()


def _run(name: str, *more: str) -> tuple[str, ...]:
    return tuple(f"runs/{name}/{file}" for file in ("model.safetensors", "model.json", "config.json", *more))


SCORES, LOG = ("evaluation.json", "result.json"), "metrics.jsonl"
STATE = "runs/*/state/*/*"
COPIED = ("config.json",)
"""Shown and handed on as it is: a setting that nobody computes with may be any."""
READINGS = (
    Reading("done", SCORE["classifier"], _run("classifier", *SCORES) + ("images.npz",)),
    Reading("done", SCORE["hvae-l"], _run("hvae-l", *SCORES) + ("images.npz",)),
    Reading("done", f"evaluate runs/sngan --classify-by runs/classifier {PLACE}", _run("sngan", *SCORES)),
    Reading("done", SCORE["sngan"], _run("classifier") + ("runs/sngan/gan-train/*/*.*", "data/fidelity/*")),
    Reading("done", SCORE["student"], _run("student", *SCORES)),
    Reading("done", f"evaluate exported-hvae-l --samples 8 --data images.npz {PLACE}", ("exported-hvae-l/*.*",)),
    Reading("done", "sample exported-sngan --n 1 --out new.npz --device cpu", ("exported-sngan/*.*",)),
    Reading("done", "sample runs/hvae-l --n 2 --out new.npz --device cpu", _run("hvae-l", LOG, *SCORES)),
    Reading("done", "sample runs/sngan --n 2 --out new.npz --device cpu", _run("sngan", "discriminator.safetensors")),
    Reading(
        "done",
        "sample runs/inverted-logits --image image.png --n 1 --out new.png --device cpu",
        ("runs/inverted-logits/*.*", "runs/inverted-logits/network/*", "image.png"),
    ),
    Reading("done", f"prior runs/classifier --concentration 20 --out new.safetensors {PLACE}", _run("classifier")),
    Reading("done", f"analyse normalised runs/classifier {PLACE}", _run("classifier") + ("images.npz",)),
    Reading(
        "done",
        f"analyse anomaly runs/classifier --against drawn-hvae-l.npz {PLACE}",
        (*_run("classifier"), "drawn-hvae-l.npz"),
    ),
    Reading("done", "export runs/classifier new", ("runs/classifier/*.*",), COPIED),
    Reading("done", "export runs/hvae-l new", ("runs/hvae-l/*.*",), COPIED),
    Reading("done", "report runs/classifier --out new.html", ("runs/classifier/*.*",), (LOG, *COPIED)),
    Reading("done", "report runs/hvae-l --out new.html --n 1", ("runs/hvae-l/*.*",), (LOG, *COPIED)),
    Reading("done", TRAIN["inversion"], ("runs/inverted*/*.*", "runs/inverted*/network/*")),
    Reading("done", "ls runs", ("runs/*/*.json", "runs/*/metrics.jsonl"), ("json", LOG)),
    Reading("done", TRAIN["hvae-l"], _run("hvae-l", *SCORES, LOG)),
    Reading(
        "done",
        f"train hvae --variant hvae-l --classifier prior.safetensors --latent-dim 3 --hidden 4 --epochs 1 {SHARED}",
        ("prior.safetensors", "images.npz"),
    ),
    Reading(
        "done",
        f"distill ce+ckd --prior prior.safetensors --student mlp --epochs 1 --name new {SHARED}",
        ("prior.safetensors", "images.npz"),
    ),
    Reading("done", CACHED.replace("--name cached", "--name new"), ("logits/*",)),
    *(
        Reading(f"stopped-{name}", TRAIN[name], (STATE, STATE, STATE, f"runs/{name}/*.*"))
        for name in ("classifier", "hvae-l", "sngan", "student")
    ),
    Reading("stopped-inversion", TRAIN["inversion"], (STATE, STATE, "runs/*/*.*")),
)


@dataclass(frozen=True)
class Case:
    """A reading of one damaged file."""

    reading: Reading
    file: str
    name: str
    way: Way


def cases(made: Path, readings: Iterable[Reading] = READINGS) -> list[Case]:
    """All there are, in the order of the readings."""
    found = []
    for reading in readings:
        scene = made / reading.scene
        for pattern in reading.files:
            for path in sorted(scene.glob(pattern)):
                if path.is_file():
                    file = str(path.relative_to(scene))
                    found += [Case(reading, file, name, way) for name, way in ways(path).items()]
    return found


def chosen(all_of_them: list[Case], count: int, rng: random.Random) -> list[Case]:
    """So many, taken from the readings in turn, and in a reading from its files in turn."""
    queues = []
    for _, group in itertools.groupby(all_of_them, key=lambda case: case.reading):
        files: dict[str, list[Case]] = {}
        for case in group:
            files.setdefault(case.file, []).append(case)
        for own in files.values():
            rng.shuffle(own)
        turns = [case for turn in itertools.zip_longest(*files.values()) for case in turn if case is not None]
        queues.append(turns)
    turns = [case for turn in itertools.zip_longest(*queues) for case in turn if case is not None]
    return turns[: count or None]


def _read(machine: Callable, made: Path, work: Path, reading: Reading, case: Case | None, rng=None) -> Outcome:
    """What a reading comes to in a copy of its scene."""
    shutil.rmtree(work, ignore_errors=True)
    shutil.copytree(made / reading.scene, work)
    if case is not None:
        case.way(work / case.file, rng)
    return run(machine, work, reading.command)


def attack(machine: Callable, made: Path, work: Path, count: int, seed: int, readings=READINGS) -> Tally:
    """Damage so many files, a reading each."""
    tally = Tally("damage")
    rng = random.Random(seed)
    wholes: dict[Reading, tuple[Outcome, set[str]]] = {}
    for case in chosen(cases(made, readings), count, rng):
        if case.reading not in wholes:
            wholes[case.reading] = _whole(machine, made, work, case.reading)
        whole, unstable = wholes[case.reading]
        own = random.Random(rng.random())
        outcome = _read(machine, made, work, case.reading, case, own)
        drawn = str(Path(case.file).parent / "curves.png")  # of the log, which may end early
        unlike = {case.file, *unstable} | ({drawn} if case.file.endswith(LOG) else set())
        end = against(outcome, whole, unlike, case.file)
        if end.startswith("silent change") and _may_follow(case):
            end = "same"
        tally.note(end, f"{case.name}: {case.file} ({case.reading.scene}): penult {case.reading.command}", outcome)
    return tally


def _may_follow(case: Case) -> bool:
    """Whether what is given may follow the damaged file.

    A run without scores is one that was never scored, and a network without settings one that was saved by itself.
    """
    missing = case.name in ("removed", "a link to nothing") and case.file.endswith("evaluation.json")
    missing = missing or (case.name == "removed" and case.file.endswith("classifier/config.json"))
    return missing or case.file.endswith(case.reading.free or ("\0",))


def _whole(machine: Callable, made: Path, work: Path, reading: Reading) -> tuple[Outcome, set[str]]:
    """What a reading comes to on whole files, and the files in which two such readings differ."""
    one, other = (_read(machine, made, work, reading, None) for _ in range(2))
    assert one.status == other.status == 0, f"penult {reading.command}: {one.err}"
    unstable = {path for path in {*one.files, *other.files} if one.files.get(path) != other.files.get(path)}
    if unstable:
        print(f"no two alike: {sorted(unstable)}: penult {reading.command}")
    return one, unstable
