"""Concentrations by maximum likelihood: against the maximum of SciPy's likelihood, and what each complaint says."""

import math

import numpy as np
import pytest
import torch
from scipy import optimize, special

from priors import ClassifierPrior, VonMisesFisher
from priors.errors import InputError
from priors.model.concentration import STRATEGIES
from priors.vmf.directions import class_directions, require_activations

NAMES = ("ant", "bee", "cat")
M = 5


@pytest.fixture
def weight():
    return 3 * torch.randn(3, M, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.fixture
def measured(weight):
    """Draws about directions that are not quite the weights', of several lengths."""
    generator = torch.Generator().manual_seed(1)
    loc = torch.nn.functional.normalize(weight + 0.5, dim=1)
    draws = VonMisesFisher(loc, torch.tensor([3.0, 20.0, 200.0]).double()).sample((400,), generator)
    labels = torch.arange(3).expand(400, 3).flatten()
    return {"activations": 9 * draws.flatten(0, 1), "labels": labels}


def likeliest(cosines: np.ndarray) -> float:
    """The maximum over kappa of the likelihood of cosines with a fixed mean direction in R^M."""

    def cost(log_kappa):
        kappa = math.exp(log_kappa)
        order = M / 2 - 1
        log_constant = order * log_kappa - math.log(special.ive(order, kappa)) - kappa
        return -(log_constant + kappa * cosines.mean())

    return math.exp(optimize.minimize_scalar(cost, bounds=(-5, 9), method="bounded", options={"xatol": 1e-10}).x)


def test_likeliest_concentrations(weight, measured):
    cosines = torch.nn.functional.cosine_similarity(measured["activations"], weight[measured["labels"]]).numpy()
    by_class = ClassifierPrior.from_weight(weight, "mle", class_names=NAMES, **measured)
    expected = [likeliest(cosines[measured["labels"] == label]) for label in range(3)]
    np.testing.assert_allclose(by_class.concentration, expected, rtol=1e-6)  # a maximum tells no more in float64
    assert (
        by_class.provenance.concentration
        == "mle: maximum likelihood of 1,200 activations about their class's direction"
    )
    pooled = ClassifierPrior.from_weight(weight, "mle-pooled", class_names=NAMES, **measured)
    np.testing.assert_allclose(pooled.concentration, [likeliest(cosines)] * 3, rtol=1e-6)
    assert pooled.provenance.concentration.startswith(f"mle-pooled: {pooled.concentration[0]:.6g}, maximum likelihood")
    assert {"norms", "mle", "mle-pooled"} <= set(STRATEGIES)


def test_only_directions_count(weight, measured):
    """Neither lengths, as far as numbers go, nor zero activations, which have no direction."""
    expected = ClassifierPrior.from_weight(weight, "mle", **measured).concentration
    activations, labels = measured["activations"].clone(), measured["labels"]
    activations[::2] *= 1e200
    activations[1::2] *= 1e-200
    activations, labels = torch.cat([activations, torch.zeros(7, M)]), torch.cat([labels, torch.ones(7).long()])
    prior = ClassifierPrior.from_weight(weight, "mle", activations=activations, labels=labels)
    torch.testing.assert_close(prior.concentration, expected, rtol=1e-12, atol=0)
    assert "1,200 activations (7 zero ones left out)" in prior.provenance.concentration


def test_many_activations_are_taken_in_parts(weight, measured, monkeypatch):
    whole = ClassifierPrior.from_weight(weight, "mle", **measured).concentration
    monkeypatch.setattr("priors.vmf.directions._NUMBERS", 7 * M)
    torch.testing.assert_close(ClassifierPrior.from_weight(weight, "mle", **measured).concentration, whole)


def test_close_to_the_weight_float64_is_not_lost():
    """kappa = 1e12: 1 - cos is about 2e-12, of which 1 - a cosine would keep four digits."""
    loc = torch.eye(3, M, dtype=torch.float64)
    draws = VonMisesFisher(loc, torch.full((3,), 1e12).double()).sample((2000,), torch.Generator().manual_seed(0))
    labels = torch.arange(3).expand(2000, 3).flatten()
    prior = ClassifierPrior.from_weight(loc, "mle", activations=draws.flatten(0, 1), labels=labels)
    expected = (M - 1) / (draws - loc).square().sum(-1).mean(0)  # of a Gaussian across the mean direction
    torch.testing.assert_close(prior.concentration, expected, rtol=1e-9, atol=0)


def test_activations_away_from_their_weight_have_concentration_0(weight):
    activations = torch.cat([weight, -weight[1:2], weight + 0.1])
    labels = torch.tensor([0, 1, 2, 1, 0, 1, 2])
    activations[1] = -weight[1]
    prior = ClassifierPrior.from_weight(weight, "mle", class_names=NAMES, activations=activations, labels=labels)
    assert prior.concentration[1] == 0 and bool((prior.concentration[[0, 2]] > 1).all())
    assert prior.provenance.concentration.endswith("0 where they point away from it on average: bee")
    pooled = ClassifierPrior.from_weight(weight, "mle-pooled", activations=-weight, labels=torch.arange(3))
    assert pooled.concentration.tolist() == [0, 0, 0] and "0 since they point away" in pooled.provenance.concentration


def spoiled(measured, rows, value):
    activations = measured["activations"].clone()
    activations[rows] = value
    return {**measured, "activations": activations}


@pytest.mark.parametrize("way", ["mle", "mle-pooled"])
@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda e: {}, "give activations .* and labels"),
        (lambda e: {"activations": e["activations"]}, "give activations .* and labels"),
        (lambda e: {"activation_norm": 3.0}, "give activations .* and labels"),
        (lambda e: {**e, "activations": e["activations"][:, :4]}, r"\(1200, 4\): \(N, 5\) was expected"),
        (lambda e: {**e, "labels": e["labels"] + 1}, "label 3 is out of range: the classes are 0 to 2"),
        (lambda e: {**e, "labels": e["labels"] - 1}, "label -1 is out of range"),
        (lambda e: spoiled(e, 4, math.nan), "activations of class 'bee' have values that are not finite"),
        (lambda e: spoiled(e, 5, math.inf), "activations of class 'cat' have values that are not finite"),
    ],
)
def test_what_cannot_be_measured_is_said_in_one_line(weight, measured, way, change, said):
    with pytest.raises(InputError, match=said) as error:
        ClassifierPrior.from_weight(weight, way, class_names=NAMES, **change(measured))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("labels", [torch.zeros(7).long(), torch.zeros(1200), torch.zeros(1200, 1).long()])
