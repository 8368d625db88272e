"""Every training there is on the fake device: no step mixes devices, waits for the device or copies numbers.

What is trained is found: a new family of classifiers, term, variant, preset or latent needs no edit here.
"""

import json
import os
from collections import Counter
from functools import cache
from pathlib import Path
from typing import get_args, get_type_hints

import numpy as np
import pytest
from device_log import Log
from steps import Step, Watched

from apps.classifiers.classification import Classification
from apps.command.cli import main
from apps.generators.hvae_settings import HVAESettings
from apps.generators.sngan import PRESETS
from apps.generators.sngan_settings import SNGANSettings
from apps.inverting import layer_runs
from distill.terms import terms
from priors.zoo.catalogue import catalogue

CLASSES, WIDTH = 3, 8
SHARED = ("--batch-size", 4, "--threads", 1)
PRECISIONS = ("fp32", pytest.param("bf16", marks=pytest.mark.slow))
TABLE = Path(__file__).parents[1] / "bench" / "launches.json"
"""Kernels a step of each training and phase: PENULT_LAUNCHES=write pytest --slow tests/fake_device writes it anew."""
LARGE = 800_000
"""Parameters of a classifier that takes seconds a step."""


@pytest.fixture(scope="session")
def data(tmp_path_factory):
    """By kind, files of random images: grey or colour."""
    folder, source = tmp_path_factory.mktemp("data"), np.random.default_rng(0)
    found = {}
    for kind, shape in {"grey": (28, 28), "colour": (32, 32, 3)}.items():
        found[kind] = folder / f"{kind}.npz"
        images = source.integers(0, 256, (36, *shape), np.uint8)
        labels = np.arange(36) % CLASSES
        np.savez(found[kind], x_train=images, y_train=labels, x_test=images[:6], y_test=labels[:6])
    return found


@pytest.fixture(scope="session")
def classifiers(data, tmp_path_factory):
    """`classifiers(kind, width)`: a run of a classifier of such images, with penultimate activations of a width."""
    runs = tmp_path_factory.mktemp("runs")

    @cache
    def trained(kind: str, width: int = WIDTH):
        name = f"{kind}-{width}"
        words = ("train", "classifier", "--data", data[kind], "--arch", "convnet-half", "--penultimate", width)
        told = (*words, "--epochs", 0.1, "--runs", runs, "--name", name, "--device", "cpu", *SHARED)
        assert main([str(word) for word in told]) == 0
        return runs / name

    return trained


