"""Natural parameters eta_i = s w_i + c by maximum likelihood, against SciPy: its optimiser and Bessel functions."""

import time

import numpy as np
import pytest
import torch
from scipy import optimize, special

from priors import InputError, VonMisesFisher
from priors.gauge import natural
from priors.gauge.moments import ActivationMoments, DirectionMoments
from priors.gauge.natural import fit_natural_parameters, standard_errors
from priors.gauge.space import fit_space


def moments(weight, scale, shift, count, seed=0):
    """Counts and mean directions of draws from the model itself."""
    generator = torch.Generator().manual_seed(seed)
    eta = scale * weight + shift
    means = torch.zeros_like(eta)
    for label, (one, number) in enumerate(zip(eta, count.tolist(), strict=True)):
        if number:
            drawn = VonMisesFisher(one / one.norm(), one.norm()).sample(number, generator=generator)
            means[label] = drawn.mean(0)
    return means


def log_normaliser(m, kappa):
    """log C_m, by SciPy's Bessel function."""
    return (m / 2 - 1) * np.log(kappa) - m / 2 * np.log(2 * np.pi) - np.log(special.ive(m / 2 - 1, kappa)) - kappa


def log_likelihood(weight, count, mean, scale, shift):
    eta = scale * weight + shift
    kappa = np.linalg.norm(eta, axis=1)
    return float(count @ ((eta * mean).sum(1) + log_normaliser(weight.shape[1], kappa)))


def by_scipy(weight, count, mean):
    """The largest log-likelihood, by L-BFGS-B with a bound on s and numerical gradients of nobody's formulas."""
    m = weight.shape[1]
    size = count.sum()

    def loss(theta):
        return -log_likelihood(weight, count, mean, theta[0], theta[1:]) / size

    def slope(theta):
        return optimize.approx_fprime(theta, loss, 1e-7)

    start = np.concatenate([[1.0], mean.mean(0)])
    found = optimize.minimize(
        loss, start, jac=slope, method="L-BFGS-B", bounds=[(0, None)] + [(None, None)] * m, options={"maxiter": 5000}
    )
    return -found.fun * size, found.x


CASES = {
    "a circle": (2, 3, (40, 60, 50)),
    "two classes": (5, 2, (30, 80)),
    "a class without images": (4, 4, (50, 0, 70, 30)),
    "more classes than dimensions": (3, 9, (20,) * 9),
}


@pytest.mark.parametrize(("m", "classes", "count"), CASES.values(), ids=CASES)
def test_nothing_is_likelier_by_a_general_optimiser(m, classes, count):
    generator = torch.Generator().manual_seed(m)
    weight = torch.randn(classes, m, generator=generator, dtype=torch.float64)
    shift = 2 * torch.randn(m, generator=generator, dtype=torch.float64)
    count = torch.tensor(count)
    mean = moments(weight, 3.0, shift, count)
    found = fit_natural_parameters(weight, count, count[:, None] * mean)
    given = weight.numpy(), count.numpy(), mean.numpy()
    best, theta = by_scipy(*given)
    ours = log_likelihood(*given, found.scale, found.shift.numpy())
    assert ours == pytest.approx(found.log_likelihood, rel=1e-12)
    assert best <= ours + 1e-9 * abs(ours) and ours - best < 1e-4, "its numerical gradients reach that far"
    assert np.allclose(theta, [found.scale, *found.shift.tolist()], rtol=0.01, atol=0.01)
    assert torch.allclose(found.of(weight), found.scale * weight + found.shift, rtol=1e-12)


