"""Priors in every gauge: what a softmax does not tell apart stays as it was, and what is stored comes back."""

import itertools
import json

import numpy as np
import pytest
import torch
from scipy import special
from torch.nn.functional import linear, normalize

from priors import ClassifierPrior, InputError, VonMisesFisher
from priors.files.tensors import read_tensors, write_tensors
from priors.gauge.moments import ActivationMoments, DirectionMoments
from priors.gauge.space import Space, fit_space

SPACES = ("raw", "centred", "whitened")
DIRECTIONS = ("weights", "centred", "fitted", "means")
GAUGES = list(itertools.product(SPACES, DIRECTIONS))
NAMES = ("ant", "bee", "cat", "dog")
M = 6
LABELS = torch.arange(8) % 4


@pytest.fixture(scope="module")
def head():
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(4, M, generator=generator, dtype=torch.float64)
    return weight, torch.randn(4, generator=generator, dtype=torch.float64)


@pytest.fixture(scope="module")
def measured(head):
    """Activations that the weights describe up to a common vector, stretched and moved."""
    generator = torch.Generator().manual_seed(1)
    labels = torch.arange(2000) % 4
    stretch = torch.diag(torch.linspace(0.5, 2, M, dtype=torch.float64))
    spread = 0.5 * torch.randn(2000, M, generator=generator, dtype=torch.float64) @ stretch
    return {"activations": 2 * head[0][labels] + 1.5 + spread, "labels": labels}


def made(head, measured, space, directions, concentration=None, **given):
    concentration = concentration or ("fitted" if directions == "fitted" else "mle")
    return ClassifierPrior.from_weight(
        head[0], concentration, head[1], NAMES, space=space, directions=directions, **measured, **given
    )


@pytest.mark.parametrize(("space", "directions"), [gauge for gauge in GAUGES if gauge[1] != "means"])
def test_the_classifiers_own_posterior_is_that_of_every_gauge(head, measured, space, directions):
    """softmax(v_i . T (a - a0) + b_i + w_i . a0) with the gauge's rows over their scale, to rounding."""
    prior = made(head, measured, space, directions)
    rows = prior.gauge.rows(prior.weight) / (prior.gauge.scale if directions == "fitted" else 1)
    activations = measured["activations"]
    there = linear(prior.space.bring(activations), rows, prior.space.bias(*head))
    own = linear(activations, *head).softmax(-1)
    assert torch.allclose(there.softmax(-1), own, rtol=0, atol=1e-12)


@pytest.mark.parametrize("space", SPACES)
def test_the_posterior_of_fitted_directions_is_the_softmax_at_one_norm(head, measured, space):
    prior = made(head, measured, space, "fitted")
    there = prior.space.bring(measured["activations"])
    activations = prior.space.back(prior.gauge.scale * normalize(there, dim=1))
    own = linear(activations, *head).softmax(-1)
    assert torch.allclose(prior.posterior(activations, class_prior="head"), own, atol=1e-10)
    assert not torch.allclose(prior.posterior(activations), own, atol=1e-3), "of classes equally likely beforehand"


def test_the_papers_posterior_is_the_softmax_at_the_mean_norm(head):
    prior = ClassifierPrior.from_weight(head[0], "norms", head[1], activation_norm=3.0)
    activations = 3 * normalize(torch.randn(50, M, generator=torch.Generator().manual_seed(2)).double(), dim=1)
    own = linear(activations, *head).softmax(-1)
    assert torch.allclose(prior.posterior(activations, class_prior="head"), own, atol=1e-10)
    without = ClassifierPrior.from_weight(head[0], "norms", activation_norm=3.0)
    own = linear(activations, head[0]).softmax(-1)
    assert torch.allclose(without.posterior(activations, class_prior="head"), own, atol=1e-10)
    with pytest.raises(InputError, match="unknown class prior 'haed': did you mean 'head'"):
        prior.posterior(activations, class_prior="haed")


