"""Squared distances: SciPy's, which takes differences, over several blocks and for near and equal vectors."""

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist

from analysis.inversion import rows
from analysis.inversion.distances import mean_vector, pair_blocks, squared_distances
from analysis.inversion.rows import row_blocks


def all_pairs(vectors):
    n = len(vectors)
    whole = torch.full((n, n), torch.nan, dtype=torch.float64)
    for here, there, block in pair_blocks(vectors):
        assert bool(whole[here, there].isnan().all()), "each block once"
        whole[here, there] = block
        if here != there:
            assert bool(whole[there, here].isnan().all()), "no pair twice"
            whole[there, here] = block.T
    return whole


@pytest.mark.parametrize(("n", "units"), [(2, 1), (17, 5), (100, 3), (330, 7), (200, 500)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_all_pairs_are_scipys(n, units, dtype, monkeypatch):
    monkeypatch.setattr(rows, "_ROWS", 100)
    vectors = torch.randn(n, units, generator=torch.Generator().manual_seed(n)).to(dtype) + 3
    expected = cdist(vectors.double().numpy(), vectors.double().numpy(), "sqeuclidean")
    found = all_pairs(vectors).numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-11, atol=0)
    assert (np.diag(found) == 0).all()


@pytest.mark.parametrize("far", [0.0, 1.0, 1e6])
def test_near_pairs_keep_their_digits(far):
    """Pairs 1e-7 to 1 apart about points `far` from the origin: the plain product gives these nothing but noise."""
    stream = torch.Generator().manual_seed(1)
    points = far * torch.randn(40, 12, generator=stream, dtype=torch.float64)
    steps = torch.logspace(-7, 0, 40, dtype=torch.float64)[:, None]
    moved = points + steps * torch.randn(40, 12, generator=stream, dtype=torch.float64)
    together = torch.cat([points, moved, points])
    expected = cdist(together.numpy(), together.numpy(), "sqeuclidean")
    np.testing.assert_allclose(all_pairs(together).numpy(), expected, rtol=1e-10, atol=0)
    found = squared_distances(points, moved, torch.full((12,), 5.0, dtype=torch.float64)).numpy()
    np.testing.assert_allclose(found, expected[:40, 40:80], rtol=1e-9, atol=0)


@pytest.mark.parametrize(("n", "units"), [(1, 1), (1025, 10), (300, 200_000)])
def test_blocks_cover_all_rows_in_order(n, units):
    vectors = torch.zeros(1, 1).expand(n, units)
    blocks = list(row_blocks(vectors))
    assert [row for block in blocks for row in range(n)[block]] == list(range(n))
    assert all(len(range(n)[block]) * units <= max(2**23, 64 * units) for block in blocks)


def test_a_mean_of_float32_is_taken_in_float64():
    vectors = torch.rand(3000, 4, generator=torch.Generator().manual_seed(2)) + 1e4
    np.testing.assert_allclose(mean_vector(vectors).numpy(), vectors.double().numpy().mean(0), rtol=1e-14)
