"""What a data set of ImageNet's size takes of time and memory, stage by stage, each in a process of its own.

    python tests/bench/bench_large.py [--images 100000] [--classes 1000] [--width 2048] [--folder FOLDER]
                                      [--stages scan statistics ...] [--threads 1]

A folder of small JPEGs is drawn, in a temporary folder that goes again unless --folder names one; the network is one
wide random layer behind pixels, so that nearly all of the time is penult's own and the decoder's. Printed are seconds
of cores, those for 1,281,167 images by proportion, the peak of memory above that of a process that has imported the
same, and the same without what is mapped from files, which the system may drop. The stages of crd need no images: they
are of 1,281,167 at once. Those of the prior are of --classes, and of 21,841, the whole of ImageNet.
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from processor import about

IMAGENET, WHOLE, SIDE = 1_281_167, 21_841, 48
BY_IMAGES = ("scan", "known", "launch", "digest", "statistics", "again", "moments", "gathered", "mapped", "gaussians")
STAGES = {
    "scan": "list the files, their sizes and times, and look at headers, the first time",
    "known": "the same when it was kept: names, sizes and times are compared",
    "launch": "the same in another process of the launch, which reads them",
    "digest": "the digest of the set",
    "statistics": "mean and deviation of each channel, of at most 10,000 images",
    "again": "the same when it was kept",
    "moments": "activations: class means, covariance and directions, added up in float64",
    "gathered": "activations held in memory",
    "mapped": "activations in a file that is mapped into memory",
    "gaussians": "anomaly scores: fitted by moments, and of 1,000 images",
    "prior": "prior of the classes: maximum likelihood, save, load, posterior of 256",
    "whole": "the same of 21,841 classes",
    "crd-keys": "crd: negatives of 64 images by a key an image (runs of before format 2)",
    "crd": "crd: the same as they are drawn now",
}


def draw_folder(folder: Path, images: int, classes: int) -> None:
    """JPEGs of coarse noise about a pattern of each class: a class's folder after the other, and a few to test on."""
    random = np.random.default_rng(0)
    for split, each in (("train", -(-images // classes)), ("test", 5)):
        for label in range(classes):
            place = folder / split / f"n{label:08d}"
            place.mkdir(parents=True)
            pattern = random.integers(0, 256, (8, 8, 3))
            for number in range(each):
                pixels = np.clip(pattern + random.integers(-40, 41, (8, 8, 3)), 0, 255).astype(np.uint8)
                drawn = Image.fromarray(pixels).resize((SIDE, SIDE), Image.Resampling.BILINEAR)
                drawn.save(place / f"{number:05d}.jpg", quality=80)


def network(classes: int, width: int) -> torch.nn.Module:
    from priors import zoo

    torch.manual_seed(0)
    layers = torch.nn.Sequential(
        torch.nn.AvgPool2d(4),
        torch.nn.Flatten(),
        torch.nn.Linear(3 * (SIDE // 4) ** 2, width),
        torch.nn.ReLU(),
        torch.nn.Linear(width, classes),
    )
    names = [f"n{label:08d}" for label in range(classes)]
    return zoo.wrap(layers, class_names=names, image_shape=(3, SIDE, SIDE)).eval()


def load(given: argparse.Namespace, split: str = "train"):
    from apps.data import sources

    return sources.load(given.folder, split, image_size=SIDE, memory_limit=0)


def moments(given: argparse.Namespace):
    from apps.models.moments import run_through
    from priors.gauge.space import Space

    return run_through(network(given.classes, given.width), load(given), None, activations=True, spaces=[Space()])


def held(given: argparse.Namespace, first: bool) -> None:
    from apps.models.activations import activations

    activations(network(given.classes, given.width), load(given), first=first)


def gaussians(given: argparse.Namespace) -> None:
    from analysis.directions.anomaly import ANOMALY_SCORES, fit_by_moments
    from apps.models.activations import activations
    from priors import ClassifierPrior

    passed, model = moments(given), network(given.classes, given.width)
    prior = ClassifierPrior.from_classifier(model, "mle", moments=passed.directions[0])
    fitted = fit_by_moments(prior, passed.directions[0], passed.activations)
    found = activations(model, load(given, "test").subset(range(1000)))
    for score in ANOMALY_SCORES.values():
        score(fitted, found.penultimate, found.logits)


def prior_of(classes: int, width: int) -> None:
    from priors.gauge.moments import DirectionMoments
    from priors.model.classifier_prior import ClassifierPrior

    weight = torch.randn(classes, width, generator=torch.Generator().manual_seed(0))
    seen = DirectionMoments.none(classes, width)
    for own in torch.arange(classes).split(2000):
        seen = seen.add(weight[own] + 1, own)
    prior = ClassifierPrior.from_weight(weight, "mle", moments=seen)
    del seen, weight
    with tempfile.TemporaryDirectory() as folder:
        prior.save(Path(folder) / "prior.safetensors")
        del prior
        prior = ClassifierPrior.load(Path(folder) / "prior.safetensors")
        prior.posterior(prior.sample(torch.arange(256)))


def negatives(keys: bool) -> None:
    from distill.negatives import OtherClasses

    random = torch.Generator().manual_seed(0)
    labels = torch.randint(1000, (IMAGENET,), generator=random)
    OtherClasses(labels, 1000, keys).draw(labels[:64], 16_384, random, replacement=False)


def launched(given: argparse.Namespace) -> None:
    os.environ |= {"WORLD_SIZE": "2", "RANK": "1"}
    from apps.data.sources import kept_listing

    kept_listing._BEGUN = 0.0  # as if the first process had looked since this one began
    load(given)


def statistics(given: argparse.Namespace) -> None:
    from apps.data.image_set import channel_statistics

    channel_statistics(load(given))


def work_of(given: argparse.Namespace) -> dict[str, Callable[[], object]]:
    return {
        "nothing": lambda: network(10, 2),
        "scan": lambda: load(given),
        "known": lambda: load(given),
        "launch": lambda: launched(given),
        "digest": lambda: load(given).digest,
        "statistics": lambda: statistics(given),
        "again": lambda: statistics(given),
        "moments": lambda: moments(given),
        "gathered": lambda: held(given, first=False),
        "mapped": lambda: held(given, first=True),
        "gaussians": lambda: gaussians(given),
        "prior": lambda: prior_of(given.classes, given.width),
        "whole": lambda: prior_of(WHOLE, given.width),
        "crd-keys": lambda: negatives(True),
        "crd": lambda: negatives(False),
    }


def one_stage(given: argparse.Namespace) -> None:
    """Do it in this process, and print its seconds and its peaks: whole, and without what is mapped from files."""
    for needed in ("analysis.directions.anomaly", "apps.data.sources.folder", "apps.models.moments"):
        import_module(needed)
    torch.set_num_threads(given.threads)
    over = threading.Event()
    own = [0]
    watcher = threading.Thread(target=watch, args=(own, over))
    watcher.start()
    begun = seconds_of_cores()
    kept = work_of(given)[given.only]()
    del kept
    seconds = seconds_of_cores() - begun
    over.set()
    watcher.join()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    print(seconds, peak, own[0] or peak)


def seconds_of_cores() -> float:
    """Of this process and of those that decoded for it: on a busy machine the time on the clock says little."""
    return sum(os.times()[:4])


def watch(largest: list[int], over: threading.Event) -> None:
    """Follow the memory of this process that is not mapped from files, in bytes, where Linux says it."""
    while os.path.exists("/proc/self/status") and not over.wait(0.02):
        told = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
        largest[0] = max(largest[0], 1024 * int(told["RssAnon"].split()[0]))


def measured(given: argparse.Namespace, folder: Path, stage: str) -> tuple[float, float, float]:
    words = ["--only", stage, "--folder", str(folder), "--threads", str(given.threads)]
    words += ["--classes", str(given.classes), "--width", str(given.width)]
    done = subprocess.run([sys.executable, __file__, *words], stdout=subprocess.PIPE, text=True, check=True)
    seconds, peak, own = map(float, done.stdout.split()[-3:])
    return seconds, peak, own


def report(given: argparse.Namespace, folder: Path) -> None:
    images = sum(len(files) for _, _, files in os.walk(folder / "train"))
    _, base, least = measured(given, folder, "nothing")
    print(f"{images:,} images of {given.classes:,} classes, {given.width:,} wide, {given.threads} thread(s);")
    print(f"a process with nothing to do has {base / 1e9:.2f} GB, {least / 1e9:.2f} of them its own\n")
    print(f"{'stage':12}{'core s':>9}{'at 1.28 M':>11}{'GB more':>9}{'its own':>9}  what")
    for stage in given.stages:
        seconds, peak, own = measured(given, folder, stage)
        more = f"{max(0, peak - base) / 1e9:9.2f}{max(0, own - least) / 1e9:9.2f}"
        grown = stage in BY_IMAGES and stage not in ("statistics", "again")
        whole = f"{seconds * IMAGENET / images:.0f}" if grown else "-"
        print(f"{stage:12}{seconds:9.1f}{whole:>11}{more}  {STAGES[stage]}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=100_000)
    parser.add_argument("--classes", type=int, default=1000)
    parser.add_argument("--width", type=int, default=2048)
    parser.add_argument("--folder", type=Path, help="drawn there and kept, or taken where it is there")
    parser.add_argument("--stages", nargs="+", choices=STAGES, default=list(STAGES))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--only", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.only:
        return one_stage(given)
    with tempfile.TemporaryDirectory() as temporary:
        folder = given.folder or Path(temporary) / "large"
        if not folder.is_dir():
            draw_folder(folder, given.images, given.classes)
        torch.set_num_threads(given.threads)  # as each stage does
        print(about())
        report(given, folder)


if __name__ == "__main__":
    main()
