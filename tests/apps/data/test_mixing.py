"""CutMix against torchvision's own, and which batch is mixed by what."""

from functools import partial

import pytest
import torch
import torch.nn.functional as F
from scipy import stats
from torchvision.transforms import v2

from apps.data.batches import Batch
from apps.data.mixing import Mixing, box_of, cut_box, mixing_for, mixup_weight


def batch_of(count=6):
    index = torch.arange(count)
    return Batch(torch.rand(count, 3, 7, 9, generator=torch.manual_seed(0)), index % 4, index, index * 0)


@pytest.mark.parametrize("own", [0.0, 0.13, 0.5, 0.97, 1.0])
def test_boxes_are_torchvisions(monkeypatch, own):
    cutmix = v2.CutMix(num_classes=4)
    images = torch.zeros(2, 3, 7, 9)
    for x in (0, 4, 8):
        for y in (0, 3, 6):
            at = iter((x, y))
            with monkeypatch.context() as patch:
                patch.setattr(cutmix, "_dist", type("Said", (), {"sample": lambda self, _: torch.tensor(own)})())
                patch.setattr(torch, "randint", lambda *_, size, at=at: torch.tensor([next(at)]))
                params = cutmix.make_params([images])
            assert box_of(own, x, y, 7, 9) == params["box"]


def test_a_batch_is_what_torchvision_makes_of_it(monkeypatch):
    batch, mixing = batch_of(), Mixing(("cutmix",), 1.0, 3)
    for step in range(5):
        found, box = mixing.of(batch, step), cut_box(3, step, 7, 9)
        share = 1 - (box[2] - box[0]) * (box[3] - box[1]) / 63
        cutmix = v2.CutMix(num_classes=4)
        params = {"box": box, "lam_adjusted": share}
        monkeypatch.setattr(cutmix, "make_params", lambda _, params=params: params)
        images, targets = cutmix(batch.images, batch.labels)
        assert torch.equal(found.images, images) and found.weight == pytest.approx(share)
        logits = torch.randn(6, 4, generator=torch.manual_seed(step))
        ours = found.mean(partial(F.cross_entropy, logits))
        torch.testing.assert_close(ours, F.cross_entropy(logits, targets))


def test_shares_of_boxes_are_uniform_where_nothing_is_cut_off():
    """A Kolmogorov-Smirnov test of lambda at 1e-3: of a large image, the area of boxes that lie within it."""
    side, shares = 10_001, []
    for step in range(1500):
        left, top, right, bottom = cut_box(0, step, side, side)
        if left > 0 and top > 0 and right < side and bottom < side:
            shares.append((right - left) * (bottom - top) / side**2)
    # A box of a share a lies within with probability (1 - sqrt(a))^2: the density is that, over its integral of 1/6.
    found = stats.kstest(shares, lambda a: 6 * (a - 4 / 3 * a**1.5 + a**2 / 2))
    assert len(shares) > 100 and found.pvalue > 1e-3


def test_of_two_each_is_drawn_as_often_and_alphas_are_said():
    both = mixing_for("crop+mixup+cutmix", None, 0)
    kinds = [both.kind(step) for step in range(400)]
    assert stats.binomtest(kinds.count("mixup"), 400).pvalue > 1e-3 and kinds == [both.kind(s) for s in range(400)]
    assert mixing_for("flip", None, 0) is None
    assert mixing_for("mixup", None, 0) == mixing_for("none", 1.0, 0) == Mixing(("mixup",), 1.0, 0)
    assert mixing_for("mixup", 0.2, 0) == mixing_for("flip", 0.2, 0)
    assert mixing_for("mixup", None, 4).of(batch_of(), 2).weight == mixup_weight(1.0, 4, 2)
