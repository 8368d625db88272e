"""Accuracy with norms taken out: a slow obvious count, and what normalising cannot change."""

import numpy as np
import pytest
import torch

from analysis.directions.normalised import (
    NORMALISED,
    NORMALISED_WITH_BIAS,
    ORIGINAL,
    head_in,
    normalised_accuracy,
    together,
)
from priors import ClassifierPrior
from priors.errors import InputError
from priors.gauge.gauge import Gauge
from priors.gauge.space import Space


def drawn(seed: int = 0, n: int = 400, m: int = 6, classes: int = 5):
    """Activations around random directions, with norms and biases that matter."""
    stream = torch.Generator().manual_seed(seed)
    weight = torch.randn(classes, m, generator=stream) * torch.linspace(0.5, 2, classes).unsqueeze(1)
    bias = torch.randn(classes, generator=stream)
    labels = torch.randint(classes, (n,), generator=stream)
    activations = weight[labels] + torch.randn(n, m, generator=stream)
    return activations * torch.rand(n, 1, generator=stream).add(0.2), labels, weight, bias


def counted(activations, labels, weight, bias, activation_norm, weight_norm) -> int:
    """Right answers, image by image and class by class; a norm of None leaves vectors as they are."""
    correct = 0
    for a, label in zip(activations.double().numpy(), labels.tolist(), strict=True):
        a = a if activation_norm is None else a / np.sqrt((a * a).sum()) * activation_norm
        logits = []
        for w, b in zip(weight.double().numpy(), bias.double().numpy(), strict=True):
            w = w if weight_norm is None else w / np.sqrt((w * w).sum()) * weight_norm
            logits.append(sum(x * y for x, y in zip(a, w, strict=True)) + b)
        correct += int(np.argmax(logits)) == label
    return correct


def test_every_variant_is_what_it_says():
    activations, labels, weight, bias = drawn()
    found = normalised_accuracy(activations, labels, weight, bias)
    lengths = {
        "own": (None, None),
        "mean": (float(activations.norm(dim=1).mean()), float(weight.norm(dim=1).mean())),
        "unit": (1.0, 1.0),
    }
    assert len(found.variants) == len({variant.name for variant in found.variants}) == 9
    for variant in found.variants:
        a, w = lengths[variant.activations][0], lengths[variant.weights][1]
        slow = counted(activations, labels, weight, bias if variant.bias else 0 * bias, a, w)
        assert variant.correct == slow and variant.accuracy == slow / len(labels), variant.name
        assert variant.drop_rate == pytest.approx(100 * (slow - found.variants[0].correct) / found.variants[0].correct)
    assert len({variant.correct for variant in found.variants}) >= 5, "the variants differ on these activations"
    assert found.activation_norm == pytest.approx(np.linalg.norm(activations.numpy(), axis=1).mean())
    norms = np.linalg.norm(weight.numpy(), axis=1)
    assert found.weight_spread == pytest.approx(norms.std() / norms.mean())


def test_norms_of_activations_change_no_ranking_without_a_bias():
    activations, labels, weight, _ = drawn(1)
    found = normalised_accuracy(activations, labels, weight)
    assert [variant.name for variant in found.variants] == [
        ORIGINAL,
        "activations normalised, bias dropped",
        "weights normalised, bias dropped",
        NORMALISED,
    ]
    assert found["activations normalised, bias dropped"].correct == found[ORIGINAL].correct
    assert found["weights normalised, bias dropped"].correct == found[NORMALISED].correct
    assert found[NORMALISED].correct != found[ORIGINAL].correct
    other = normalised_accuracy(100 * activations, labels, weight)
    assert [variant.correct for variant in other.variants] == [variant.correct for variant in found.variants]


