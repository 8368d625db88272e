"""Part b: every verb from end to end on small sizes, trainings that are stopped and go on, and one process by torchrun.

A group of commands is run in a folder of its own, one after the other: later ones take what earlier ones made.
"""

import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from functools import partial
from io import StringIO
from pathlib import Path
from socket import socket

import torch
from commands import inside
from recording import Check, Failed
from trainings import Given

from apps.command.cli import VERBS, main, verb_of
from priors.files.tensors import read_tensors

ROOT = Path(__file__).parents[2]
GROUPS = {
    "grey": """
        train classifier --data {grey} --arch mlp --penultimate 11 --lr 3e-3 --epochs {e} --snapshots 0 2 --name teacher
        prior runs/teacher --concentration 20 --out prior.safetensors
        train hvae --data {grey} --classifier prior.safetensors --latent-dim 10 --epochs {e} --kl-warmup 0 --name hvae
        evaluate runs/hvae --samples 20 --images 50
        sample runs/hvae --n 2 --out grid.png
        sample runs/hvae --interpolate 0,1 --steps 4 --out between.png
        evaluate runs/teacher
        analyse normalised runs/teacher --every-gauge
        analyse gauges runs/teacher
        analyse anomaly runs/teacher --against noise --images 50
        export runs/hvae handed
        report runs/hvae runs/teacher --n 2
        show runs/hvae
        completion names -- evaluate runs/
        ls runs
    """,
    "colour": """
        train classifier --data {colour} --arch wrn-16-1 --epochs {e} --precision bf16 --name net
        train sngan --data {colour} --latent vmf --classifier runs/net --extractor runs/net {sngan} --name sngan
        evaluate runs/sngan --protocol fid-all --extractor runs/net --split {split}
        sample runs/sngan --n 2 --out images.npz
        analyse spectrum runs/net --taps convolutions --images 50 --against noise
        analyse saliency runs/net --images 3 --steps 4 --noisy 4
        analyse layers runs/net --images 20
        analyse discard runs/net --metrics sid,ru --images 4 --decoder-width 4 --epochs {e} --ru-steps 2 --taps logits
        analyse coherency runs/net --images 4 --taps group1.0.norm2 --sid-steps 4
        train autoencoder --data {colour} --arch wrn-16-1 --decoder-width 8 --epochs {e} --precision bf16 --name auto
        evaluate runs/auto
        analyse discard runs/auto --images 4 --taps code --metrics sid,ru --decoder-width 4 --epochs {e} --ru-steps 2
        analyse perturb runs/net --images 20 --methods full-jacobian --benchmark road
        analyse robustness runs/net --images 20 --wrong 3 --steps 20
        prune runs/net --keep .3 --epochs {e} --ema .9 --name pruned
    """,
    "distillation": """
        train classifier --data {colour} --arch wrn-16-1 --epochs {e} --name teacher
        distill ce+hinton --data {colour} --teacher runs/teacher --student wrn-16-1 --epochs {e} --cache-logits logits
        distill ce+ckd --data {colour} --teacher runs/teacher --student wrn-16-1 --epochs {e} --concentration 20
        distill ce+crd --data {colour} --teacher runs/teacher --student wrn-16-1 --epochs {e} --precision bf16
        table penultimate 2-short --show
        table penultimate 2-short --all
    """,
    "inversion": """
        train classifier --data {grey} --arch lenet-32-32 --epochs {e} --name lenet
        analyse invert runs/lenet --taps none,penultimate {inversion} --name inverted
        analyse layers runs/lenet --images 20 --lenses nce bias
        sample runs/inverted-penultimate --image {picture} --n 2 --out again.png
        analyse saliency runs/lenet {picture} --masks {masks} --methods full-jacobian input-gradient --out objects
    """,
    "circle": """
        train classifier --data {grey} --arch mlp --penultimate 2 --epochs {e} --snapshots 0 2 --name two
        analyse circle runs/two
    """,
    "demo": "demo --data digits --epochs {demo} --samples 2",
}
"""By name, commands with what is small or large about them left open."""
SIZES = {
    "e": "1",
    "demo": "2",
    "split": "test",
    "grey": "mnist",
    "colour": "cifar10",
    "sngan": "--steps 100 --score-every 50 --score-images 500 --precision bf16",
    "inversion": "--epochs .1 --decoder-epochs .2 --test-images 50 --shown 2 --n 2 --ema None --precision bf16",
}
TOY = {
    "e": "1.5 --batch-size 16",
    "demo": ".5",
    "split": "train",
    "sngan": "--steps 2 --score-every 2 --score-images 10 --generator-width 8 --discriminator-width 8 --batch-size 4",
    "inversion": "--layers 1 --filters 4 --decoder-filters 2 --epochs .5 --decoder-epochs .5 --validation 6 "
    "--test-images 6 --shown 1 --n 1 --ema None --batch-size 4",
}
STOPPED = {
    "classifier": "train classifier --data {colour} --arch wrn-16-1 --augment crop+flip --ema .9",
    "autoencoder": "train autoencoder --data {colour} --arch wrn-16-1 --decoder-width 8 --validation 6 --ema .9",
    "hvae": "train hvae --data {grey} --variant hvae --latent-dim 5 --validation 6",
    "hvae-m": "train hvae --data {grey} --variant hvae-m --latent-dim 5 --validation 6 --weight-decay .01 --ema .9",
    "pruning": "prune {teacher} --keep .3 --weight-decay .01 --ema .9",
    "distillation": "distill ce+ab --data {colour} --teacher {teacher} --student convnet-half --pretraining 1",
}
"""Trainings that are stopped by SIGTERM, and go on."""