def test_labels_must_be_one_an_activation(weight, measured, labels):
    with pytest.raises(InputError, match=r"labels .*: (one class number for each was|class numbers were) expected"):
        class_directions(measured["activations"], labels, weight, NAMES)


def test_integers_are_no_activations():
    with pytest.raises(InputError, match="activations are torch.int64: floating-point numbers were expected"):
        require_activations(torch.ones(3, M, dtype=torch.int64), M)


def test_the_class_that_cannot_be_measured_is_named(weight, measured):
    def complaint(evidence, way="mle"):
        with pytest.raises(InputError) as error:
            ClassifierPrior.from_weight(weight, way, class_names=NAMES, **evidence)
        return str(error.value)

    kept = measured["labels"] != 1
    without = {name: values[kept] for name, values in measured.items()}
    assert "'mle' of class 'bee': there are no activations" in complaint(without)
    assert bool((ClassifierPrior.from_weight(weight, "mle-pooled", **without).concentration > 0).all())
    zero = spoiled(measured, measured["labels"] == 2, 0.0)
    assert "'mle' of class 'cat': activations are all zero" in complaint(zero)
    assert "activations of all classes are zero" in complaint(spoiled(measured, slice(None), 0.0), "mle-pooled")
    along = {"activations": torch.eye(3, M, dtype=torch.float64), "labels": torch.arange(3)}
    for values in (torch.eye(3, M).double(), torch.randn(3, M, generator=torch.Generator().manual_seed(2)).double()):
        for dtype in (torch.float64, torch.float32, torch.bfloat16):  # what rounding leaves differs, 1e-33 to 1e-6
            same = {"activations": (3.7 * values).to(dtype), "labels": torch.arange(3)}
            for way, which in (("mle", "'mle' of class 'ant'"), ("mle-pooled", "'mle-pooled'")):
                with pytest.raises(
                    InputError, match=f"{which}: all its activations lie along its direction, up to round"
                ):
                    ClassifierPrior.from_weight(values, way, class_names=NAMES, **same)
    # A little off, an angle of 1e-5 in every class: a concentration like any other, (m - 1) / 2 over 1 - cos.
    off = along["activations"] + 1e-5 * torch.eye(3, M).double().roll(1, 1)
    found = ClassifierPrior.from_weight(torch.eye(3, M).double(), "mle", activations=off, labels=torch.arange(3))
    torch.testing.assert_close(found.concentration, torch.full((3,), (M - 1) / 1e-10).double(), rtol=1e-6, atol=0)
