"""Every training there is on the fake device: no step mixes devices, waits for the device or copies numbers.

What is trained is found: a new family of classifiers, term, variant, preset or latent needs no edit here.
"""

import json
import os
from collections import Counter
from pathlib import Path

import pytest
from device_log import Log
from steps import Step, Watched
from trainings import (
    CACHED,
    CODES,
    CONVOLUTIONS,
    DENSITIES,
    DIMS,
    SNGANS,
    VARIANTS,
    WAYS,
    WIDTH,
    Given,
    autoencoder,
    classifier,
    density,
    distillation,
    hvae,
    slow_sngan,
    smallest,
    sngan,
)

from apps.classifiers.classification import Classification
from apps.inverting import layer_runs
from distill.terms import terms

PRECISIONS = ("fp32", pytest.param("bf16", marks=pytest.mark.slow))
TABLE = Path(__file__).parents[1] / "bench" / "launches.json"
"""Kernels a step of each training and phase: PENULT_LAUNCHES=write pytest --slow tests/fake_device writes it anew."""
SLOW = pytest.mark.slow


@pytest.fixture(scope="session")
def given(tmp_path_factory):
    """Random images, and classifiers of them."""
    return Given(tmp_path_factory.mktemp("given"))


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


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("name", [pytest.param(name, marks=[SLOW] * slow) for name, slow in smallest().items()])
def test_classifiers(clean, given, name, precision):
    clean(classifier(given, name, "--precision", precision))


def test_a_wait_and_more_kernels_are_told(watched, given, monkeypatch):
    usual = Classification.losses

    def waiting(*given):
        losses = usual(*given)
        return losses if all(losses.values()) else {}

    monkeypatch.setattr(Classification, "losses", waiting)
    steps = watched.last_steps(classifier(given, "mlp", *WAYS["sgd"]))
    with pytest.raises(AssertionError, match="host wait: _local_scalar_dense"):
        check(steps, "ways_of_training[sgd]")
    (step,) = steps.values()
    more = Counter({kernel: 2 * n for kernel, n in step.log.launches.items()})
    with pytest.raises(AssertionError, match="sgd"):
        check({"train": Step("train", Log(launches=more))}, "ways_of_training[sgd]")


@pytest.mark.parametrize("way", WAYS)
def test_ways_of_training(clean, given, way):
    clean(classifier(given, "mlp", *WAYS[way]))


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("dim", [pytest.param(dim, marks=[SLOW] * (dim != WIDTH)) for dim in DIMS])
def test_hvaes(clean, given, variant, dim, precision):
    clean(hvae(given, variant, dim, "--precision", precision))


@pytest.mark.parametrize("precision", PRECISIONS)
def test_hvaes_of_another_posterior(clean, given, precision):
    clean(hvae(given, "hvae-l", WIDTH, "--posterior", "spherical-cauchy", "--precision", precision))


@pytest.mark.parametrize("precision", PRECISIONS)
def test_hvaes_of_convolutions(clean, given, precision):
    clean(hvae(given, "hvae-l", WIDTH, *CONVOLUTIONS, "--precision", precision))


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("code", CODES)
def test_autoencoders(clean, given, code, precision):
    clean(autoencoder(given, code, "--precision", precision))


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("name", [pytest.param(name, marks=[SLOW] * slow_sngan(name)) for name in SNGANS])
def test_sngans(clean, given, name, precision):
    clean(sngan(given, name, "--precision", precision))


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("term", terms())
def test_distillations(clean, given, term, precision):
    clean(distillation(given, term, "--precision", precision))


def test_cached_logits(clean, given):
    clean(distillation(given, "hinton", *CACHED))


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize(
    ("kind", "taps", "trainings"),
    [pytest.param(*key, count, marks=[SLOW] * (key != next(iter(DENSITIES)))) for key, count in DENSITIES.items()],
)
def test_densities_and_decoders(watched, given, kind, taps, trainings, precision, monkeypatch, request):
    words = density(given, kind, taps, "--precision", precision)
    found = watched.of_several(monkeypatch, layer_runs, "train", trainings, words)
    check({name.removeprefix(f"{kind}-{WIDTH}-"): step for name, step in found.items()}, request.node.name)