@pytest.mark.parametrize(("space", "directions"), GAUGES)
def test_densities_are_those_of_directions_in_the_space(head, measured, space, directions):
    """By SciPy's Bessel functions, on activations whitened by NumPy."""
    prior = made(head, measured, space, directions, concentration=[5.0, 10.0, 20.0, 40.0])
    activations, labels = measured["activations"].numpy(), measured["labels"].numpy()
    if space != "raw":
        activations = activations - activations.mean(0)
    if space == "whitened":
        within = np.concatenate([activations[labels == i] - activations[labels == i].mean(0) for i in range(4)])
        covariance = within.T @ within / (len(within) - 4)
        mean = np.trace(covariance) / M
        covariance = (1 - prior.space.shrinkage) * covariance + prior.space.shrinkage * mean * np.eye(M)
        factor = np.linalg.cholesky(covariance)
        activations = np.linalg.solve(factor, activations.T).T
        rows = head[0].numpy() @ factor
    else:
        rows = head[0].numpy()
    units = activations / np.linalg.norm(activations, axis=1, keepdims=True)
    if directions == "centred":
        rows = rows - rows.mean(0)
    elif directions == "means":
        rows = np.stack([units[labels == i].mean(0) for i in range(4)])
    elif directions == "fitted":
        rows = float(prior.gauge.scale) * rows + prior.gauge.shift.numpy()
    loc = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    kappa, order = prior.concentration.numpy(), M / 2 - 1
    constant = order * np.log(kappa) - M / 2 * np.log(2 * np.pi) - np.log(special.ive(order, kappa)) - kappa
    expected = kappa * (units @ loc.T) + constant
    assert np.allclose(prior.log_prob(measured["activations"]), expected, atol=1e-10)
    assert np.allclose(prior.loc, loc, atol=1e-12)
    lengths = np.linalg.norm(activations, axis=1)
    assert np.allclose(prior.norm, [lengths[labels == i].mean() for i in range(4)])


def test_fitted_and_means_point_where_activations_do(head, measured):
    """The order of the trial that this was made for: weights, then fitted, then means, in mean cosine."""
    labels = measured["labels"]

    def mean_cosine(directions):
        prior = made(head, measured, "raw", directions)
        return float((normalize(measured["activations"], dim=1) * prior.loc[labels]).sum(1).mean())

    weights, fitted, means = map(mean_cosine, ("weights", "fitted", "means"))
    assert weights + 0.05 < fitted <= means + 1e-12


