"""Gauges side by side: densities that integrate to one, and scores against NumPy and SciPy."""

import math

import numpy as np
import pytest
import torch
from scipy import special, stats

from priors import InputError
from priors.fit.gauge_comparison import agreement, candidate, freedom, paired, recommended, score
from priors.gauge.moments import ActivationMoments, DirectionMoments
from priors.gauge.space import fit_space

NAMES = ("ant", "bee", "cat")
SPACES = ("raw", "centred", "whitened")


def activations(m, n=3000, seed=0):
    """Of three classes, away from 0, stretched."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(n) % 3
    weight = torch.randn(3, m, generator=generator, dtype=torch.float64)
    stretch = torch.diag(torch.linspace(0.4, 1.5, m, dtype=torch.float64))
    rows = 2 * weight[labels] + 2 + torch.randn(n, m, generator=generator, dtype=torch.float64) @ stretch
    return weight, rows, labels


def made(m, space, directions, seed=0):
    weight, rows, labels = activations(m, seed=seed)
    found = fit_space(space, ActivationMoments.none(3, m).add(rows, labels), NAMES)
    moments = DirectionMoments.none(3, m).add(found.bring(rows), labels)
    return candidate({"weight": weight, "class_names": NAMES}, found, directions, moments), rows, labels


@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize("directions", ["weights", "fitted"])
def test_densities_of_activations_integrate_to_one(space, directions):
    """In the plane, on a fine grid: the sphere's surface, the norm and the map are all accounted for."""
    one, rows, _ = made(2, space, directions)
    low, high = rows.amin(0) - 15, rows.amax(0) + 15
    x, y = (torch.linspace(float(low[i]), float(high[i]), 901, dtype=torch.float64) + 1e-7 for i in (0, 1))
    grid = torch.cartesian_prod(x, y)
    for label in range(3):
        density = (
            one.seen(one.prior.space.bring(grid), torch.full((len(grid),), label))["log_density"]
            .nan_to_num(-math.inf)
            .exp()
        )
        total = float(density.sum() * (x[1] - x[0]) * (y[1] - y[0]))
        assert total == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize("space", SPACES)
def test_densities_against_scipy(space):
    """vMF by its Bessel function, the norm by SciPy's log-normal, and the map's determinant by NumPy."""
    one, rows, labels = made(5, space, "centred")
    found = one.seen(one.prior.space.bring(rows), labels)
    there = one.prior.space.bring(rows).numpy()
    lengths = np.linalg.norm(there, axis=1)
    kappa, loc = one.prior.concentration.numpy(), one.prior.loc.numpy()
    constant = 1.5 * np.log(kappa) - 2.5 * np.log(2 * np.pi) - np.log(special.ive(1.5, kappa)) - kappa
    every = kappa * ((there / lengths[:, None]) @ loc.T) + constant
    expected = np.zeros(len(rows))
    for label in range(3):
        own = labels.numpy() == label
        logs = np.log(lengths[own])
        radial = stats.lognorm(s=logs.std(), scale=np.exp(logs.mean())).logpdf(lengths[own])
        # p(r) dr of a norm, spread over a sphere of area r^(m-1) in units of the unit sphere's.
        expected[own] = every[own, label] + radial - 4 * logs
    if space == "whitened":
        expected -= np.log(np.linalg.det(one.prior.space.factor.numpy()))
    assert np.allclose(found["log_density"], expected, atol=1e-9)
    assert np.array_equal(found["right"], every.argmax(1) == labels.numpy())


def test_scores_against_plain_sums():
    one, rows, labels = made(5, "whitened", "fitted")
    rows[3] = one.prior.space.centre  # it has no direction in this space
    found = one.seen(one.prior.space.bring(rows), labels)
    own = torch.tensor([[0.8, 0.15, 0.05], [0.1, 0.7, 0.2], [math.nan] * 3], dtype=torch.float64)
    scores = score(one, found, labels, own, temperature=4.0)
    there = one.prior.space.bring(rows)
    pointing = there.norm(dim=1) > 0
    cosines = torch.cosine_similarity(there, one.prior.loc[labels])[pointing]
    assert scores.mean_cosine == pytest.approx(float(cosines.mean()), abs=1e-12)
    assert scores.log_density == pytest.approx(float(found["log_density"][pointing].mean()))
    assert scores.accuracy == pytest.approx(float(found["right"].mean())) and found["right"][3] == 0
    assert scores.freedom == 5 + 15 + 6 + 9
    distance = 0.0
    for label in range(3):
        mine = cosines[labels[pointing] == label].numpy()
        angle = np.linspace(0, np.pi, 100_001)
        density = np.sin(angle) ** 3 * np.exp(float(one.prior.concentration[label]) * (np.cos(angle) - 1))
        below = np.concatenate([[0], np.cumsum((density[1:] + density[:-1]) / 2)])
        cdf = lambda w, below=below, angle=angle: 1 - np.interp(np.arccos(w), angle, below / below[-1])  # noqa: E731
        distance += stats.kstest(mine, cdf).statistic * len(mine) / len(cosines)
    assert scores.distance == pytest.approx(distance, abs=1e-6)
    drawn = one.prior.class_posterior(6666, logits="head", temperature=4.0).table[:2]
    expected = (own[:2] * (own[:2] / drawn).log()).sum(1).mean()
    assert scores.divergence == pytest.approx(float(expected), rel=1e-9)
    off = [(0, 1), (0, 2), (1, 0), (1, 2)]
    logs = [[float(table[i, j].log()) for i, j in off] for table in (own, drawn)]
    assert scores.correlation == pytest.approx(np.corrcoef(logs)[0, 1])