@pytest.fixture
def watched(monkeypatch, fake, tmp_path):
    """Trains on the device, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    return Watched(monkeypatch, fake)


@pytest.fixture
def clean(watched, request):
    """`clean(train)`: the last steps of a training have no offences, and at most a tenth more kernels than before."""

    def checked(train):
        check(watched.last_steps(train), request.node.name)

    return checked


def check(steps, name: str) -> None:
    """See `clean`; steps that the table does not know are printed alone."""
    assert {phase: step.offences for phase, step in steps.items() if step.offences} == {}
    found = {f"{name.removeprefix('test_')} {phase}": step.launches for phase, step in steps.items()}
    print(found)
    known = json.loads(TABLE.read_text()) if TABLE.exists() else {}
    if os.environ.get("PENULT_LAUNCHES") == "write":
        TABLE.write_text(json.dumps(dict(sorted((known | found).items())), indent=1) + "\n")
    else:
        assert {step: (n, known[step]) for step, n in found.items() if n > 1.1 * known.get(step, n)} == {}


def smallest() -> list:
    """The smallest classifier of each family."""
    families = {}
    for entry in catalogue():
        size = LARGE if entry.parameters is None else entry.parameters
        families.setdefault(entry.family, []).append((size, entry.name.replace("NAME", "resnet18")))
    return [
        pytest.param(name, marks=[pytest.mark.slow] * (size >= LARGE)) for size, name in map(min, families.values())
    ]


def choices(settings, flag: str) -> tuple[str, ...]:
    """What a flag can be."""
    return get_args(get_type_hints(settings)[flag])


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("name", smallest())
def test_classifiers(clean, data, name, precision):
    clean(("train", "classifier", "--data", data["colour"], "--arch", name, "--precision", precision, *SHARED))


def test_a_wait_and_more_kernels_are_told(watched, data, monkeypatch):
    usual = Classification.losses

    def waiting(*given):
        losses = usual(*given)
        return losses if all(losses.values()) else {}

    monkeypatch.setattr(Classification, "losses", waiting)
    words = ("train", "classifier", "--data", data["colour"], "--arch", "mlp", *WAYS["sgd"], *SHARED)
    steps = watched.last_steps(words)
    with pytest.raises(AssertionError, match="host wait: _local_scalar_dense"):
        check(steps, "ways_of_training[sgd]")
    (step,) = steps.values()
    more = Counter({kernel: 2 * n for kernel, n in step.log.launches.items()})
    with pytest.raises(AssertionError, match="sgd"):
        check({"train": Step("train", Log(launches=more))}, "ways_of_training[sgd]")


WAYS = {
    "crops and flips": ("--augment", "crop+flip"),
    "resized crops": ("--augment", "resized-crop"),
    "mirrored edges": ("--augment", "crop+flip", "--crop-fill", "reflect"),
    "mixing": ("--mixup", 0.2, "--label-smoothing", 0.1),
    "parts, clipped and averaged": ("--accumulate", 2, "--clip", 1, "--ema", 0.9),
    "sgd": ("--optimizer", "sgd", "--weight-decay", 1e-4, "--schedule", "step"),
    "adamw": ("--optimizer", "adamw", "--warmup", 1),
}


@pytest.mark.parametrize("way", WAYS)
def test_ways_of_training(clean, data, way):
    clean(("train", "classifier", "--data", data["colour"], "--arch", "mlp", *WAYS[way], *SHARED))


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("variant", choices(HVAESettings, "variant"))
@pytest.mark.parametrize(
    "dim", [pytest.param(2, marks=pytest.mark.slow), pytest.param(3, marks=pytest.mark.slow), WIDTH]
)
def test_hvaes(clean, data, variant, dim, precision, classifiers):
    words = (
        "train",
        "hvae",
        "--data",
        data["grey"],
        "--variant",
        variant,
        "--latent-dim",
        dim,
        "--convention",
        "ambient",
    )
    if variant == "hvae-l":
        words += ("--classifier", classifiers("grey", dim))
    clean((*words, "--validation", 6, "--hidden", 16, "--ema", 0.9, "--precision", precision, *SHARED))


ALL = ("--r1", 1, "--r1-every", 1, "--augment", "colour", "translation", "cutout", "--standing", 2)


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize(
    ("preset", "latent", "more"),
    [
        *(pytest.param(preset, "gaussian", (), marks=pytest.mark.slow, id=preset) for preset in PRESETS),
        *(
            pytest.param(next(iter(PRESETS)), latent, ALL, marks=[pytest.mark.slow] * (latent != "vmf"), id=latent)
            for latent in choices(SNGANSettings, "latent")
        ),
    ],
)
def test_sngans(clean, data, classifiers, preset, latent, more, precision):
    words = ("train", "sngan", "--data", data["colour"], "--preset", preset, "--latent", latent, *more)
    words += ("--classifier", classifiers("colour")) if latent == "vmf" else ()
    sizes = (
        "--generator-width",
        8,
        "--discriminator-width",
        8,
        "--steps",
        9,
        "--discriminator-turns",
        1,
        "--labels",
        "uniform",
    )
    clean((*words, *sizes, "--precision", precision, *SHARED))


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("term", terms())
def test_distillations(clean, data, classifiers, term, precision):
    words = ("distill", term if term == "ce" else f"ce+{term}", "--data", data["colour"], "--student", "convnet-half")
    given = terms()[term]()
    if given.needs.teacher_at_all or given.needs.prior:
        words += ("--teacher", classifiers("colour"))
    if given.pretrains:
        words += ("--pretraining", 0.5)
    clean((*words, "--precision", precision, "--epochs", 0.5, *SHARED))


def test_cached_logits(clean, data, classifiers, tmp_path):
    words = ("distill", "ce+hinton", "--data", data["colour"], "--student", "convnet-half", "--teacher")
    clean((*words, classifiers("colour"), "--cache-logits", tmp_path / "logits", "--epochs", 0.5, *SHARED))


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize(
    ("kind", "taps", "trainings"),
    [
        ("grey", "penultimate", 2),
        pytest.param("grey", "none", 1, marks=pytest.mark.slow),
        pytest.param("colour", "none,penultimate", 3, marks=pytest.mark.slow),
    ],
)
def test_densities_and_decoders(watched, data, classifiers, kind, taps, trainings, precision, monkeypatch, request):
    words = ("analyse", "invert", classifiers(kind), "--data", data[kind], "--taps", taps, "--precision", precision)
    sizes = ("--layers", 1, "--filters", 4, "--decoder-filters", 4, "--validation", 6)
    found = watched.of_several(monkeypatch, layer_runs, "train", trainings, (*words, *sizes, *SHARED))
    check({name.removeprefix(f"{kind}-{WIDTH}-"): step for name, step in found.items()}, request.node.name)