@pytest.mark.parametrize(("space", "directions"), GAUGES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_prior_comes_back_from_its_file(tmp_path, head, measured, space, directions, dtype):
    prior = made((head[0].to(dtype), head[1].to(dtype)), measured, space, directions)
    prior.save(tmp_path / "prior.safetensors")
    again = ClassifierPrior.load(tmp_path / "prior.safetensors")
    assert repr(again) == repr(prior) and again.provenance == prior.provenance
    assert torch.equal(again.loc, prior.loc) and torch.equal(again.norm, prior.norm)
    for (name, one), (other_name, other) in zip(prior.named_buffers(), again.named_buffers(), strict=True):
        assert name == other_name and one.dtype == other.dtype and torch.equal(one, other)
    assert again.space.shrinkage == prior.space.shrinkage
    drawn = again.activations(["bee", "ant"], torch.Generator().manual_seed(0))
    assert torch.equal(drawn, prior.activations([1, 0], torch.Generator().manual_seed(0)))
    assert torch.equal(again.log_prob(drawn), prior.log_prob(drawn))


def test_a_prior_of_before_has_the_papers_gauge(tmp_path, head):
    path = tmp_path / "prior.safetensors"
    provenance = {"network": "wrn-16-2", "dataset": "cifar10", "concentration": "one a class, given"}
    tensors = {"weight": head[0], "bias": head[1], "concentration": torch.full((4,), 20.0, dtype=torch.float64)}
    metadata = {
        "format": "penult prior 1", "class_names": json.dumps(NAMES), "provenance": json.dumps(provenance)
    }  # fmt: skip
    write_tensors(path, tensors, metadata)
    prior = ClassifierPrior.load(path)
    assert prior.gauge.is_the_papers and prior.norm is None
    assert torch.allclose(prior.loc, normalize(head[0], dim=1), atol=1e-15)


@pytest.mark.parametrize(
    ("tensors", "metadata", "said"),
    [
        ({}, {"space": "white"}, "directions 'fitted' in the space 'white'"),
        ({"gauge.means": torch.ones(4, M).double()}, {}, "a gauge of centre, factor, means, scale, shift, not of"),
        ({}, {"directions": "weights"}, "not of centre, factor"),
        ({"gauge.shift": torch.ones(M + 1).double()}, {}, r"shift is torch.float64 of shape \(7,\)"),
        ({"gauge.centre": torch.ones(M)}, {}, "centre is torch.float32"),
        ({"gauge.factor": torch.ones(M, M).double()}, {}, "not lower-triangular"),
        ({"gauge.factor": -torch.eye(M).double()}, {}, "positive diagonal"),
        ({"norm": torch.zeros(4).double()}, {}, "a positive number a class"),
        ({"norm": torch.ones(3).double()}, {}, "a positive number a class"),
        ({}, {"shrinkage": "much"}, "could not convert"),
    ],
    ids=lambda value: "".join(value) if isinstance(value, dict) else "",
)
def test_a_gauge_that_does_not_fit_is_said(tmp_path, head, measured, tensors, metadata, said):
    path = tmp_path / "prior.safetensors"
    made(head, measured, "whitened", "fitted").save(path)
    own, told = read_tensors(path)
    write_tensors(path, own | tensors, told | metadata)
    with pytest.raises(InputError, match=f"holds no prior that can be used: .*{said}"):
        ClassifierPrior.load(path)


@pytest.mark.parametrize(("space", "directions"), GAUGES)
def test_moments_of_a_sweep_are_as_good_as_the_activations(head, measured, space, directions):
    activations, labels = measured["activations"], measured["labels"]
    moments, seen = ActivationMoments.none(4, M), DirectionMoments.none(4, M)
    for rows, own in zip(activations.split(300), labels.split(300), strict=True):
        moments = moments.add(rows, own)
    found = fit_space(space, moments, NAMES)
    for rows, own in zip(activations.split(300), labels.split(300), strict=True):
        seen = seen.add(found.bring(rows), own)
    expected = made(head, measured, space, directions)
    concentration = "fitted" if directions == "fitted" else "mle"
    prior = ClassifierPrior.from_weight(
        head[0], concentration, head[1], NAMES, space=found, directions=directions, moments=seen
    )
    assert prior.provenance == expected.provenance
    for one, other in zip(prior.buffers(), expected.buffers(), strict=True):
        assert torch.allclose(one, other, rtol=1e-9, atol=1e-12)
    pooled = prior.with_concentration("mle-pooled", moments=seen)
    assert torch.allclose(
        pooled.concentration, expected.with_concentration("mle-pooled", **measured).concentration, rtol=1e-9
    )
    if directions in ("weights", "centred"):
        norms = prior.with_concentration("norms", moments=seen).concentration
        assert torch.allclose(norms, expected.with_concentration("norms", **measured).concentration, rtol=1e-9)


@pytest.mark.parametrize("space", SPACES)
def test_draws_come_back_as_activations_of_the_measured_norm(head, measured, space):
    """In the prior's space they have the class's mean norm and its mean direction, within 5 standard errors."""
    prior = made(head, measured, space, "means")
    labels = torch.full((4000,), 2)
    drawn = prior.activations(labels, torch.Generator().manual_seed(3))
    there = prior.space.bring(drawn)
    assert torch.allclose(there.norm(dim=1), prior.norm[2].expand(4000), rtol=1e-10)
    cosines = normalize(there, dim=1) @ prior.loc[2]
    error = float(cosines.std()) / 4000**0.5
    assert abs(float(cosines.mean() - prior["cat"].mean_resultant_length)) < 5 * error
    twice = prior.activations(labels, torch.Generator().manual_seed(3), norm=2 * float(prior.norm[2]))
    assert torch.allclose(prior.space.bring(twice), 2 * there)


def test_soft_labels_of_the_head_are_at_the_classes_own_norms(head, measured):
    """E softmax(W a + b) over `activations`, by a plain loop."""
    prior = made(head, measured, "whitened", "fitted")
    found = prior.class_posterior(20_000, logits="head", temperature=4.0)
    for label in range(4):
        drawn = prior.activations(torch.full((20_000,), label), torch.Generator().manual_seed(4))
        expected = (linear(drawn, *head) / 4).softmax(-1).mean(0)
        error = found.standard_error[label] * 2**0.5
        assert bool(((found.table[label] - expected).abs() < 5 * error).all())
    one = prior.class_posterior(200, logits="head", norm=3.0)
    assert not torch.allclose(one.table, prior.class_posterior(200, logits="head").table)


def test_moving_a_prior_moves_its_gauge(head, measured):
    prior = made(head, measured, "whitened", "fitted").float()
    assert {buffer.dtype for buffer in prior.buffers()} == {torch.float32}
    assert torch.allclose(prior.loc.norm(dim=1), torch.ones(4))
    again = made(head, measured, "whitened", "fitted", concentration=3.0)
    again.load_state_dict(prior.double().state_dict())
    assert torch.equal(again.loc, prior.loc)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"space": "whitened"}, "the space 'whitened' is measured on activations by class: give activations"),
        ({"space": "centred"}, "the space 'centred' is measured on activations by class"),
        ({"directions": "fitted"}, "'fitted' directions are measured on activations by class"),
        ({"directions": "means"}, "'means' directions are measured on activations by class"),
        ({"directions": "mean"}, "unknown directions 'mean': did you mean 'means'"),
        ({"space": "white"}, "unknown space 'white'"),
        ({"concentration": "fitted"}, "'fitted' is for fitted directions, not for weights"),
        ({"space": Space("centred", torch.ones(5))}, "centre of the space is of 5 dimensions, and the weight of 6"),
        (
            {"space": Space("centred", torch.ones(6)), "activations": torch.ones(8, 5), "labels": LABELS},
            r"activations have shape \(8, 5\)",
        ),
        ({"space": "centred", "moments": DirectionMoments.none(4, M)}, "they are of one space already"),
        ({"directions": "means", "moments": DirectionMoments.none(4, M)}, "class 'ant': there are no activations"),
        ({"directions": "means", "moments": DirectionMoments.none(4, 5)}, "4 classes in 5 dimensions: 4 classes in 6"),
        ({"directions": "fitted", "moments": DirectionMoments.none(4, M)}, "0 have images"),
    ],
    ids=lambda value: "" if isinstance(value, str) else " ".join(map(str, list(value)[:2])),
)
def test_what_cannot_be_is_said(head, given, said):
    with pytest.raises(InputError, match=said):
        ClassifierPrior.from_weight(head[0], **({"concentration": 20.0, "class_names": NAMES} | given))