def checks(device: str, folder: Path, toy: bool) -> list[Check]:
    """All of this part.

    Args:
        device: cuda or cpu.
        folder: for all that is made.
        toy: whether to take random images and tiny networks.
    """
    sizes = SIZES | (TOY if toy else {})
    if toy:
        given = Given(folder)
        sizes |= {kind: shlex.quote(str(given.data(kind))) for kind in ("grey", "colour")}
    sizes |= {"picture": shlex.quote(str(_picture(folder))), "device": device}
    sizes |= {"masks": shlex.quote(str(_masks(folder)))}
    found = [Check("all verbs are tried", all_verbs)]
    for group, commands in GROUPS.items():
        for number, command in enumerate(filter(None, map(str.strip, commands.splitlines()))):
            name = f"{group} {number + 1}: {' '.join(verb_of(shlex.split(command))[:1])}"
            found.append(Check(name, partial(done, command, sizes, folder / group), group=group))
    for name in STOPPED:
        found.append(Check(f"stopped and gone on: {name}", partial(stopped, name, device, folder), seconds=15))
    found.append(Check("one process by torchrun", partial(launched, device, folder), seconds=10))
    return found


def all_verbs() -> dict:
    """No verb is left out above."""
    named = {verb_of(shlex.split(line))[0] for text in GROUPS.values() for line in text.splitlines() if line.strip()}
    if named != set(VERBS):
        raise Failed(f"no command tries {', '.join(sorted(set(VERBS) - named))}")
    return {"verbs": len(named)}


def done(command: str, sizes: Mapping[str, str], folder: Path) -> dict:
    """Run a command in this process; what it said last."""
    words = shlex.split(command.format(**sizes))
    if verb_of(words)[0] not in ("export", "report", "show", "completion", "ls"):
        words += ["--device", sizes["device"]]
    folder.mkdir(parents=True, exist_ok=True)
    out, err = StringIO(), StringIO()
    with inside(folder), redirect_stdout(out), redirect_stderr(err):
        status = main(words)
    said = [line for line in f"{err.getvalue()}\n{out.getvalue()}".splitlines() if line.strip()]
    if status:
        raise Failed(f"ended with {status}: {err.getvalue().strip().splitlines()[-1:]}")
    return {"said": said[-1].strip()[:100] if said else ""}


def to_stop(name: str, grey: Path, colour: Path, teacher: Path | None, device: str) -> list[str]:
    """The words of a training that is stopped, but for how long it is and where its runs go."""
    places = {"grey": grey, "colour": colour, "teacher": teacher}
    line = STOPPED[name].format(**{kind: shlex.quote(str(place)) for kind, place in places.items()})
    return [*shlex.split(line), *"--batch-size 4 --log-every 1 --deterministic --threads 1 --device".split(), device]


