"""Part c, trainings: a step of each kind against plain code, by layouts, precisions and compiled."""

import gc
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import fields
from functools import partial
from itertools import count
from pathlib import Path
from statistics import median
from types import SimpleNamespace

import bench_distill
import bench_sngan
import torch
from accelerate.state import AcceleratorState
from commands import hand_over
from recording import Check, Skip
from speed import FULL, TOY, finish, in_turn, told
from torch import optim
from torch.utils.data import DataLoader, Dataset
from torch.utils.flop_counter import FlopCounterMode
from torchvision import transforms
from trainings import Given

from apps.command.cli import main
from apps.command.config import Where
from apps.data.batches import Batch
from apps.data.image_set import ImageSet
from apps.training import numerics
from apps.training.loop import Fit
from apps.training.meter import Meter

_STUDENT = "--data {colour} --teacher {colour_teacher} --student wrn-16-2 --augment crop+flip"
_INVERSION = "analyse invert {grey_teacher} --data {grey} --taps penultimate --batch-size 32"
TRAININGS = {
    "classifier": "train classifier --data {colour} --arch wrn-40-2 --augment crop+flip --batch-size 128",
    "hvae-l": "train hvae --data {grey} --classifier {grey_teacher} --latent-dim 10 --convention ambient",
    "sngan": "train sngan --data {colour} --latent gaussian",
    "distill hinton": f"distill ce+hinton {_STUDENT}",
    "distill ckd": f"distill ce+ckd {_STUDENT}",
    "distill crd": f"distill ce+crd {_STUDENT}",
    "density": _INVERSION,
    "decoder": _INVERSION,
}
"""Commands by what they train: of an inversion's trainings the first is the density, the second the decoder."""
SMALL = {
    "classifier": "--arch convnet-half",
    "hvae-l": "--latent-dim 8 --hidden 16 --validation 6",
    "sngan": "--generator-width 8 --discriminator-width 8 --steps 9",
    **dict.fromkeys(("distill hinton", "distill ckd", "distill crd"), "--student convnet-half"),
    **dict.fromkeys(("density", "decoder"), "--layers 1 --filters 4 --decoder-filters 4 --validation 6"),
}
"""What makes toys of them."""
WAYS = {"fp32": ("fp32", True), "bf16": ("bf16", True), "bf16, channels first": ("bf16", False)}
"""By name, the precision, and whether images are laid out channels last where the training does so."""
_CROPS = (transforms.RandomCrop(32, padding=4), transforms.RandomHorizontalFlip())


class Bench:
    """What trainings are measured on.

    Args:
        device: cuda or cpu.
        folder: for what they are given.
        toy: whether to measure next to nothing.
    """

    def __init__(self, device: str, folder: Path, toy: bool):
        self.device, self.folder, self.toy = device, folder, toy
        self.effort = TOY if toy else FULL
        self._given = Given(folder)

    def __getitem__(self, name: str) -> str:
        """A data set, or a classifier of one that has seen a few batches, as a word."""
        kind, _, teacher = name.partition("_")
        data = str(self._given.data(kind)) if self.toy else {"grey": "mnist", "colour": "cifar10"}[kind]
        if not teacher:
            return data
        run = self.folder / name
        if not (run / "result.json").exists():
            arch = {"grey": "mlp", "colour": "convnet-half" if self.toy else "wrn-40-2"}[kind]
            words = ["train", "classifier", "--data", data, "--arch", arch, "--epochs", "0.02", "--threads", "1"]
            words += ["--runs", str(self.folder), "--name", name, "--device", self.device]
            words += ["--penultimate", "8" if self.toy else "10"] if kind == "grey" else []
            if main(words):
                raise RuntimeError(f"{name} could not be trained")
        return str(run)

    def handed(self, name: str, *more: str) -> Fit:
        """A training that has not begun."""
        words = [word.format_map(self) for word in TRAININGS[name].split()]
        words += [*SMALL[name].split(), "--batch-size", "4"] if self.toy else []
        found: list[Fit] = []
        words += [*more, "--device", self.device, "--threads", "1"]
        hand_over(words, found.append, 2 if name == "decoder" else 1)
        return found[-1]