@pytest.mark.parametrize("directions", ["fitted", "means"])
def test_norms_are_of_weights(head, measured, directions):
    with pytest.raises(InputError, match=f"'norms' is for weights or centred directions, not for {directions}"):
        made(head, measured, "raw", directions, concentration="norms")


def test_activations_need_norms(head):
    prior = ClassifierPrior.from_weight(head[0], 20.0)
    with pytest.raises(InputError, match="norms of the activations were not measured"):
        prior.activations([0])
    assert prior.activations([0], norm=5.0).norm() == pytest.approx(5)


def test_directions_that_are_gone_are_said():
    """Rows that are all the same have none once their mean is taken away."""
    with pytest.raises(InputError, match="weight less the mean of all weights of class '0' is zero"):
        ClassifierPrior.from_weight(torch.ones(3, 4), 20.0, directions="centred")


def test_drawn_from_fitted_directions_the_gauge_is_found_again(head):
    """Activations of the model itself: s and c within 2 % for 20,000 draws a class."""
    eta = 4 * head[0] + 2
    kappa = eta.norm(dim=1)
    draws = VonMisesFisher(eta / kappa[:, None], kappa).sample(20_000, torch.Generator().manual_seed(5))
    labels = torch.arange(4).expand(20_000, 4)
    prior = ClassifierPrior.from_weight(
        head[0], "fitted", directions="fitted", activations=7 * draws.reshape(-1, M), labels=labels.reshape(-1)
    )
    assert float(prior.gauge.scale) == pytest.approx(4, rel=0.02)
    assert torch.allclose(prior.gauge.shift, torch.full((M,), 2.0).double(), rtol=0.03)
    assert torch.allclose(prior.concentration, kappa, rtol=0.02) and torch.allclose(
        prior.norm, prior.norm.new_tensor(7)
    )


def test_a_generators_prior_keeps_the_sphere_alone(head, measured):
    prior = made(head, measured, "whitened", "fitted")
    kept = prior.on_its_sphere()
    assert kept.gauge.is_the_papers and kept.norm is None and kept.provenance.gauge == "whitened, fitted"
    assert torch.allclose(kept.loc, prior.loc, atol=1e-15) and torch.equal(kept.concentration, prior.concentration)
    assert {name for name, _ in kept.named_buffers()} == {"weight", "bias", "concentration", "loc"}
    papers = ClassifierPrior.from_weight(head[0], 20.0)
    assert torch.equal(papers.on_its_sphere().loc, papers.loc)