def stopped(name: str, device: str, folder: Path) -> dict:
    """Stop a training by SIGTERM once it has begun, go on, and compare its weights with those of one that was not."""
    given, place = Given(folder / f"stopped {name}"), folder / f"stopped {name}"
    place.mkdir(parents=True, exist_ok=True)
    teacher = given.classifier("colour") if "{teacher}" in STOPPED[name] else None
    words = to_stop(name, given.data("grey"), given.data("colour"), teacher, device)
    words += ["--epochs", "60" if device == "cuda" else "12", "--runs", str(place)]
    with _ending() as started:
        whole = started([*words, "--name", "whole"])
        cut = started([*words, "--name", "cut"])
        written = place / "cut" / "metrics.jsonl"
        while cut.poll() is None and not (written.exists() and written.read_bytes().count(b"\n") > 5):
            time.sleep(0.02)
        cut.send_signal(signal.SIGTERM)
        _ended(cut, 130)
        steps = written.read_bytes().count(b"images/s")
        _ended(started([*words, "--name", "cut"]), 0)
        _ended(whole, 0)
    one, other = (read_tensors(place / run / "model.safetensors")[0] for run in ("whole", "cut"))
    if one.keys() != other.keys():
        raise Failed("other weights than of the training that was not stopped")
    apart = max(float((one[key].double() - other[key].double()).abs().max()) for key in one)
    if apart:
        raise Failed(f"weights differ by up to {apart:.3g} from those of the training that was not stopped")
    return {"stopped after steps": steps, "weights differ by": apart}


def launched(device: str, folder: Path) -> dict:
    """A training by torchrun in one process, over NCCL on a GPU."""
    given, expected = Given(folder / "launched"), "nccl" if device == "cuda" else "gloo"
    (folder / "launched").mkdir(parents=True, exist_ok=True)
    words = ["train", "classifier", "--data", str(given.data("colour")), "--arch", "convnet-half", "--epochs", "2"]
    words += ["--batch-size", "4", "--threads", "1", "--device", device, "--runs", str(folder / "launched")]
    with socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    torchrun = ["-m", "torch.distributed.run", "--nproc_per_node", "1", "--master_addr", "127.0.0.1"]
    torchrun += ["--master_port", port]
    more = {"NCCL_SOCKET_IFNAME": "lo", "GLOO_SOCKET_IFNAME": "lo"}  # there may be no other
    more |= {} if device == "cuda" else {"ACCELERATE_USE_CPU": "true"}
    with _ending() as started:
        said = _ended(started(words, (*torchrun, str(Path(__file__).with_name("launched.py"))), more), 0).split()
    if said[-1:] != [expected]:
        raise Failed(f"ran over {said[-1:]}, expected {expected}")
    return {"over": expected}


@contextmanager
def _ending() -> Iterator[Callable[..., subprocess.Popen]]:
    """What starts commands; those that still run at its end are ended."""
    running: list[subprocess.Popen] = []
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    usual, pipe = os.environ | {"PYTHONPATH": path, "MPLBACKEND": "Agg"}, subprocess.PIPE

    def started(words: list[str], program: tuple[str, ...] = ("-m", "apps"), more: Mapping[str, str] | None = None):
        told, environment = [sys.executable, *program, *words], usual | dict(more or {})
        running.append(subprocess.Popen(told, stdout=pipe, stderr=pipe, text=True, env=environment))
        return running[-1]

    try:
        yield started
    finally:
        for process in running:
            process.kill()
            process.wait()


def _ended(process: subprocess.Popen, status: int) -> str:
    """What a process printed that is to end so."""
    out, err = process.communicate()
    if process.returncode != status:
        last = next((line for line in reversed(err.splitlines()) if line.strip()), "")
        raise Failed(f"ended with {process.returncode} and not {status}: {last}")
    return out


def _picture(folder: Path) -> Path:
    """A picture of one's own."""
    from PIL import Image

    path = folder / "picture.png"
    if not path.exists():
        pixels = torch.randint(0, 256, (28, 28), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
        Image.fromarray(pixels.numpy()).save(path)
    return path


def _masks(folder: Path) -> Path:
    """A folder with that picture's mask."""
    from PIL import Image

    (place := folder / "masks").mkdir(exist_ok=True)
    mask = torch.zeros(28, 28, dtype=torch.uint8)
    mask[5:20, 8:25] = 255
    Image.fromarray(mask.numpy()).save(place / "picture.png")
    return place
