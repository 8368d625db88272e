"""Steps of trainings with `--compile` against the same without, and the kernels of both.

    python tests/bench/bench_compile.py [mlp wrn hvae hvae-l sngan pixelcnn kd] [--rounds 7]

Both are steps of one training in one process, in turns; the ratio is the median over rounds of that within each. The
kernels of a compiled step are those that it is left with: operations outside of what is compiled, and within it calls
of generated kernels and of libraries. Code is generated for this machine's CPU, where a kernel costs little to start;
a GPU's graphs are cut alike. Images are random.
"""

import argparse
import re
import tempfile
import time
from contextlib import nullcontext
from pathlib import Path
from statistics import median

import numpy as np
import torch
from processor import about

from apps.command.cli import main as penult
from apps.training import loop
from apps.training.meter import Meter

SHAPES = {"grey": (28, 28), "colour": (32, 32, 3)}
TRAININGS = {
    "mlp": ("train", "classifier", "--arch", "mlp"),
    "wrn": ("train", "classifier", "--arch", "wrn-16-2"),
    "hvae": ("train", "hvae", "--variant", "hvae", "--latent-dim", 10),
    "hvae-l": ("train", "hvae", "--variant", "hvae-l", "--latent-dim", 10),
    "sngan": ("train", "sngan", "--generator-width", 32, "--discriminator-width", 32, "--batch-size", 16),
    "pixelcnn": ("analyse", "invert", "--taps", "none", "--layers", 1, "--filters", 32, "--batch-size", 16),
    "kd": ("distill", "ce+hinton+attention", "--student", "wrn-16-1"),
}
"""By name, the words of the command; what they lack is added."""


class _Enough(BaseException):
    """All is measured."""


FREE = set(
    "_local_scalar_dense alias as_strided chunk detach empty empty_like empty_strided expand expand_as flatten item "
    "lift_fresh narrow new_empty permute reshape resize_ resolve_conj result_type select slice split split_with_sizes "
    "squeeze t to transpose unbind unflatten unsqueeze view view_as".split()
)
"""Operations that start no kernel: views, and memory that is taken."""


def kernels(step) -> int:
    """What a step would start: operations that compute and call no others, and kernels made for compiled graphs."""
    from torch._inductor.output_code import CompiledFxGraph

    made, usual = 0, CompiledFxGraph.__call__

    def counted(graph, inputs):
        nonlocal made
        body = graph.source_code.partition("def call(")[2]
        made += len(re.findall(r"^\s+(?:cpp_fused|triton_)\w*(?:\.run)?\(", body, re.MULTILINE))
        return usual(graph, inputs)

    CompiledFxGraph.__call__ = counted
    try:
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
            step()
    finally:
        CompiledFxGraph.__call__ = usual
    events = profile.events()
    return made + sum(_computes(event) and not _within(event) for event in events)


def _computes(event) -> bool:
    kind, _, name = event.name.partition("::")
    return kind in ("aten", "mkldnn", "penult") and name not in FREE


def _within(event) -> bool:
    """Whether what an operation calls computes."""
    return any(_computes(child) or _within(child) for child in event.cpu_children)


def measured(name: str, folder: Path, rounds: int) -> dict:
    """Ratios of seconds, eager over compiled; milliseconds of both; kernels of both; seconds of the first step."""
    found = {}

    def steps_left(fit):
        meter = Meter(1, fit.device)
        step = lambda: (fit.one_step(meter), setattr(fit.progress, "step", fit.progress.step + 1))  # noqa: E731
        began = time.perf_counter()
        step()
        found["first"] = time.perf_counter() - began
        step()
        times = {"eager": [], "compiled": []}
        for _ in range(rounds):
            for kind, own in times.items():
                with fit.compiled.eager() if kind == "eager" else nullcontext():
                    step()
                    began = time.perf_counter()
                    for _ in range(3):
                        step()
                    own.append((time.perf_counter() - began) / 3)
        with fit.compiled.eager():
            found["kernels"] = [kernels(step)]
        found["kernels"].append(kernels(step))
        found["times"] = times
        raise _Enough

    told = words(name, folder)  # which trains what it takes
    usual, loop.Fit.steps_left = loop.Fit.steps_left, steps_left
    try:
        run(told, "--compile")
    except _Enough:
        return found
    finally:
        loop.Fit.steps_left = usual


def words(name: str, folder: Path) -> list:
    """Of the command, with its images and models, which are made where they are not there."""
    kind = "grey" if name in ("mlp", "hvae", "hvae-l", "pixelcnn") else "colour"
    told = [*TRAININGS[name], "--data", images(folder, kind)]
    if name == "hvae-l":
        told += ["--classifier", classifier(folder, kind, "mlp"), "--convention", "ambient"]
    if name == "pixelcnn":
        told.insert(2, classifier(folder, kind, "mlp"))
    if name == "kd":
        told += ["--teacher", classifier(folder, kind, "wrn-16-2")]
    return [*told, "--name", name, "--runs", folder / "runs", "--device", "cpu", "--threads", 1]


def images(folder: Path, kind: str) -> Path:
    """A file of random images."""
    path, source = folder / f"{kind}.npz", np.random.default_rng(0)
    if not path.exists():
        pixels, labels = source.integers(0, 256, (640, *SHAPES[kind]), np.uint8), np.arange(640) % 10
        np.savez(path, x_train=pixels, y_train=labels, x_test=pixels[:64], y_test=labels[:64])
    return path


def classifier(folder: Path, kind: str, arch: str) -> Path:
    """A run of one."""
    name = f"{kind}-{arch}"
    told = ["--penultimate", 10] if arch == "mlp" else []
    told += ["--arch", arch, "--epochs", 0.1, "--name", name, "--runs", folder / "runs", "--device", "cpu"]
    if not (folder / "runs" / name).exists():
        run(["train", "classifier", "--data", images(folder, kind), *told, "--threads", 1])
    return folder / "runs" / name


def run(told: list, *more: str) -> None:
    """A command."""
    assert penult([str(word) for word in (*told, *more)]) == 0


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", choices=[*TRAININGS, []])
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    torch.set_num_threads(1)  # as each training is told
    print(about())
    print("rates are compiled steps' over eager ones'")
    print(f"{'training':<10}{'eager ms':>10}{'compiled':>10}{'rate':>7}{'kernels':>9}{'left':>6}{'first step s':>14}")
    with tempfile.TemporaryDirectory() as folder:
        for name in options.names or TRAININGS:
            found = measured(name, Path(folder), options.rounds)
            eager, compiled = found["times"].values()
            rate = median(a / b for a, b in zip(eager, compiled, strict=True))
            before, left = found["kernels"]
            own = f"{1e3 * median(eager):>10.1f}{1e3 * median(compiled):>10.1f}{rate:>7.2f}"
            print(f"{name:<10}{own}{before:>9}{left:>6}{found['first']:>14.0f}", flush=True)


if __name__ == "__main__":
    main()
