"""`python compiled.py FOLDER BACKEND WORDS...`: a training, eager and compiled; prints how they differ.

A program of its own, since the checks that tests hang on annotations cannot be compiled, and the compiler stays loaded.
"""

import contextlib
import io
import json
import sys
from pathlib import Path

import toys
from safetensors.torch import load_file

from apps.training import compiling, loop


def run(folder: Path, words: list[str], *more: str) -> tuple[dict, dict, list[str]]:
    """Weights and losses of all that a command trains, by names, and what it says of compiling."""
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        status = toys.penult(*words, "--runs", folder, "--name", "run", "--device", "cpu", "--log-every", 1, *more)
    assert status == 0, said.getvalue()
    weights, losses = {}, {}
    for file in sorted(folder.rglob("*.safetensors")):
        place = file.relative_to(folder)
        weights |= {f"{place} {name}": tensor for name, tensor in load_file(file).items() if tensor.numel()}
    for file in sorted(folder.rglob("metrics.jsonl")):
        for line in map(json.loads, file.read_text().splitlines()):
            place = f"{file.parent.name} {line['step']}"
            losses |= {f"{place} {name}": one for name, one in line.items() if name.startswith("train/")}
    return weights, losses, [line for line in said.getvalue().splitlines() if line.startswith("--compile")]


def differences(one: tuple, other: tuple) -> dict:
    """Largest ones of two runs, of weights and relative ones of losses, and whether they are called alike."""
    (weights, losses, _), (their, others, said) = one, other
    return {
        "names": list(weights) == list(their) and list(losses) == list(others),
        "weights": max(float((weights[name].double() - their[name].double()).abs().max()) for name in weights),
        "losses": max(abs(losses[name] - others[name]) / (1e-2 + abs(losses[name])) for name in losses),
        "first losses": max(
            abs(one - others[name]) / (1e-2 + abs(one)) for name, one in losses.items() if " 1 train/" in name
        ),
        "said": said,
    }


class Killed(BaseException):
    """In the middle of a training."""


def interrupted(folder: Path, words: list[str], *more: str) -> None:
    """A training that is killed in its eighth step."""
    usual = loop.Fit.one_step

    def one_step(fit, meter):
        if fit.progress.step == 7:
            raise Killed
        usual(fit, meter)

    loop.Fit.one_step = one_step
    try:
        with contextlib.suppress(Killed):
            run(folder, words, *more)
    finally:
        loop.Fit.one_step = usual


def main(folder: Path, backend: str, words: list[str]) -> None:
    compiling.BACKEND = backend
    plain = run(folder / "eager", words)
    found = {"compiled": differences(plain, run(folder / "compiled", words, "--compile"))}
    if words[1] == "toy":
        left = [module for network in toys.tasks[-1].networks.values() for module in network.modules()]
        found["left compiled"] = sum(module._compiled_call_impl is not None for module in left)
        for name, first, then in (("to", (), ("--compile",)), ("from", ("--compile",), ())):
            interrupted(folder / name, words, *first)
            found[name] = differences(plain, run(folder / name, words, *then))
    print(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[3:])
