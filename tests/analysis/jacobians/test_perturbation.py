"""Ranking, removing and imputing pixels against slow and independent ways; curves by hand."""

import math

import pytest
import torch
from scipy.ndimage import gaussian_filter, sobel
from scipy.sparse import coo_matrix
from scipy.sparse.linalg import spsolve
from scipy.stats import kstest, norm

from analysis.jacobians.controls import (
    blurred_maps,
    normal_draws,
    random_maps,
    sobel_maps,
    uniform_draws,
)
from analysis.jacobians.curves import fractional_change, perturbation_curve, score_difference
from analysis.jacobians.imputation import _gathered, _spread, _System, imputed
from analysis.jacobians.perturbation import filled, removal_mask, salience_ranks
from priors import InputError


def source(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_ranks_are_the_order_of_pixels_and_ties_hang_on_nothing_but_the_place():
    maps = torch.randn(4, 5, 6, generator=source())
    ranks = salience_ranks(maps)
    for one, rank in zip(maps.flatten(1), ranks.flatten(1), strict=True):
        assert sorted(rank.tolist()) == list(range(30))
        assert (one[rank.argsort()].diff() > 0).all()
    flat = torch.zeros(3, 5, 6)
    flat[:, 2, 2] = 1
    tied = salience_ranks(flat)
    assert (tied[0] == tied[1]).all() and (tied == salience_ranks(flat[:1] * 7)).all()
    assert (tied[:, 2, 2] == 29).all()
    upper = tied[0, :2].double().mean()  # by place this would be 5.5, and of a fair order 14.5 +- 2
    assert 9 < upper < 20


def test_so_many_pixels_go_in_all_channels():
    images = torch.rand(2, 3, 4, 5, generator=source())
    ranks = salience_ranks(torch.rand(2, 4, 5, generator=source(1)))
    for fraction, count in ((0, 0), (0.1, 2), (0.33, 7), (1, 20)):
        for first in ("least", "most"):
            removed = removal_mask(ranks, fraction, first)
            assert (removed.flatten(1).sum(1) == count).all()
            kept = ranks[~removed].view(2, -1)
            if 0 < count < 20:
                assert (kept.amin(1) == count).all() if first == "least" else (kept.amax(1) == 19 - count).all()
            mean = filled(images, removed, images.mean((0, 2, 3)))
            black = filled(images, removed)
            assert (black.movedim(1, -1)[removed] == 0).all()
            assert torch.equal(mean.movedim(1, -1)[removed], images.mean((0, 2, 3)).expand(2 * count, 3))
            assert torch.equal(black.movedim(1, -1)[~removed], images.movedim(1, -1)[~removed])


def solved_slowly(image: torch.Tensor, removed: torch.Tensor) -> torch.Tensor:
    """The equations as the paper has them, row by row, by SciPy's direct solver."""
    channels, height, width = image.shape
    places = {tuple(place): number for number, place in enumerate(removed.nonzero().tolist())}
    rows, columns, values = [], [], []
    right = torch.zeros(len(places), channels, dtype=torch.float64)
    for (y, x), number in places.items():
        near = [(y + down, x + on) for down in (-1, 0, 1) for on in (-1, 0, 1) if down or on]
        near = [place for place in near if 0 <= place[0] < height and 0 <= place[1] < width]
        weights = {place: 1 / 6 if y == place[0] or x == place[1] else 1 / 12 for place in near}
        total = sum(weights.values())
        entries = [(number, 1.0)]
        for place, weight in weights.items():
            if place in places:
                entries.append((places[place], -weight / total))
            else:
                right[number] += weight / total * image[:, place[0], place[1]]
        for column, value in entries:
            rows.append(number)
            columns.append(column)
            values.append(value)
    matrix = coo_matrix((values, (rows, columns))).tocsc()
    found = image.clone()
    solution = torch.from_numpy(spsolve(matrix, right.numpy()).reshape(len(places), channels))
    for (y, x), number in places.items():
        found[:, y, x] = solution[number]
    return found


@pytest.mark.parametrize("shape", [(3, 17, 24), (1, 28, 28), (2, 3, 2)])
@pytest.mark.parametrize("smooth", [False, True], ids=["scattered", "holes"])
def test_imputation_is_the_solution_of_all_equations(shape, smooth):
    images = torch.rand(3, *shape, generator=source(), dtype=torch.float64)
    maps = torch.rand(3, *shape[1:], generator=source(1), dtype=torch.float64)
    ranks = salience_ranks(blurred_maps(maps, 3.0) if smooth else maps)
    for fraction in (0.1, 0.5, 0.8):
        removed = removal_mask(ranks, fraction, "least")
        poisoned = torch.where(removed[:, None], torch.nan, images)  # what was there is not looked at
        found = imputed(poisoned, removed)
        expected = torch.stack([solved_slowly(*pair) for pair in zip(images, removed, strict=True)])
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-11)
        single = imputed(images.float(), removed)
        torch.testing.assert_close(single, expected.float(), rtol=0, atol=1e-4)


