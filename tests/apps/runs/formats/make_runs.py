"""Makes the small runs of the present format, for later programs to be held to: `test_formats.py` reads them.

Run it with the program as it is before a change of the format, from the top folder of its checkout:

    PYTHONPATH=. python tests/apps/runs/formats/make_runs.py

It writes the folder of that format's number beside itself, and refuses one that is there (the place may also be given
as its argument). The folder holds

- `images.npz`, `prior.safetensors`: what the runs are trained on, by these names in the current folder;
- `interrupted/`: runs that were stopped right after a state was complete;
- `finished/`: the same runs, which the same command finished from that state, and what they were scored;
- `samples/`: what was drawn from the generators among them;
- `expected.json`: the commands, and the machine that all of it was computed on.

The program is known by its command line, and by what it writes: how its modules are named does not matter here.
"""

import json
import os
import platform
import shlex
import shutil
import sys
import tempfile
from dataclasses import asdict, dataclass
from hashlib import blake2b
from pathlib import Path

import numpy as np
import torch
from torch import nn

PLACE = "--device cpu --threads 1"
"""More threads would sum in another order."""
SHARED = f"--data images.npz --batch-size 16 {PLACE}"


@dataclass(frozen=True)
class Kind:
    """A kind of run.

    Attributes:
        train: the command that makes it.
        stop: the step after which it was interrupted.
        runs: the runs that the command makes; the first is interrupted.
        needs: the kinds that must be there, finished.
        score: the command that scores it; empty where the training does.
        scores: what the scores are kept in, within `runs/`.
        draw: the command that draws from it, into samples.npz or samples.png; empty for a classifier.
    """

    train: str
    stop: int
    runs: tuple[str, ...]
    needs: tuple[str, ...] = ()
    score: str = ""
    scores: str = ""
    draw: str = ""


KINDS = {
    "classifier": Kind(
        "train classifier --arch convnet-half --penultimate 4 --epochs 6 --validation 24 --augment flip "
        "--optimizer momentum --lr 0.05 --schedule step --warmup 1 --clip 1 --patience 9 --name classifier "
        f"{SHARED}",
        stop=9,
        runs=("classifier",),
        score=f"evaluate runs/classifier {PLACE}",
        scores="classifier/evaluation.json",
    ),
    "hvae-l": Kind(
        "train hvae --variant hvae-l --classifier prior.safetensors --latent-dim 3 --hidden 8 6 --epochs 6 "
        f"--validation 24 --kl-warmup 3 --lr 0.01 --schedule cosine --ema 0.9 --name hvae-l {SHARED}",
        stop=9,
        runs=("hvae-l",),
        score=f"evaluate runs/hvae-l --samples 8 {PLACE}",
        scores="hvae-l/evaluation.json",
        draw="sample runs/hvae-l --n 2 --out samples.npz --device cpu",
    ),
    "sngan": Kind(
        "train sngan --latent vmf --classifier prior.safetensors --generator-width 4 --discriminator-width 2 "
        "--steps 8 --score-every 2 --discriminator-turns 2 --augment translation --r1 1 --r1-every 2 --ema 0.9 "
        f"--extractor runs/classifier --score-images 24 --name sngan {SHARED}",
        stop=4,
        runs=("sngan",),
        needs=("classifier",),
        score=f"evaluate runs/sngan --classify-by runs/classifier --gan-train {PLACE}",
        scores="sngan/evaluation.json",
        draw="sample runs/sngan --n 2 --out samples.npz --device cpu",
    ),
    "student": Kind(
        "distill ce+hinton+ckd+crd --teacher runs/classifier --prior prior.safetensors --student convnet-half "
        f"--penultimate 4 --crd.dim 4 --crd.negatives 8 --epochs 3 --name student {SHARED}",
        stop=6,
        runs=("student",),
        needs=("classifier",),
        score=f"evaluate runs/student {PLACE}",
        scores="student/evaluation.json",
    ),
    "inversion": Kind(
        "analyse invert runs/classifier --taps logits --layers 1 --filters 1 --epochs 2 --decoder-epochs 1 "
        f"--decoder-filters 1 --validation 24 --shown 0 --name inverted {SHARED}",
        stop=5,
        runs=("inverted-logits", "inverted-logits-mse"),
        needs=("classifier",),
        scores="inverted/inversion.json",
        draw="sample runs/inverted-logits --image image.png --n 2 --out samples.png --device cpu",
    ),
}
"""The kinds of runs, each after those that it needs."""


