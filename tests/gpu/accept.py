"""Try penult on a GPU within minutes: is it right there, does all of it run, and how fast is it?

    python3 tests/gpu/accept.py --pack .gpu --out found     # all; .gpu is what tests/gpu/pack.py packed
    python3 tests/gpu/accept.py --pack .gpu --out found --again     # what failed, or had no time left
    python3 tests/gpu/accept.py --out found --parts a,c --only "step: hvae"     # some of it
    python3 tests/gpu/accept.py --out found --device cpu --toy     # a dry run on a CPU

Part a compares a step of each training with the CPU's, and has none wait for the GPU; part b runs every verb, stops
trainings and goes on, and starts one process by torchrun; part c measures speed, as ratios, and memory. Each part has
its own .json and .md in the folder, written as it goes on. The exit status is 0 if nothing failed or came too late.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pack import commit, unpack
from recording import FAILED, LATE, PROCESS, Check, Outcome, chosen, done, write_outcomes

ROOT = Path(__file__).resolve().parents[2]
PARTS = {"a": "is it right", "b": "does it run", "c": "how fast is it"}
PROCESSES = {"a": 6, "b": 4, "c": 1}
"""That share the checks of a part on a machine with many cores: what measures time is alone."""
GRACE = 10
"""Seconds that a process has to end after its time."""


def arguments() -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder of the results")
    parser.add_argument("--parts", default=",".join(PARTS), help="such as a,c; default: all")
    parser.add_argument("--only", action="append", default=[], help="part of a check's name; may be given again")
    parser.add_argument("--again", action="store_true", help="only what did not pass, by the results there are")
    parser.add_argument("--pack", type=Path, help="folder that tests/gpu/pack.py made: images and wheels")
    parser.add_argument("--device", choices=("cuda", "cpu", "fake"), default="cuda", help="fake: that of the tests")
    parser.add_argument("--seconds", type=float, default=150, help="at most, for each part")
    parser.add_argument("--processes", type=int, help="that share a part's checks; default: by the cores")
    parser.add_argument("--toy", action="store_true", help="next to nothing of each, to try the script itself")
    for hidden in ("--work", "--until", "--shard"):
        parser.add_argument(hidden, help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> int:
    """Run the parts one after the other; the exit status."""
    given = arguments()
    given.out.mkdir(parents=True, exist_ok=True)
    parts = [part for part in given.parts.split(",") if part]
    if unknown := set(parts) - set(PARTS):
        sys.exit(f"--parts {given.parts}: no part {', '.join(sorted(unknown))} (known: {', '.join(PARTS)})")
    if given.shard:
        return of_shard(given, parts[0])
    status = 0
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        facts, environment = ready(given, Path(folder))
        for part in parts:
            only = given.only
            if given.again and (rows := left(given.out / f"{part}.json")) is not None:
                only = only + rows
                if not only:
                    print(f"{part}, {PARTS[part]}: nothing is left")
                    continue
            outcomes = of_part(part, given, only, Path(folder), facts, environment)
            wrong = [outcome for outcome in outcomes if outcome.status in (FAILED, LATE)]
            print(f"{part}, {PARTS[part]}: {len(outcomes) - len(wrong)} of {len(outcomes)} checks are well", flush=True)
            for outcome in wrong:
                print(f"  {outcome.status}: {outcome.check}: {outcome.message}", flush=True)
            status = status or bool(wrong) or not outcomes
    return int(status)


def ready(given: argparse.Namespace, folder: Path) -> tuple[dict, dict[str, str]]:
    """What is known before anything is done, and the environment of the processes; unpacks what is packed."""
    paths = [ROOT, *(ROOT / "tests" / name for name in ("gpu", "fake_device", "bench", "apps"))]
    facts, environment = {"commit": commit(), "device": given.device}, dict(os.environ)
    if given.pack is not None:
        began = time.monotonic()
        told = unpack(given.pack, folder)
        facts |= {"unpacked in s": round(time.monotonic() - began, 1)}
        if facts["commit"] == "unknown":
            facts["commit"] = told["commit"]
        environment["PENULT_DATA"] = str(folder / "data")
        paths.append(folder / "site")
    paths += filter(None, [os.environ.get("PYTHONPATH")])
    environment |= {"PYTHONPATH": os.pathsep.join(map(str, paths)), "MPLBACKEND": "Agg", "PYTHONUNBUFFERED": "1"}
    environment["CUBLAS_WORKSPACE_CONFIG"] = ":4096:8"  # for what is deterministic, before cuBLAS is first used
    return facts, environment


def left(path: Path) -> list[str] | None:
    """The names of the checks that did not pass, by the results there are; None: all are to be done."""
    rows = json.loads(path.read_text())["outcomes"] if path.exists() else []
    if not rows or any(row["check"].startswith(PROCESS) for row in rows):
        return None
    return [row["check"] for row in rows if row["status"] in (FAILED, LATE)]


def of_part(
    part: str, given: argparse.Namespace, only: list[str], folder: Path, facts: dict, environment: dict[str, str]
) -> list[Outcome]:
    """Have processes do a part, and write what they found as it comes."""
    cores = len(os.sched_getaffinity(0))
    count = given.processes or (min(PROCESSES[part], max(1, cores // 2)) if given.device == "cuda" else 1)
    environment = {"OMP_NUM_THREADS": str(max(1, cores // count)), **environment}
    until = time.time() + given.seconds
    words = ["--out", given.out, "--parts", part, "--device", given.device, "--until", until, *["--toy"] * given.toy]
    words += [word for name in only for word in ("--only", name)]
    works = [folder / f"{part}-{number}" for number in range(count)]
    with open(given.out / "log.txt", "a") as log, ended() as running:
        for number, work in enumerate(works):
            work.mkdir()
            told = [sys.executable, __file__, *words, "--work", work, "--shard", f"{number}/{count}"]
            options = {"env": environment, "stdout": log, "stderr": log, "process_group": 0}
            running.append(subprocess.Popen(list(map(str, told)), **options))
        began = time.monotonic()
        while True:
            over = all(process.poll() is not None for process in running)
            late = time.monotonic() - began > given.seconds + GRACE
            if late:
                stop(running)
            found, seen = gathered(works, running if over or late else [])
            more = {"part": part, "took s": round(time.monotonic() - began, 1)}
            write_outcomes(given.out / part, {**facts, **seen, **more}, found, keep=bool(only))
            if over or late:
                return found
            time.sleep(1)


@contextmanager
def ended() -> Iterator[list[subprocess.Popen]]:
    """A list of processes, each the first of its group, that are ended with it."""
    running: list[subprocess.Popen] = []
    try:
        yield running
    finally:
        stop(running)


def stop(running: list[subprocess.Popen]) -> None:
    """End processes, and those that they started."""
    for process in running:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def gathered(works: list[Path], ended: list[subprocess.Popen]) -> tuple[list[Outcome], dict]:
    """The outcomes of all processes, and what they know of the machine.

    Args:
        works: their folders.
        ended: the processes, where they are at their end: one that left nothing failed.
    """
    found, facts = [], {}
    for number, work in enumerate(works):
        path = work / "found.json"
        if path.exists():
            told = json.loads(path.read_text())
            found += [Outcome(**row) for row in told.pop("outcomes")]
            facts |= told
        elif ended:
            said = f"ended with {ended[number].poll()} before its first check: see log.txt"
            found.append(Outcome(f"{PROCESS}{number}", FAILED, message=said))
        if ended and ended[number].poll() not in (0, 1, None) and path.exists():
            said = f"ended with {ended[number].poll()} in the midst of its checks: see log.txt"
            found.append(Outcome(f"{PROCESS}{number}", FAILED, message=said))
    return found, facts


def of_shard(given: argparse.Namespace, part: str) -> int:
    """Do one process's share of a part."""
    work, (number, count) = Path(given.work), map(int, given.shard.split("/"))
    checks = chosen(checks_of(part, given.device, work, given.toy), given.only, (number, count))
    facts = machine(given.device)
    outcomes = done(
        checks, float(given.until) - time.time(), lambda found: write_outcomes(work / "found", facts, found)
    )
    return int(any(outcome.status == FAILED for outcome in outcomes))


def checks_of(part: str, device: str, folder: Path, toy: bool) -> list[Check]:
    """All checks of a part."""
    if part == "a":
        import agreement

        return agreement.checks(device, folder, toy)
    device = "cpu" if device == "fake" else device
    if part == "b":
        import verbs

        return verbs.checks(device, folder, toy)
    import speed_of_draws
    import speed_of_trainings

    return [
        *speed_of_trainings.checks(device, folder, toy),
        *speed_of_draws.checks(device, toy),
        *speed_of_trainings.compiled_checks(device, folder, toy),
    ]


def machine(device: str) -> dict:
    """Versions and the card."""
    import torch

    card = torch.cuda.get_device_name() if device == "cuda" else "none"
    return {"torch": torch.__version__, "card": card, "python": sys.version.split()[0], "cores": os.cpu_count()}


if __name__ == "__main__":
    sys.exit(main())
