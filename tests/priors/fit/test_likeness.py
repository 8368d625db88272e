"""The likeness of two sets of directions against SciPy, and its p against all permutations there are."""

from itertools import permutations

import numpy as np
import pytest
import torch
from scipy.spatial.distance import pdist, squareform
from scipy.stats import pearsonr

from priors.errors import InputError
from priors.fit.likeness import likeness


def directions(classes: int, m: int, seed: int) -> torch.Tensor:
    return torch.randn(classes, m, generator=torch.Generator().manual_seed(seed), dtype=torch.double)


def test_it_is_scipys_correlation_and_permutation_test():
    ours = directions(5, 3, 0)
    theirs = torch.cat([ours, directions(5, 4, 1)], 1)  # of another space, and alike in part
    cosines = [squareform(1 - pdist(rows.numpy(), "cosine"), checks=False) for rows in (ours, theirs)]
    pairs = np.triu_indices(5, 1)
    every = [
        pearsonr(cosines[0][np.ix_(order, order)][pairs], cosines[1][pairs])[0] for order in permutations(range(5))
    ]
    found = likeness(ours, theirs, 2000, torch.Generator().manual_seed(0))
    assert found.correlation == pytest.approx(every[0], abs=1e-12) and found.pairs == 10
    exact = np.mean(np.array(every) >= every[0] - 1e-12)
    assert 0.01 < exact < 0.5
    assert abs(found.p - exact) < 5 * np.sqrt(exact * (1 - exact) / 2000) + 1 / 2000  # misses 1 in 1.7 million seeds


def test_neither_rotations_nor_lengths_change_it():
    ours, rotation = directions(6, 4, 0), torch.linalg.qr(directions(4, 4, 2))[0]
    found = likeness(ours, 3 * ours @ rotation, 99)
    assert found.correlation == pytest.approx(1, abs=1e-12) and found.p == pytest.approx(0.01)


@pytest.mark.parametrize(
    ("ours", "theirs", "message"),
    [
        (directions(4, 3, 0), directions(5, 3, 0), "4 and 5 classes"),
        (directions(2, 3, 0), directions(2, 3, 0), "three or more"),
        (torch.eye(4), directions(4, 3, 0), "are the same"),
    ],
)
def test_what_cannot_be_compared_is_refused(ours, theirs, message):
    with pytest.raises(InputError, match=message):
        likeness(ours, theirs)