def checks(device: str, folder: Path, toy: bool) -> list[Check]:
    """A step of each training, by precisions and layouts, and what an SNGAN's reaches of the card's arithmetic."""
    bench, least = Bench(device, folder, toy), 0.0 if toy else 8.0
    found = [Check(f"speed: {name}", partial(speed, name, bench), seconds=least) for name in TRAININGS]
    return [*found, Check("speed: sngan, of the peak", partial(of_the_peak, bench), seconds=least)]


def compiled_checks(device: str, folder: Path, toy: bool) -> list[Check]:
    """The same compiled, which takes the longest."""
    bench, least = Bench(device, folder, toy), 0.0 if toy else 15.0
    names = ("hvae-l",) if toy else TRAININGS
    return [Check(f"compiled: {name}", partial(compiled, name, bench), seconds=least) for name in names]


def speed(name: str, bench: Bench) -> dict:
    """A step of plain code against ours."""
    with ended() as fits:
        ways = {"plain": partial(plain, name, bench)}
        for way, (precision, last) in WAYS.items():
            ways[way] = partial(ours, name, bench, fits, precision, last)
        found = in_turn(ways, bench.device, bench.effort)
    return told(found, "plain")


def compiled(name: str, bench: Bench) -> dict:
    """A step compiled against the same as it is, in both precisions."""
    if "compile" not in {field.name for field in fields(Where)}:
        raise Skip("trainings are not compiled yet")
    numbers = {}
    for precision in ("fp32", "bf16"):
        one, other = precision, f"{precision} compiled"
        with ended() as fits:
            ways = {
                one: partial(ours, name, bench, fits, precision),
                other: partial(ours, name, bench, fits, precision, True, "--compile"),
            }
            found = in_turn(ways, bench.device, bench.effort)
        numbers |= told(found, one) | {f"{other}, first step s": found[other].first}
    return numbers


def of_the_peak(bench: Bench) -> dict:
    """What an SNGAN's iteration in bfloat16 reaches of a large product's rate, by the arithmetic that papers write."""
    size = 256 if bench.toy else 8192
    left = torch.randn(size, size, device=bench.device, dtype=torch.bfloat16)
    right = torch.randn_like(left)
    iteration = plain("sngan", bench)
    with FlopCounterMode(display=False) as counter:
        iteration()
    with ended() as fits:
        ways = {"product": lambda: partial(torch.mm, left, right), "sngan": partial(ours, "sngan", bench, fits, "bf16")}
        found = in_turn(ways, bench.device, bench.effort)
    most = 2 * size**3 / median(found["product"].seconds)
    rate = counter.get_total_flops() / median(found["sngan"].seconds)
    tera = {"TFLOP an iteration": counter.get_total_flops(), "TFLOP/s": rate, "TFLOP/s of a product": most}
    return {name: value / 1e12 for name, value in tera.items()} | {"of the peak": rate / most}


def ours(name: str, bench: Bench, fits: list[Fit], precision: str, last: bool = True, *more: str) -> Callable[[], None]:
    """A step as the loop takes it.

    Args:
        name: of the training.
        bench: what it is measured on.
        fits: to which the training is added, to be ended.
        precision: fp32 or bf16.
        last: whether images may be laid out channels last.
        more: flags.
    """
    fit = bench.handed(name, "--precision", precision, *more)
    if not last:
        fit.task.channels_last = fit.batches.channels_last = False
    kind, meter = "bf16" if precision == "bf16" else "no", Meter(4096, fit.device)
    fit.set_up()
    _speak(kind)
    fit.prepare()
    fits.append(fit)

    def step() -> None:
        _speak(kind)
        with numerics.training(fit.config, fit.device):
            fit.one_step(meter)
        fit.progress.step += 1

    return step


