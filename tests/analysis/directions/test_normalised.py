"""Accuracy with norms taken out: a slow obvious count, and what normalising cannot change."""

import numpy as np
import pytest
import torch

from analysis.directions.normalised import NORMALISED, NORMALISED_WITH_BIAS, ORIGINAL, normalised_accuracy
from priors.errors import InputError


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