def test_nothing_is_lost_where_norms_are_equal():
    activations, labels, weight, bias = drawn(2)
    activations = 3 * torch.nn.functional.normalize(activations, dim=1)
    weight = 2 * torch.nn.functional.normalize(weight, dim=1)
    found = normalised_accuracy(activations.double(), labels, weight.double(), bias.double())
    assert found[NORMALISED_WITH_BIAS].correct == found[ORIGINAL].correct
    assert found.weight_spread == pytest.approx(0, abs=1e-6) and found[NORMALISED_WITH_BIAS].drop_rate == 0


def test_one_thing_has_no_spread():
    activations, labels, weight, _ = drawn(4)
    one = normalised_accuracy(activations[:1], labels[:1], weight)
    assert one.activation_spread is None and one.weight_spread > 0
    assert normalised_accuracy(activations, 0 * labels, weight[:1]).weight_spread is None


def test_many_rows_are_as_few():
    activations, labels, weight, bias = drawn(3, n=300)
    few = normalised_accuracy(activations, labels, weight, bias)
    many = normalised_accuracy(activations.repeat(20, 1), labels.repeat(20), weight, bias)
    assert [variant.correct * 20 for variant in few.variants] == [variant.correct for variant in many.variants]


def test_zero_activations_stay_zero():
    activations, labels, weight, _ = drawn(4)
    activations[:7], labels[:7] = 0, 0
    found = normalised_accuracy(activations, labels, weight)
    rest = normalised_accuracy(activations[7:], labels[7:], weight)
    assert found.zero == 7 and rest.zero == 0
    assert found[NORMALISED].correct == rest[NORMALISED].correct + 7, "no logit is larger than the first"


def in_double(seed: int, **given):
    activations, labels, weight, bias = drawn(seed, **given)
    return activations.double() + 1, labels, weight.double(), bias.double()


def gauge_of(space: str, directions: str) -> Gauge:
    """As measured on other images of the same classes."""
    activations, labels, weight, bias = in_double(6, n=500)
    weight = in_double(5)[2]
    evidence = {"activations": activations, "labels": labels}
    kappa = "fitted" if directions == "fitted" else 1.0
    return ClassifierPrior.from_weight(weight, kappa, bias, space=space, directions=directions, **evidence).gauge


def by_numpy(activations, weight, bias, gauge):
    """Activations, rows and biases in a gauge that is tied to the weights, but for a common vector of the rows."""
    a, w, b = activations.numpy(), weight.numpy(), bias.numpy()
    if gauge.centre is not None:
        centre = gauge.centre.numpy()
        a, b = a - centre, b + w @ centre
    if gauge.factor is not None:
        factor = gauge.factor.numpy()
        a, w = np.linalg.solve(factor, a.T).T, w @ factor
    shift = {"weights": 0, "centred": -w.mean(0)}.get(gauge.directions)
    return a, w + (gauge.shift.numpy() / float(gauge.scale) if shift is None else shift), b


@pytest.mark.parametrize("space", ["raw", "centred", "whitened"])
@pytest.mark.parametrize("directions", ["weights", "centred", "fitted"])
def test_norms_are_taken_out_in_the_gauge(space, directions):
    activations, labels, weight, bias = in_double(5)
    gauge = gauge_of(space, directions)
    a, w, b = by_numpy(activations, weight, bias, gauge)
    own, there = activations @ weight.T + bias, a @ w.T + b
    difference = torch.from_numpy(there).log_softmax(1) - own.log_softmax(1)
    assert float(difference.abs().max()) < 1e-12, "the same probabilities before norms are taken out"
    head = head_in(gauge, weight, bias)
    assert np.allclose(head.weight, w, rtol=0, atol=1e-13) and np.allclose(head.bias, b, rtol=0, atol=1e-13)

    found = normalised_accuracy(activations, labels, weight, bias, gauge)
    assert torch.equal(found[ORIGINAL].right, own.argmax(1) == labels)
    lengths, widths = np.linalg.norm(a, axis=1, keepdims=True), np.linalg.norm(w, axis=1)
    cosines = (a / lengths) @ (w / widths[:, None]).T
    assert np.array_equal(found[NORMALISED].right, cosines.argmax(1) == labels.numpy())
    kept = (cosines * lengths.mean() * widths.mean() + b).argmax(1) == labels.numpy()
    assert np.array_equal(found[NORMALISED_WITH_BIAS].right, kept)
    assert found["bias dropped"].correct == ((a @ w.T).argmax(1) == labels.numpy()).sum()
    assert found.activation_norm == pytest.approx(lengths.mean()) and found.weight_norm == pytest.approx(widths.mean())
    if (space, directions) == ("raw", "weights"):
        assert found == normalised_accuracy(activations, labels, weight, bias)


