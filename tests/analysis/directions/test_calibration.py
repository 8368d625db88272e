"""Calibration: a slow loop over images and bins, scikit-learn's likelihood, and cases known by hand."""

import math

import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score, log_loss

from analysis.directions.calibration import calibration
from priors.errors import InputError


def probabilities(seed: int = 0, n: int = 700, classes: int = 6):
    stream = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(n, classes, generator=stream, dtype=torch.float64)
    labels = torch.where(
        torch.rand(n, generator=stream) < 0.5, logits.argmax(1), torch.randint(classes, (n,), generator=stream)
    )
    return logits.log_softmax(1), labels


@pytest.mark.parametrize("bins", [1, 7, 15])
def test_a_slow_loop_agrees(bins):
    log_p, labels = probabilities()
    found = calibration(log_p, labels, bins)
    p = log_p.exp().numpy()
    ece, counts = 0.0, []
    for number in range(bins):
        inside = [row for row in range(len(p)) if number / bins < p[row].max() <= (number + 1) / bins]
        counts.append(len(inside))
        if inside:
            right = np.mean([p[row].argmax() == labels[row].item() for row in inside])
            believed = np.mean([p[row].max() for row in inside])
            ece += len(inside) / len(p) * abs(right - believed)
            assert found.accuracies[number].item() == pytest.approx(right)
            assert found.confidences[number].item() == pytest.approx(believed)
        else:
            assert math.isnan(found.accuracies[number]) and math.isnan(found.confidences[number])
    assert found.counts.tolist() == counts and found.ece == pytest.approx(ece)
    assert found.nll == pytest.approx(log_loss(labels.numpy(), p))
    assert found.accuracy == accuracy_score(labels.numpy(), p.argmax(1)) and found.images == len(p)


def test_half_right_and_sure_of_it_is_half_wrong():
    log_p = torch.tensor([[0.0, -torch.inf], [0.0, -torch.inf], [0.0, -torch.inf], [-torch.inf, 0.0]])
    found = calibration(log_p[:2], torch.tensor([0, 1]))
    assert found.ece == 0.5 and found.nll == math.inf and found.counts.tolist() == 14 * [0] + [2]
    assert calibration(log_p, torch.tensor([0, 0, 0, 1])).ece == 0


def test_calibrated_answers_are_found_calibrated():
    """Labels drawn from the probabilities: what is left is sampling noise, about sqrt(15 / 20,000) / 2 = .014."""
    stream = torch.Generator().manual_seed(1)
    log_p = (2 * torch.randn(20_000, 4, generator=stream, dtype=torch.float64)).log_softmax(1)
    labels = torch.multinomial(log_p.exp(), 1, generator=stream).squeeze(1)
    assert calibration(log_p, labels).ece < 0.02
    assert calibration((3 * log_p).log_softmax(1), labels).ece > 0.1, "too sure"


def test_a_confidence_on_an_edge_belongs_below():
    log_p = torch.tensor([[0.6, 0.4], [0.8, 0.2]], dtype=torch.float64).log()
    assert calibration(log_p, torch.tensor([0, 0]), 5).counts.tolist() == [0, 0, 1, 1, 0]


@pytest.mark.parametrize(
    ("log_p", "labels", "bins", "said"),
    [
        (torch.zeros(2, 1), [0, 1], 15, "label 1 is out of range"),
        (torch.zeros(2, 1), [0, -1], 15, "label -1"),
        (torch.zeros(0, 1), [], 15, "0 labels"),
        (torch.zeros(2, 3), [0, 1], 15, "no log-probabilities"),
        (torch.full((2, 3), torch.nan), [0, 1], 15, "no log-probabilities"),
        (torch.zeros(2, 1), [0, 0], 0, "bins is 0"),
    ],
)
def test_what_cannot_be_compared_is_one_line(log_p, labels, bins, said):
    with pytest.raises(InputError, match=said):
        calibration(log_p, torch.tensor(labels, dtype=torch.long), bins)