def test_agreement_of_a_table_with_itself():
    own = torch.tensor([[0.7, 0.3], [0.1, 0.9]], dtype=torch.float64)
    divergence, correlation = agreement(own, own, torch.tensor([True, True]))
    assert divergence == 0 and math.isnan(correlation), "two classes have one number a row off the diagonal"


@pytest.mark.parametrize(
    ("space", "directions", "numbers"),
    [("raw", "weights", 9), ("raw", "fitted", 15), ("centred", "means", 26), ("whitened", "centred", 29)],
)
def test_measured_numbers_are_counted(space, directions, numbers):
    """Three concentrations, three means and three deviations of norms; beside them the gauge's own."""
    assert freedom(made(5, space, directions)[0].prior, 3) == numbers


def compared(level):
    """Scores whose log-densities are the measured ones plus `level` of their gauge's number."""
    rows = []
    for number, (space, directions) in enumerate(
        (space, directions) for space in SPACES for directions in ("weights", "centred", "fitted", "means")
    ):
        one, values, labels = made(5, space, directions)
        found = one.seen(one.prior.space.bring(values), labels)
        found["log_density"] = level(number, torch.randn(len(values), generator=torch.Generator().manual_seed(number)))
        rows.append(score(one, found, labels, torch.full((3, 3), 1 / 3).double(), 4.0))
    return rows


def test_the_likeliest_gauge_is_taken_and_of_equals_the_simplest():
    """Numbers 0 to 11, of which 3, 7 and 11 are means: whatever their density, they are another classifier."""
    clear = compared(lambda number, noise: (number + 0.1 * noise).double())
    assert recommended(clear) is clear[10], "whitened, fitted: the likeliest that is tied to the weights"
    equal = compared(lambda number, noise: (1e-3 * (number == 10) + noise).double())
    assert recommended(equal).freedom == 9, "3,000 images tell no difference of .001 among deviations of 1"
    last = compared(lambda number, noise: ((number in (9, 10)) + 1e-9 * noise).double())
    assert recommended(last).directions in ("centred", "fitted") and recommended(last).space == "whitened"
    with pytest.raises(InputError, match="no gauge that leaves"):
        recommended([one for one in clear if one.directions == "means"])


def test_paired_differences():
    one = torch.tensor([1.0, 2.0, math.nan, 5.0], dtype=torch.float64)
    other = torch.tensor([0.0, 0.0, 1.0, 2.0], dtype=torch.float64)
    mean, error = paired(one, other)
    assert mean == 2 and error == pytest.approx(np.std([1, 2, 3], ddof=1) / 3**0.5)
    assert all(math.isnan(value) for value in paired(one[2:3], other[2:3]))


def test_a_class_without_images_leaves_the_others_theirs():
    weight, rows, labels = activations(5)
    kept = labels != 2
    moments = DirectionMoments.none(3, 5).add(rows[kept], labels[kept])
    space = fit_space("raw", None, NAMES)
    layer = {"weight": weight, "class_names": NAMES}
    one = candidate(layer, space, "weights", moments)
    assert one.prior.concentration[0] == one.prior.concentration[2], "one for all"
    found = one.seen(one.prior.space.bring(rows[kept]), labels[kept])
    own = torch.full((3, 3), 1 / 3).double()
    own[2] = math.nan
    scores = score(one, found, labels[kept], own, 4.0)
    assert math.isfinite(scores.log_density) and math.isfinite(scores.divergence)
    with pytest.raises(InputError, match="'means' of class 'cat'"):
        candidate(layer, space, "means", moments)