def test_gauges_differ_on_these_activations():
    given = in_double(5)
    gauges = [gauge_of(space, directions) for space in ("raw", "whitened") for directions in ("weights", "fitted")]
    assert len({normalised_accuracy(*given, gauge)[NORMALISED].correct for gauge in gauges}) == 4


@pytest.mark.parametrize("space", ["raw", "whitened"])
def test_class_means_are_looked_at_by_cosines_alone(space):
    activations, labels, weight, bias = in_double(5)
    gauge = gauge_of(space, "means")
    a = by_numpy(activations, weight, bias, gauge_of(space, "weights"))[0]
    means = gauge.means.numpy()
    cosines = a @ (means / np.linalg.norm(means, axis=1, keepdims=True)).T
    found = normalised_accuracy(activations, labels, weight, bias, gauge)
    assert [variant.name for variant in found.variants] == [ORIGINAL, NORMALISED]
    assert found[NORMALISED].correct == (cosines.argmax(1) == labels.numpy()).sum()


def test_parts_make_a_whole():
    activations, labels, weight, bias = in_double(5)
    gauge = gauge_of("whitened", "fitted")
    whole = normalised_accuracy(activations, labels, weight, bias, gauge)
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))
    parts = [
        (places, normalised_accuracy(activations[places], labels[places], weight, bias, gauge))
        for places in order.split(150)
    ]
    found = together(parts)
    assert found.images == whole.images
    for one, other in zip(found.variants, whole.variants, strict=True):
        if "mean" in (one.activations, one.weights) and one.bias:
            continue  # the mean norm of a part is not that of all
        assert one == other and torch.equal(one.right, other.right)
    for name in ("activation_norm", "activation_spread", "weight_norm", "weight_spread"):
        assert getattr(found, name) == pytest.approx(getattr(whole, name)), name


def test_gauges_that_cannot_be_are_one_line():
    activations, labels, weight, bias = in_double(5)
    none = Gauge(directions="fitted", scale=torch.zeros(()), shift=torch.ones(6))
    with pytest.raises(InputError, match="the fitted directions are the same for all classes"):
        normalised_accuracy(activations, labels, weight, bias, none)
    with pytest.raises(InputError, match="not of the weight's 6 dimensions"):
        normalised_accuracy(activations, labels, weight, bias, Gauge(Space("centred", torch.zeros(5))))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda a, y, w, b: (a[:0], y[:0], w, b), "N at least 1"),
        (lambda a, y, w, b: (a, y + 1, w, b), "label 5 is out of range: the classes are 0 to 4"),
        (lambda a, y, w, b: (a, y - 1, w, b), "label -1"),
        (lambda a, y, w, b: (a / 0, y, w, b), "activations have values that are not finite"),
        (lambda a, y, w, b: (a, y, w / 0, b), "weights have"),
        (lambda a, y, w, b: (0 * a, y, w, b), "all 400 activations are zero"),
        (lambda a, y, w, b: (a, y, w * (torch.arange(5) != 2).unsqueeze(1), b), "weight of class 2 is zero"),
    ],
)
def test_what_cannot_be_classified_is_one_line(change, said):
    with pytest.raises(InputError, match=said):
        normalised_accuracy(*change(*drawn()))
