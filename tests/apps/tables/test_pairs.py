"""Comparisons in pairs, beside SciPy's own and beside all ways that coins can fall."""

from itertools import product

import numpy as np
import pytest
import torch
from scipy import stats

from apps.tables.pairs import over_images, over_seeds


def test_seeds_are_compared_by_student_s_t():
    stream = np.random.default_rng(0)
    ours, theirs = stream.normal(1, 1, 5), stream.normal(0, 1, 5)
    found = over_seeds(dict(enumerate(ours)), dict(enumerate(theirs)) | {9: 100.0})
    expected = stats.ttest_rel(ours, theirs)
    assert found.p == pytest.approx(expected.pvalue) and found.difference == pytest.approx((ours - theirs).mean())
    assert found.difference / found.error == pytest.approx(expected.statistic)
    assert (found.pairs, found.test) == (5, "t, 4 df")


def test_one_pair_and_equal_differences_are_no_test():
    one = over_seeds({3: 2.0}, {3: 0.5, 4: 1.0})
    assert (one.difference, one.error, one.test, one.p) == (1.5, None, "", None)
    same = over_seeds({0: 2.0, 1: 3.0}, {0: 1.0, 1: 2.0})
    assert (same.difference, same.error, same.p) == (1.0, 0.0, None)
    rounded = over_seeds({0: 0.9, 1: 0.7}, {0: 0.8, 1: 0.6})
    assert rounded.difference == pytest.approx(0.1) and rounded.p is None
    assert over_seeds({0: 1.0}, {1: 1.0}) is None


def test_right_and_wrong_images_are_compared_by_mcnemar():
    """Of 9 images that the two judge otherwise 7 are right by the first: the share of all 2^9 ways as uneven."""
    ours = torch.tensor([1] * 7 + [0] * 2 + [1] * 11 + [0] * 4)
    theirs = torch.tensor([0] * 7 + [1] * 2 + [1] * 11 + [0] * 4)
    found = over_images([ours], [theirs])
    ways = [sum(way) for way in product((0, 1), repeat=9)]
    assert found.p == pytest.approx(sum(gained >= 7 or gained <= 2 for gained in ways) / len(ways))
    assert (found.test, found.pairs) == ("McNemar, 7 to 2", 24) and found.difference == pytest.approx(5 / 24)
    assert over_images([ours], [ours]).p == 1.0
    shares = over_images([100.0 * ours], [100.0 * theirs])
    assert (shares.p, shares.test) == (found.p, found.test) and shares.difference == pytest.approx(500 / 24)


def test_other_scores_of_images_are_compared_by_student_s_t():
    stream = torch.Generator().manual_seed(0)
    ours, theirs = (torch.randn(40, generator=stream, dtype=torch.float64) for _ in range(2))
    ours[7] = torch.nan
    found, kept = over_images([ours], [theirs]), ours.isfinite()
    expected = stats.ttest_rel(ours[kept].numpy(), theirs[kept].numpy())
    assert found.p == pytest.approx(expected.pvalue) and found.pairs == 39 and found.test == "t, 38 df"


def test_images_of_several_seeds_are_no_more_than_there_are():
    """Two seeds of the same 30 images: an image's mean is one pair; else the error would be too small by sqrt 2."""
    right = (torch.rand(2, 30, generator=torch.Generator().manual_seed(1)) < 0.6).double()
    found = over_images(list(right), [torch.zeros(30)] * 2)
    assert found.pairs == 30 and found.test == "t, 29 df"
    assert found.error == pytest.approx(float(right.mean(0).std() / 30**0.5))
