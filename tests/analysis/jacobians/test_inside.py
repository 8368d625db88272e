"""The share of maps' mass inside masks, by hand, and the errors that stand beside it, by bootstrap."""

import math

import numpy as np
import pytest
import torch

from analysis import central_map, inside_share, mass_inside
from priors import InputError


def some(count: int = 40) -> tuple[torch.Tensor, torch.Tensor]:
    source = torch.Generator().manual_seed(0)
    maps = torch.rand(count, 6, 5, generator=source) ** 3
    masks = torch.rand(count, 6, 5, generator=source) < torch.linspace(0.2, 0.7, count)[:, None, None]
    return maps, masks


def test_shares_are_those_of_sums_by_hand():
    maps, masks = some()
    found = mass_inside(maps, masks)
    assert found.dtype == torch.float64
    for share, one, mask in zip(found.tolist(), maps.tolist(), masks.tolist(), strict=True):
        inside = math.fsum(one[row][column] for row in range(6) for column in range(5) if mask[row][column])
        assert share == pytest.approx(inside / math.fsum(map(math.fsum, one)), rel=1e-12)
    torch.testing.assert_close(mass_inside(1e-30 * maps, masks), found, rtol=1e-5, atol=0)
    torch.testing.assert_close(mass_inside(maps, ~masks), 1 - found)


def test_even_maps_have_the_masks_own_share_inside():
    _, masks = some()
    areas = masks.double().mean((1, 2))
    shares = mass_inside(torch.full(masks.shape, 0.3), masks)
    torch.testing.assert_close(shares, areas)
    found = inside_share(shares, areas)
    assert found.excess == pytest.approx(0, abs=1e-9) and found.ratio == pytest.approx(1, abs=1e-9)
    assert found.excess_error == pytest.approx(0, abs=1e-9) and found.images == 40


def test_errors_are_those_of_images_drawn_anew():
    """The bootstrap's own error is about 1 %, for 4,000 draws; 5 % of leeway for the linearised ratio."""
    maps, masks = some(200)
    shares, areas = mass_inside(maps, masks).numpy(), masks.double().mean((1, 2)).numpy()
    shares = shares * 0.8 + 0.1
    found = inside_share(torch.from_numpy(shares), torch.from_numpy(areas))
    rows = np.random.default_rng(0).integers(0, 200, (4000, 200))
    drawn, taken = shares[rows].mean(1), areas[rows].mean(1)
    for value, error, again in (
        (found.share, found.standard_error, drawn),
        (found.excess, found.excess_error, drawn - taken),
        (found.ratio, found.ratio_error, drawn / taken),
    ):
        assert error == pytest.approx(again.std(), rel=0.05) and value == pytest.approx(again.mean(), abs=error)
    assert math.isnan(inside_share(torch.tensor([0.5]), torch.tensor([0.2])).excess_error)


def test_the_middle_is_a_gaussian_of_a_quarter_of_each_side():
    found = central_map(40, 20)
    rows, columns = np.mgrid[:40, :20]
    expected = np.exp(-0.5 * (((rows - 19.5) / 10) ** 2 + ((columns - 9.5) / 5) ** 2))
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-5)
    for spread in (0, -1.0, math.inf, math.nan):
        with pytest.raises(InputError, match="a part of each side above 0"):
            central_map(4, 4, spread)


def changed(values: torch.Tensor, row: int, by: float) -> torch.Tensor:
    values = values.clone()
    values[row] = by
    return values


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda maps, masks: (maps, changed(masks, 1, True)), "cover all of the image in rows 1: there is no outside"),
        (lambda maps, masks: (maps, changed(masks, 2, False)), "cover nothing in rows 2: there is no inside"),
        (lambda maps, masks: (changed(maps, 3, 0.0), masks), "0 everywhere in rows 3: they have no mass"),
        (lambda maps, masks: (0 * maps, masks), r"0 everywhere in rows 0, 1, 2, 3, 4 and 35 more"),
        (lambda maps, masks: (changed(maps, 0, -1.0), masks), "below 0 or not finite in rows 0"),
        (lambda maps, masks: (changed(maps, 0, math.nan), masks), "below 0 or not finite in rows 0"),
        (lambda maps, masks: (maps, masks[:, :5]), r"\(40, 6, 5\) with masks of shape \(40, 5, 5\)"),
        (lambda maps, masks: (maps, masks[:1]), "one mask a map and of its size"),
        (lambda maps, masks: (maps[0], masks[0]), r"\(batch, height, width\) was expected"),
        (lambda maps, masks: (maps, masks.float()), "masks are torch.float32: true inside"),
        (lambda maps, masks: (masks, masks), "maps are torch.bool"),
    ],
)
def test_what_has_no_share_is_one_line(change, said):
    with pytest.raises(InputError, match=said) as caught:
        mass_inside(*change(*some()))
    assert "\n" not in str(caught.value)


def test_shares_and_areas_go_together():
    with pytest.raises(InputError, match="one an image was expected"):
        inside_share(torch.rand(3), torch.rand(2))
    with pytest.raises(InputError, match="one an image was expected"):
        inside_share(torch.rand(0), torch.rand(0))
    with pytest.raises(InputError, match="areas above 0"):
        inside_share(torch.rand(3), torch.zeros(3))
