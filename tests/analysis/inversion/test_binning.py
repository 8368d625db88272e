"""Information of binned units: NumPy's bins, a dictionary of cells, scikit-learn's mutual information, known cases."""

import math
from collections import Counter

import numpy as np
import pytest
import torch
from scipy.stats import entropy
from sklearn.metrics import mutual_info_score

from analysis.inversion import binning
from analysis.inversion.binning import binned, binned_by_width
from priors.errors import InputError


def relu(n=200, units=3, seed=0):
    return torch.randn(n, units, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).relu()


def check(found, codes):
    """Compare with cells counted one image at a time."""
    cells = Counter(map(tuple, codes.tolist()))
    names = {cell: number for number, cell in enumerate(cells)}
    n = len(codes)
    assert found.mutual_information == pytest.approx(entropy(list(cells.values())), abs=1e-12)
    by_equation_12 = mutual_info_score(np.arange(n), [names[tuple(row)] for row in codes.tolist()])
    assert found.mutual_information == pytest.approx(by_equation_12, abs=1e-9)
    assert found.cells == len(cells) and found.alone == sum(count == 1 for count in cells.values())
    assert found.occupied.tolist() == [len(np.unique(column)) for column in codes.T]
    assert found.images == n and found.ceiling == math.log(n) and found.saturated == (found.alone == n)


@pytest.mark.parametrize("bins", [1, 2, 5, 30])
@pytest.mark.parametrize("span", ["layer", "unit", (-0.5, 1.25)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_numpys_bins_and_a_dictionary_of_cells_agree(bins, span, dtype):
    h = (relu() * torch.tensor([1.0, 3.0, 0.2])).to(dtype)
    found = binned(h, bins, span=span)
    values, codes = h.double().numpy(), []
    for column in values.T:
        ends = {"layer": (values.min(), values.max()), "unit": (column.min(), column.max())}.get(span, span)
        edges = np.linspace(*ends, bins + 1)
        codes.append(np.digitize(column, edges[1:-1]))
    check(found, np.stack(codes, 1))
    assert found.outside == (0 if isinstance(span, str) else int((values > 1.25).sum()))
    assert found.units == 3 and found.how.startswith(f"{bins} bins a unit between ")


@pytest.mark.parametrize("width", [0.01, 0.5, 3.0])
def test_bins_of_a_width_have_no_ends(width):
    h = torch.randn(300, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    check(binned_by_width(h, width), np.floor(h.numpy() / width).astype(int))


def test_units_at_a_time_change_nothing(monkeypatch):
    h = (2 * relu(150, 17)).round() / 2
    whole = binned_by_width(h[:, :5], 1.0), binned(h, 3), binned(h, 3, span=(0.0, 1.0))
    monkeypatch.setattr(binning, "_VALUES", 2 * 150)
    parts = binned_by_width(h[:, :5], 1.0), binned(h, 3), binned(h, 3, span=(0.0, 1.0))
    for one, other in zip(whole, parts, strict=True):
        assert one.occupied.tolist() == other.occupied.tolist() and one.outside == other.outside
        assert (one.mutual_information, one.cells, one.alone) == (other.mutual_information, other.cells, other.alone)
    assert 1 < whole[0].cells < 150, "neither all together nor all alone"


def test_uniform_images_fill_the_cells_equally():
    """A 12x12 lattice in 3x3 cells of 16: log 9; with as many bins as points, log 144, and nothing more from there."""
    line = torch.arange(12.0)
    lattice = torch.cartesian_prod(line, line)
    assert binned(lattice, 3).mutual_information == pytest.approx(math.log(9), abs=1e-12)
    for bins in (12, 40, 10_000):
        found = binned(lattice, bins)
        assert found.saturated and found.mutual_information == found.ceiling == math.log(144)
    assert not binned(lattice, 11).saturated


def test_many_units_saturate_whatever_they_hold():
    """Random bits: 200 images in 2^64 cells. Two share one in 1 of 10^15 draws."""
    noise = torch.rand(200, 64, generator=torch.Generator().manual_seed(2))
    assert binned(noise, 2).saturated and binned(noise, 2).alone == 200


def test_a_large_activation_widens_the_layers_bins_and_no_others():
    h = relu(500, 2)
    longer = torch.cat([h, torch.tensor([[1000.0, 0.0]]).double()])
    assert binned(h, 30).cells > 100 and binned(longer, 30).cells == 2
    assert binned_by_width(longer, 0.1).cells == binned_by_width(h, 0.1).cells + 1
    given = binned(longer, 30, span=(0.0, 4.0))
    assert given.outside == 1 and given.cells >= binned(h, 30, span=(0.0, 4.0)).cells


def test_units_without_a_width_tell_nothing():
    h = torch.tensor([[0.0, 5.0, 1.0], [0.0, 5.0, 2.0], [0.0, 5.0, 3.0]])
    found = binned(h, 3, span="unit")
    assert found.occupied.tolist() == [1, 1, 3] and found.saturated
    dead = binned(torch.zeros(5, 4), 30)
    assert dead.mutual_information == 0 and dead.cells == 1 and dead.alone == 0


def test_a_zero_has_no_sign():
    assert binned_by_width(torch.tensor([[-0.0, 1.0], [0.0, 1.0]]), 0.5).cells == 1


def test_narrow_bins_of_large_values_are_told_apart():
    h = torch.tensor([[1e9], [1e9 + 1e-6], [-1e9]], dtype=torch.float64)
    assert binned_by_width(h, 1e-7).saturated


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: binned(torch.zeros(0, 3)), r"shape \(0, 3\)"),
        (lambda: binned(torch.zeros(1, 3)), r"shape \(1, 3\)"),
        (lambda: binned_by_width(torch.tensor([[0.0], [math.inf]]), 1.0), "not finite"),
        (lambda: binned(torch.tensor([[0.0], [math.nan]])), "not finite"),
        (lambda: binned(torch.eye(3), 0), "bins is 0: 1 or more"),
        (lambda: binned(torch.eye(3), 4, span=(2.0, 1.0)), "two finite ends were expected, the lower first"),
        (lambda: binned(torch.eye(3), 4, span=(1.0, 1.0)), "two finite ends were expected, the lower first"),
        (lambda: binned(torch.eye(3), 4, span=(0.0, math.inf)), "two finite ends"),
        (lambda: binned_by_width(torch.eye(3), 0.0), "width is 0.0: a finite number above 0"),
        (lambda: binned_by_width(torch.eye(3), math.nan), "width is nan"),
    ],
)
def test_what_cannot_be_binned_is_one_line(call, said):
    with pytest.raises(InputError, match=said):
        call()