def machine() -> dict[str, str]:
    """How this machine rounds: where all of it is equal, the same command gives the same bits."""
    return {
        "processor": _processor(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "torch": torch.__version__.partition("+")[0],
        "operations": _operations(),
    }


def _processor() -> str:
    """The model of the CPU."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    named = (line.partition(":")[2].strip() for line in lines if line.startswith(("model name", "CPU part")))
    return next(named, platform.machine())


def _operations() -> str:
    """A digest of what some plain operations give, on one thread."""
    threads, state = torch.get_num_threads(), torch.random.get_rng_state()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    images = torch.randn(16, 3, 8, 8)
    network = nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.Flatten(), nn.LazyLinear(9)
    )
    found = [network(images), images.flatten(1) @ images.flatten(1).T, images.exp(), images.erf()]
    optimizer = torch.optim.Adam(network.parameters(), fused=True)
    found[0].logsumexp(1).mean().backward()
    optimizer.step()
    hashed = blake2b(digest_size=8)
    for tensor in (*found, *network.state_dict().values()):
        hashed.update(tensor.detach().contiguous().numpy().tobytes())
    torch.set_num_threads(threads)
    torch.random.set_rng_state(state)
    return hashed.hexdigest()


def penult(command: str) -> int:
    """Run a command line in this process; its exit status."""
    from apps.__main__ import main

    before, sys.argv = sys.argv, ["penult", *shlex.split(command)]
    try:
        return main() or 0
    except SystemExit as stop:
        return int(stop.code or 0)
    finally:
        sys.argv = before
        torch.set_num_threads(1)


def interrupted(command: str, step: int) -> int:
    """Run a command line that is interrupted as soon as the state of a step is complete; its exit status."""
    replace = os.replace

    def renamed(source, target, **options):
        replace(source, target, **options)
        if Path(target).name == f"step-{step}" and Path(target).parent.name == "state":
            raise KeyboardInterrupt

    os.replace = renamed
    try:
        return penult(command)
    finally:
        os.replace = replace


def _images() -> dict[str, np.ndarray]:
    """Noise with a bright band that tells the class, of three."""
    rng, arrays = np.random.default_rng(0), {}
    for split, count in (("train", 96), ("test", 48)):
        labels = (np.arange(count) % 3).astype(np.uint8)
        pixels = rng.integers(0, 120, (count, 8, 8)).astype(np.uint8)
        for image, label in zip(pixels, labels, strict=True):
            image[2 * label : 2 * label + 3, 1:7] += 100
        arrays |= {f"x_{split}": pixels, f"y_{split}": labels}
    return arrays


def _keep(run: str, folder: Path) -> None:
    """Copy a run without what it does not need, which is its pictures, its lock and older states."""
    source = Path("runs") / run
    states = sorted(source.glob("state/step-*"), key=lambda state: int(state.name[5:]))
    older = {state.name for state in states[:-1]}

    def left_out(place: str, names: list[str]) -> list[str]:
        return [
            name
            for name in names
            if name.endswith(".png")
            or name in (".lock", "grids", "gan-train", "last.safetensors")
            or (Path(place).name == "state" and name in older)
        ]

    shutil.copytree(source, folder / run, ignore=left_out)


def _make(folder: Path) -> None:
    """Make everything in the current folder, and keep what is wanted of it."""
    from PIL import Image

    np.savez_compressed("images.npz", **(arrays := _images()))
    Image.fromarray(arrays["x_test"][0]).save("image.png")
    (folder / "samples").mkdir(parents=True)
    for name, kind in KINDS.items():
        assert interrupted(kind.train, kind.stop) == 130, f"{name} was not interrupted"
        _keep(kind.runs[0], folder / "interrupted")
        assert penult(kind.train) == 0, f"{name} did not go on"
        if name == "classifier":
            assert penult("prior runs/classifier --concentration 20 --out prior.safetensors") == 0
        assert not kind.score or penult(kind.score) == 0, f"{name} was not scored"
        for run in kind.runs:
            _keep(run, folder / "finished")
        place = folder / "finished" / kind.scores
        place.parent.mkdir(exist_ok=True)
        shutil.copy(Path("runs") / kind.scores, place)
        if kind.draw:
            assert penult(kind.draw) == 0, f"nothing was drawn from {name}"
            (drawn,) = Path().glob("samples.*")
            shutil.move(drawn, folder / "samples" / f"{name}{drawn.suffix}")
    for file in ("images.npz", "prior.safetensors", "image.png"):
        shutil.copy(file, folder)
    (trained,) = (path.name for path in Path("runs/sngan/gan-train").iterdir() if path.is_dir())
    expected = {
        "machine": machine(),
        "gan-train": trained,
        "kinds": {name: asdict(kind) for name, kind in KINDS.items()},
    }
    (folder / "expected.json").write_text(json.dumps(expected, indent=2) + "\n")


def main() -> None:
    """Make the runs beside this file, or at the place that is given."""
    beside = Path(__file__).resolve().parent
    before = Path.cwd()
    with tempfile.TemporaryDirectory() as work:
        os.chdir(work)
        try:
            _make(made := Path(work) / "made")
        finally:
            os.chdir(before)
        stored = json.loads((made / "finished/classifier/config.json").read_text())
        wrong = [path for path in made.rglob("*.json*") if work in path.read_text()]
        assert not wrong, f"there are paths of this machine in {wrong}"
        place = Path(sys.argv[1]) if len(sys.argv) > 1 else beside / str(stored.get("format", 0))
        shutil.copytree(made, place)
    size = sum(path.stat().st_size for path in place.rglob("*") if path.is_file())
    print(f"{place}: {size / 1e3:,.0f} kB")


if __name__ == "__main__":
    main()