def test_images_of_different_holes_are_solved_together_and_what_was_not_removed_stays():
    images = torch.rand(3, 2, 20, 20, generator=source(), dtype=torch.float64)
    removed = torch.zeros(3, 20, 20, dtype=torch.bool)
    removed[0, :19] = True
    removed[1, 3:5, 3:5] = True
    together = imputed(images, removed)
    alone = torch.cat([imputed(images[one : one + 1], removed[one : one + 1]) for one in range(3)])
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-11)
    assert torch.equal(together[2], images[2])
    noise = torch.randn(images.shape, generator=source(2), dtype=torch.float64)
    noisy = imputed(images, removed, noise)
    expected = together + noise * removed[:, None]
    torch.testing.assert_close(noisy, expected)


def test_the_preconditioner_is_symmetric_positive_definite_and_pays():
    removed = removal_mask(salience_ranks(blurred_maps(torch.rand(1, 24, 23, generator=source()), 4.0)), 0.7, "least")
    gone = removed[:, None].double()
    system, places = _System(gone), removed[0].nonzero()
    units = torch.zeros(len(places), 1, 24, 23, dtype=torch.float64)
    units[torch.arange(len(places)), 0, places[:, 0], places[:, 1]] = 1

    def matrix(function) -> torch.Tensor:
        return torch.stack([function(unit[None])[0, 0][removed[0]] for unit in units], 1)

    left, rough = matrix(system), matrix(system.roughly_solved)
    torch.testing.assert_close(left, left.T)
    torch.testing.assert_close(rough, rough.T)
    assert torch.linalg.eigvalsh(rough)[0] > 0

    def condition(product: torch.Tensor) -> float:
        values = torch.linalg.eigvals(product).real
        return float(values.max() / values.min())

    assert condition(rough @ left) < condition(left / left.diagonal()[:, None]) / 4


def test_tents_are_gathered_by_the_transpose_of_how_they_are_spread():
    for height, width in ((8, 9), (7, 4), (5, 5)):
        fine = torch.randn(1, 1, height, width, generator=source(), dtype=torch.float64)
        sums = _gathered(fine)
        coarse = torch.randn(sums.shape, generator=source(1), dtype=torch.float64)
        torch.testing.assert_close((sums * coarse).sum(), (fine * _spread(coarse, fine.shape)).sum())


def test_draws_are_uniform_or_normal_and_hang_on_seed_index_and_place_alone():
    index = torch.arange(300)
    draws = uniform_draws(5, index, 20, 10)
    assert draws.unique().numel() > 0.99 * draws.numel()
    # Three p-values, each refused below 1e-6; the numbers are the same everywhere.
    assert kstest(draws.flatten(), "uniform").pvalue > 1e-6
    assert kstest(normal_draws(5, index, 20, 10).flatten(), norm.cdf).pvalue > 1e-6
    other = uniform_draws(6, index, 20, 10)
    pairs = torch.stack([draws.flatten(), other.flatten(), draws.roll(1, 0).flatten(), draws.roll(1, 2).flatten()])
    away = torch.corrcoef(pairs.double()) - torch.eye(4)
    assert float(away.abs().max()) * math.sqrt(draws.numel()) < 5.5  # six correlations; 2e-7 by chance
    assert torch.equal(random_maps(5, torch.tensor([7, 250]), 20, 10), draws[[7, 250]])
    assert float(draws.min()) >= 0 and float(draws.max()) < 1