def _speak(kind: str) -> None:
    """What accelerate computes in from now on: it keeps this once for all trainings of a process."""
    AcceleratorState._shared_state["_mixed_precision"] = kind


def plain(name: str, bench: Bench) -> Callable[[], None]:
    """A step as it is usually written: in single precision, eager, channels first, pictures from a DataLoader."""
    fit = bench.handed(name)
    images, device = fit.batches.images.to("cpu"), fit.device
    workers = 0 if device.type == "cpu" else min(4, os.cpu_count() or 1)
    sizes = SimpleNamespace(batch_size=fit.config.batch_size, preset="gan-evaluation", workers=workers)
    if name == "sngan":
        sizes.generator_width, sizes.discriminator_width = (8, 8) if bench.toy else (256, 128)
        step = bench_sngan.plain_iteration(sizes, images.images, images.labels, device)
    elif name == "distill hinton":
        sizes.student, sizes.teacher = ("convnet-half",) * 2 if bench.toy else ("wrn-16-2", "wrn-40-2")
        step = bench_distill.plainly(sizes, images.subset(range(min(5000, len(images)))), device)
    else:
        step = _plain(fit, images, workers)

    def usual() -> None:
        searched, torch.backends.cudnn.benchmark = torch.backends.cudnn.benchmark, False
        torch.backends.cudnn.conv.fp32_precision = "tf32"  # torch's own default
        try:
            step()
        finally:
            torch.backends.cudnn.benchmark = searched
            numerics.in_full()

    return usual


class _Pictures(Dataset):
    """Pictures one by one, with their labels and positions."""

    def __init__(self, images: ImageSet, more: tuple = ()):
        self.pictures = [transforms.functional.to_pil_image(image) for image in images.images]
        self.labels = images.labels.tolist()
        self.transform = transforms.Compose([*more, transforms.ToTensor()])

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int):
        return self.transform(self.pictures[index]), self.labels[index], index


def _plain(fit: Fit, images: ImageSet, workers: int) -> Callable[[], None]:
    """The same networks and losses around a DataLoader and an optimiser as it comes."""
    task, device = fit.task, fit.device
    for network in (*task.networks.values(), *task.frozen.values()):
        network.to(device)
    for network in task.frozen.values():
        network.eval().requires_grad_(False)
    few = images.subset(range(min(10_000, len(images))))
    pictures = _Pictures(few, _CROPS if fit.batches.augment is not None else ())
    loader = DataLoader(
        pictures,
        fit.config.batch_size,
        shuffle=True,
        drop_last=True,
        num_workers=workers,
        persistent_workers=workers > 0,
        pin_memory=device.type == "cuda",
    )
    stream = _endless(loader, device)
    task.start(next(stream))
    parameters = [
        one for name in task.trained("train") for one in task.networks[name].parameters() if one.requires_grad
    ]
    optimizer = optim.Adam(parameters, fit.config.lr)
    for network in task.networks.values():
        network.train()

    def step() -> None:
        batch = next(stream)
        loss = sum(task.losses("train", batch, batch.number).values())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step


def _endless(loader: DataLoader, device: torch.device) -> Iterator[Batch]:
    number = count()
    while True:
        for pixels, labels, index in loader:
            parts = (part.to(device, non_blocking=True) for part in (pixels, labels, index, torch.zeros_like(index)))
            yield Batch(*parts, next(number))


@contextmanager
def ended() -> Iterator[list[Fit]]:
    """A list of trainings, all of which are ended with it."""
    fits: list[Fit] = []
    try:
        yield fits
    finally:
        for fit in fits:
            fit.take_down()
        fits.clear()
        gc.collect()
        if torch.cuda.is_available():
            finish("cuda")
            torch.cuda.empty_cache()
