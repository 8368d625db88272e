"""A prior of the 21,841 classes of the whole of ImageNet, and work on its classes part by part."""

import subprocess
import sys

import pytest
import torch

from priors.gauge.moments import ActivationMoments, DirectionMoments
from priors.model.classifier_prior import ClassifierPrior
from priors.vmf import directions
from priors.vmf.directions import in_parts, norms, unit

LARGE = """
import resource, sys, torch
from priors.gauge.moments import ActivationMoments, DirectionMoments
from priors.gauge.space import fit_space
from priors.model.classifier_prior import ClassifierPrior

classes, m, (path, name, directions) = 21_841, 2_048, sys.argv[1:]
weight = torch.randn(classes, m, generator=torch.Generator().manual_seed(0))
labels = torch.arange(classes).repeat_interleave(2)
names = [f"n{label:08d}" for label in range(classes)]

def batches():
    noise = torch.Generator().manual_seed(1)
    for own in labels.split(500):
        yield weight[own] + 1 + torch.randn(len(own), m, generator=noise), own

seen = ActivationMoments.none(classes, m)
if name != "raw":
    for activations, own in batches():
        seen = seen.add(activations, own)
space = fit_space(name, seen, names)
seen, here = DirectionMoments.none(classes, m), space.to(torch.float32)
for activations, own in batches():
    seen = seen.add(here.bring(activations), own)
concentration = "fitted" if directions == "fitted" else "mle"
gauge = {"space": space, "directions": directions}
prior = ClassifierPrior.from_weight(weight, concentration, class_names=names, moments=seen, **gauge)
del seen, weight
prior.save(path)
del prior
prior = ClassifierPrior.load(path)
drawn = prior.activations(labels[:512:2], norm=1.0, generator=torch.Generator().manual_seed(0))
assert drawn.shape == (256, m) and prior.log_prob(drawn).shape == (256, classes)
assert (prior.posterior(drawn).argmax(1) == torch.arange(256)).double().mean() > 0.5
try:  # of this program alone; rusage's begins with what the program that started it took
    line = next(line for line in open("/proc/self/status") if line.startswith("VmHWM"))
    print(int(line.split()[1]) * 1024)
except OSError:
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024))
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    "gauge",
    [("raw", "weights"), ("raw", "fitted"), ("raw", "means"), ("centred", "centred"), ("whitened", "fitted")],
    ids=", ".join,
)
def test_the_whole_of_imagenet_takes_less_than_two_gigabytes(tmp_path, gauge):
    """To fit, save, load, draw from and ask; the peak is of a process that has imported torch (half a gigabyte)."""
    program = [sys.executable, "-c", LARGE, str(tmp_path / "prior.safetensors"), *gauge]
    done = subprocess.run(program, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 2e9


def test_rows_by_parts_are_those_of_the_whole(monkeypatch):
    rows = torch.randn(70, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    whole = unit(rows), norms(rows)
    calls = []
    monkeypatch.setattr(directions, "_NUMBERS", 6 * 32)
    assert torch.equal(in_parts(lambda part: calls.append(len(part)) or unit(part), rows), whole[0])
    assert torch.equal(in_parts(norms, rows), whole[1])
    assert torch.equal(in_parts(lambda one, other: one.sum(1) + other.sum(1), rows, rows), 2 * rows.sum(1))
    assert calls == [32, 32, 6]


@pytest.mark.parametrize(
    "gauge", [("raw", "weights"), ("whitened", "centred"), ("centred", "fitted"), ("raw", "means")]
)
def test_a_prior_by_parts_is_that_of_the_whole(monkeypatch, gauge):
    random = torch.Generator().manual_seed(0)
    weight, labels = torch.randn(40, 5, generator=random), torch.arange(400) % 40
    measured = {"activations": weight[labels] + torch.randn(400, 5, generator=random), "labels": labels}
    kind = dict(zip(("space", "directions"), gauge, strict=True))
    concentration = "fitted" if "fitted" in gauge else "mle"
    whole = ClassifierPrior.from_weight(weight, concentration, **kind, **measured)
    monkeypatch.setattr(directions, "_NUMBERS", 5 * 16)
    parts = ClassifierPrior.from_weight(weight, concentration, **kind, **measured)
    for one, other in ((whole.loc, parts.loc), (whole.concentration, parts.concentration)):
        assert torch.allclose(one, other, rtol=1e-6, atol=0)


def test_moments_of_batches_are_those_of_a_loop():
    """Classes come several times in a batch, once, and never; some activations are zero."""
    random = torch.Generator().manual_seed(1)
    rows = torch.randn(90, 4, generator=random, dtype=torch.float64)
    rows[::11] = 0
    labels = torch.randint(6, (90,), generator=random)
    activations, directed = ActivationMoments.none(8, 4), DirectionMoments.none(8, 4)
    for part, own in zip(rows.split(25), labels.split(25), strict=True):
        activations, directed = activations.add(part, own), directed.add(part, own)
    scatter = torch.zeros(4, 4, dtype=torch.float64)
    for label in range(8):
        members = rows[labels == label]
        assert int(activations.count[label]) == len(members)
        if len(members):
            assert torch.allclose(activations.mean[label], members.mean(0), atol=1e-14)
            apart = members - members.mean(0)
            scatter += apart.T @ apart
        pointing = [row for row in members if bool(row.any())]
        assert int(directed.count[label]) == len(pointing)
        total = sum((row / row.norm() for row in pointing), torch.zeros(4, dtype=torch.float64))
        assert torch.allclose(directed.total[label], total, atol=1e-13)
    assert torch.allclose(activations.scatter, scatter, atol=1e-12)