def test_sobel_and_blur_are_scipys():
    images = torch.rand(2, 1, 9, 12, generator=source(), dtype=torch.float64)
    grey = images[:, 0].numpy()
    expected = [sobel(one, 0, mode="nearest") ** 2 + sobel(one, 1, mode="nearest") ** 2 for one in grey]
    found = sobel_maps(images).square()
    torch.testing.assert_close(found, torch.stack([torch.from_numpy(one) for one in expected]))
    colour = torch.rand(1, 3, 9, 12, generator=source(1), dtype=torch.float64)
    luma = (colour * torch.tensor([0.299, 0.587, 0.114]).double().view(3, 1, 1)).sum(1, keepdim=True)
    torch.testing.assert_close(sobel_maps(colour), sobel_maps(luma))
    maps = torch.rand(2, 40, 41, generator=source(2), dtype=torch.float64)
    inside = (slice(None), slice(8, -8), slice(8, -8))  # where no edge is within reach
    smooth = torch.stack([torch.from_numpy(gaussian_filter(one.numpy(), 2.0, truncate=4.0)) for one in maps])
    torch.testing.assert_close(blurred_maps(maps, 2.0)[inside], smooth[inside])
    flat = torch.full((1, 5, 3), 2.5)
    torch.testing.assert_close(blurred_maps(flat, 9.0), flat)


def test_curves_by_hand():
    values = torch.tensor([[0.0, 1.0], [0.2, 0.6], [0.1, 0.2]])
    curve = perturbation_curve((0.1, 0.5), values)
    torch.testing.assert_close(curve.mean, values.double().mean(0))
    torch.testing.assert_close(curve.standard_error, values.double().std(0) / math.sqrt(3))
    scores = torch.tensor([0.5, 0.4, 0.15])
    assert curve.score == pytest.approx(0.35) and curve.score_error == pytest.approx(float(scores.std()) / math.sqrt(3))
    apart = score_difference(values, values.flip(0))
    assert apart.value == pytest.approx(0, abs=1e-7)
    assert apart.standard_error == pytest.approx(float((scores - scores.flip(0)).std()) / math.sqrt(3))
    one = perturbation_curve((0.1, 0.5), values[:1])
    assert one.mean.tolist() == pytest.approx([0, 1]) and math.isnan(one.score_error)
    assert one.standard_error.isnan().all()


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: salience_ranks(torch.zeros(3, 4)), "expected"),
        (lambda: salience_ranks(torch.full((1, 2, 2), torch.nan)), "not finite"),
        (lambda: salience_ranks(torch.zeros(1, 2, 2, dtype=torch.uint8)), "floating"),
        (lambda: removal_mask(torch.zeros(1, 2, 2).long(), 0.5, "lest"), "did you mean 'least'"),
        (lambda: removal_mask(torch.zeros(1, 2, 2).long(), 1.5, "least"), "from 0 to 1"),
        (lambda: filled(torch.zeros(1, 1, 2, 2), torch.zeros(1, 2, 3).bool()), "expected"),
        (lambda: imputed(torch.zeros(1, 1, 2, 2), torch.ones(1, 2, 2).bool()), "leave some"),
        (lambda: imputed(torch.zeros(1, 1, 2, 2), torch.zeros(1, 2, 2)), "truth values"),
        (lambda: imputed(torch.zeros(1, 1, 2, 2), torch.zeros(1, 2, 2).bool(), torch.zeros(1)), "noise"),
        (lambda: blurred_maps(torch.zeros(1, 2, 2), 0.0), "above 0"),
        (lambda: sobel_maps(torch.zeros(2, 2)), "expected"),
        (lambda: perturbation_curve((0.5, 0.1), torch.zeros(3, 2)), "rising"),
        (lambda: perturbation_curve((0.5,), torch.full((3, 1), torch.inf)), "not finite"),
        (lambda: score_difference(torch.zeros(3, 2), torch.zeros(3, 1)), "the same images"),
    ],
)
def test_what_cannot_be_used_is_refused_in_one_line(call, said):
    with pytest.raises(InputError, match=said) as error:
        call()
    assert "\n" not in str(error.value)


def test_a_change_is_relative_to_what_was_there():
    before, after = torch.tensor([[4.0], [-2.0]]), torch.tensor([[3.0, 4.0], [-3.0, 1.0]])
    assert fractional_change(before, after).tolist() == [[0.25, 0.0], [0.5, 1.5]]
    assert fractional_change(before, after, signed=True).tolist() == [[-0.25, 0.0], [0.5, -1.5]]


def test_values_that_are_not_finite_do_not_go_on_for_ever():
    images = torch.full((1, 1, 6, 6), torch.inf)
    removed = torch.zeros(1, 6, 6, dtype=torch.bool)
    removed[0, 2, 2] = True
    with pytest.raises(InputError, match="finite"):
        imputed(images, removed)
