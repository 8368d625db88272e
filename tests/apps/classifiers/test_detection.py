"""AUROC and FPR95 by their definitions: pairs counted, thresholds tried one by one."""

import pytest
import torch
from sklearn.metrics import roc_curve

from apps.classifiers.anomaly.detection import detection
from priors.errors import InputError


@pytest.mark.parametrize("levels", [1000, 7])
def test_pairs_are_counted_and_thresholds_tried(levels):
    """With few levels there are ties, which count half."""
    stream = torch.Generator().manual_seed(0)
    inside = (torch.randn(90, generator=stream) + 1).mul(levels / 10).round()
    outside = torch.randn(70, generator=stream).mul(levels / 10).round()
    pairs = [(a > b) + 0.5 * (a == b) for a in inside.tolist() for b in outside.tolist()]
    found = detection(inside, outside)
    assert found.auroc == pytest.approx(sum(pairs) / len(pairs))
    thresholds = sorted({*inside.tolist(), *outside.tolist()})
    passing = [at for at in thresholds if (inside >= at).double().mean() >= 0.95]
    assert found.fpr95 == pytest.approx(float((outside >= max(passing)).double().mean()))


@pytest.mark.parametrize(
    ("inside", "outside", "passing"),
    [
        (torch.arange(20.0), torch.arange(20.0), 0.95),
        (torch.zeros(7), torch.zeros(5), 1.0),
        (torch.arange(300.0) % 100, torch.arange(200.0) % 100, None),
        (torch.arange(1000.0) % 3, torch.arange(100.0) % 5, None),
    ],
)
def test_ties_lose_no_threshold(inside, outside, passing):
    """By all points of scikit-learn's curve, and by counting."""
    found = detection(inside, outside)
    labels = [1] * len(inside) + [0] * len(outside)
    false, true, _ = roc_curve(labels, torch.cat([inside, outside]).numpy(), drop_intermediate=False)
    assert found.fpr95 == pytest.approx(false[true >= 0.95].min())
    at = max(value for value in inside.tolist() if 100 * int((inside >= value).sum()) >= 95 * len(inside))
    assert found.fpr95 == pytest.approx(int((outside >= at).sum()) / len(outside))
    assert passing is None or found.fpr95 == pytest.approx(passing)


def test_sets_that_are_apart():
    apart = detection(torch.arange(10.0) + 100, torch.arange(10.0))
    assert (apart.auroc, apart.fpr95) == (1, 0)
    assert detection(torch.arange(10.0), torch.arange(10.0) + 100).auroc == 0


def test_scores_are_finite():
    with pytest.raises(InputError, match="1 scores are not finite"):
        detection(torch.tensor([0.0, torch.nan]), torch.zeros(3))