@pytest.mark.parametrize("dense", [0, 512])
def test_the_likelihood_is_stationary_to_rounding(monkeypatch, dense):
    """d/ds and d/dc of the likelihood of a mean, with A_m by SciPy's Bessel functions; by either way to solve."""
    monkeypatch.setattr(natural, "_DENSE", dense)
    m, classes = 24, 40
    generator = torch.Generator().manual_seed(1)
    weight = torch.randn(classes, m, generator=generator, dtype=torch.float64)
    count = torch.randint(1, 60, (classes,), generator=generator)
    mean = moments(weight, 4.0, 3 * weight[0], count)
    found = fit_natural_parameters(weight, count, count[:, None] * mean)
    eta = found.of(weight).numpy()
    kappa = np.linalg.norm(eta, axis=1)
    length = special.ive(m / 2, kappa) / special.ive(m / 2 - 1, kappa)
    missing = count.numpy()[:, None] * (mean.numpy() - (length / kappa)[:, None] * eta)
    assert np.abs(missing.sum(0)).max() < 1e-9 * count.sum()
    assert abs((missing * weight.numpy()).sum()) < 1e-9 * count.sum()


def test_what_was_drawn_is_found_within_its_standard_errors():
    """Of 11 estimates, none is 4.5 standard errors off: by chance once in 13,000 seeds."""
    weight = torch.randn(6, 10, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    shift = torch.linspace(-3, 3, 10, dtype=torch.float64)
    count = torch.full((6,), 3000)
    found = fit_natural_parameters(weight, count, count[:, None] * moments(weight, 5.0, shift, count))
    scale, each = standard_errors(weight, count, found)
    assert abs(found.scale - 5) < 4.5 * scale and scale < 0.1
    assert bool(((found.shift - shift).abs() < 4.5 * each).all()) and float(each.max()) < 0.3


def test_standard_errors_are_those_of_the_likelihoods_curvature():
    weight = torch.randn(4, 3, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    count = torch.tensor([40, 0, 30, 50])
    mean = moments(weight, 3.0, weight[1], count)
    found = fit_natural_parameters(weight, count, count[:, None] * mean)
    at = np.array([found.scale, *found.shift.tolist()])
    given = weight.numpy(), count.numpy()[:], mean.numpy()

    def value(theta):
        return log_likelihood(*given, theta[0], theta[1:])

    step, size = 1e-3, len(at)
    unit = step * np.eye(size)
    hessian = [
        [(value(at + a + b) - value(at + a - b) - value(at - a + b) + value(at - a - b)) / (4 * step**2) for b in unit]
        for a in unit
    ]
    expected = np.sqrt(np.diag(np.linalg.inv(-np.array(hessian))))
    scale, shift = standard_errors(weight, count, found)
    assert np.allclose([scale, *shift.tolist()], expected, rtol=1e-4)


def test_weights_that_point_away_from_their_images_get_no_say():
    """The bound s >= 0 holds: what is left is one distribution for all."""
    weight = torch.eye(3, 5, dtype=torch.float64)
    count = torch.tensor([10, 10, 10])
    mean = -0.3 * weight + 0.2
    found = fit_natural_parameters(weight, count, count[:, None] * mean)
    assert found.scale == 0 and torch.equal(found.of(weight), found.shift.expand(3, 5))
    best, _ = by_scipy(weight.numpy(), count.numpy(), mean.numpy())
    assert found.log_likelihood == pytest.approx(best, abs=1e-6)
    scale, shift = standard_errors(weight, count, found)
    assert np.isnan(scale) and bool((shift > 0).all())


def test_adding_a_vector_to_all_rows_changes_nothing_but_the_shift():
    weight = torch.randn(7, 12, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    count = torch.full((7,), 25)
    mean = moments(weight, 6.0, weight[2], count)
    one = fit_natural_parameters(weight, count, count[:, None] * mean)
    other = fit_natural_parameters(3 * (weight + torch.arange(12)), count, count[:, None] * mean)
    assert torch.allclose(one.of(weight), other.of(3 * (weight + torch.arange(12))), rtol=1e-8, atol=1e-8)
    assert other.scale == pytest.approx(one.scale / 3, rel=1e-8)


def test_weights_of_low_rank_and_dead_units():
    """Rows on a line, and units that are 0 in weights and images alike."""
    generator = torch.Generator().manual_seed(5)
    weight = torch.randn(1, 8, generator=generator, dtype=torch.float64) * torch.arange(5.0)[:, None]
    weight[:, 6:] = 0
    count = torch.full((5,), 40)
    shift = torch.ones(8, dtype=torch.float64)
    mean = moments(weight, 2.0, shift, count)
    mean[:, 6:] = 0
    found = fit_natural_parameters(weight, count, count[:, None] * mean)
    assert not found.shift[6:].abs().max() > 1e-12
    best, _ = by_scipy(weight.numpy(), count.numpy(), mean.numpy())
    assert 0 <= found.log_likelihood - best + 1e-6 < 1e-3


def test_one_image_a_class_is_enough_where_the_classes_disagree():
    """Every class's own mean has length 1, and yet no scale and shift follow them all to infinity."""
    weight = torch.randn(12, 3, generator=torch.Generator().manual_seed(6), dtype=torch.float64)
    mean = torch.nn.functional.normalize(
        weight + torch.randn(12, 3, generator=torch.Generator().manual_seed(7), dtype=torch.float64), dim=1
    )
    found = fit_natural_parameters(weight, torch.ones(12, dtype=torch.long), mean)
    best, _ = by_scipy(weight.numpy(), np.ones(12), mean.numpy())
    assert 0 <= found.log_likelihood - best + 1e-6 < 1e-3


def test_ten_thousand_classes():
    generator = torch.Generator().manual_seed(8)
    weight = torch.randn(10_000, 16, generator=generator, dtype=torch.float64)
    eta = 2 * weight + 1
    kappa = eta.norm(dim=1, keepdim=True)
    length = VonMisesFisher(eta / kappa, kappa.squeeze(1)).mean_resultant_length
    found = fit_natural_parameters(weight, torch.ones(10_000, dtype=torch.long), length[:, None] * eta / kappa)
    assert found.scale == pytest.approx(2, rel=1e-10), "the moments are the model's own"
    assert torch.allclose(found.shift, torch.ones(16, dtype=torch.float64), rtol=1e-10)


@pytest.mark.slow
def test_ten_thousand_classes_of_256_whitened_dimensions():
    """Of two images a class, in seconds."""
    classes, m = 10_000, 256
    generator = torch.Generator().manual_seed(9)
    weight = torch.randn(classes, m, generator=generator, dtype=torch.float64)
    labels = torch.arange(classes).repeat(2)
    activations = weight[labels].relu() + torch.rand(len(labels), m, generator=generator, dtype=torch.float64)
    start = time.perf_counter()
    space = fit_space("whitened", ActivationMoments.none(classes, m).add(activations, labels), [])
    moments = DirectionMoments.none(classes, m).add(space.bring(activations), labels)
    rows = space.rows(weight)
    found = fit_natural_parameters(rows, moments.count, moments.total)
    assert time.perf_counter() - start < 60
    eta = found.of(rows).numpy()
    kappa = np.linalg.norm(eta, axis=1)
    length = special.ive(m / 2, kappa) / special.ive(m / 2 - 1, kappa)
    missing = 2 * (moments.mean.numpy() - (length / kappa)[:, None] * eta)
    assert found.scale > 0 and np.abs(missing.sum(0)).max() < 1e-9 * 2 * classes
    assert abs((missing * rows.numpy()).sum()) < 1e-9 * 2 * classes * np.abs(rows.numpy()).max()


@pytest.mark.parametrize(
    ("weight", "count", "mean", "said"),
    [
        (torch.eye(3, 4), [5, 0, 0], torch.eye(3, 4) / 2, "two classes or more .*: 1 have images"),
        (torch.eye(3, 4), [0, 0, 0], torch.eye(3, 4) / 2, "0 have images"),
        (torch.ones(3, 4), [5, 5, 5], torch.eye(3, 4) / 2, "whose weights differ"),
        (torch.eye(2, 4), [5, 5], torch.eye(2, 4), "no maximum"),
        (torch.eye(2, 4), [5, 5], torch.eye(4)[:1].expand(2, 4), "no maximum"),
    ],
    ids=["one class", "none", "equal weights", "no spread", "one direction"],
)
def test_what_cannot_be_fitted_is_said(weight, count, mean, said):
    with pytest.raises(InputError, match=said):
        fit_natural_parameters(weight, torch.tensor(count), torch.tensor(count)[:, None] * mean)
