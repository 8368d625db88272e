"""Out-of-distribution scores: SciPy's densities, slow loops with NumPy, equation 4 as an identity, and invariances."""

import numpy as np
import pytest
import torch
from scipy.special import log_softmax, logsumexp
from scipy.stats import norm as normal
from scipy.stats import vonmises_fisher

from analysis.directions.anomaly import (
    ANOMALY_SCORES,
    QUANTITIES,
    direction_log_densities,
    fit_anomaly_scores,
    fit_by_moments,
    fit_gaussians,
    fit_norms,
    gaussians_of,
    given_norm_log_densities,
    norms_of,
)
from priors.errors import InputError
from priors.gauge.moments import ActivationMoments, DirectionMoments
from priors.model.classifier_prior import ClassifierPrior

N, M, C = 300, 5, 4


def drawn(seed: int = 0):
    """Activations (N, M), labels, weight, bias: in float64, with norms that differ."""
    stream = torch.Generator().manual_seed(seed)
    weight = torch.randn(C, M, generator=stream, dtype=torch.float64) * torch.linspace(1, 2, C).unsqueeze(1)
    labels = torch.arange(N) % C
    noise = torch.randn(N, M, generator=stream, dtype=torch.float64)
    stretch = torch.rand(N, 1, generator=stream, dtype=torch.float64) + 0.3
    return (2 * weight[labels] + noise) * stretch, labels, weight, torch.randn(C, generator=stream).double()


@pytest.fixture
def fitted():
    activations, labels, weight, bias = drawn()
    prior = ClassifierPrior.from_weight(weight, torch.linspace(3, 30, C), bias)
    return fit_anomaly_scores(prior, activations, labels)


@pytest.fixture
def images():
    """Activations and logits of other images."""
    activations, _, weight, bias = drawn(1)
    return activations[:40], activations[:40] @ weight.T + bias


def densities(activations, weight, concentrations) -> np.ndarray:
    """Log-densities by SciPy, image by image and class by class."""
    rows = []
    for a, kappas in zip(activations.numpy(), concentrations, strict=True):
        u = a / np.linalg.norm(a)
        rows.append(
            [
                vonmises_fisher(w / np.linalg.norm(w), kappa).logpdf(u)
                for w, kappa in zip(weight.numpy(), kappas, strict=True)
            ]
        )
    return np.array(rows)


def test_direction_scores_are_scipys_densities(fitted, images):
    slow = densities(images[0], fitted.prior.weight, np.tile(fitted.prior.concentration.numpy(), (40, 1)))
    np.testing.assert_allclose(direction_log_densities(fitted.prior, images[0]).numpy(), slow, atol=1e-9)
    np.testing.assert_allclose(ANOMALY_SCORES["direction, max"](fitted, *images).numpy(), slow.max(1), atol=1e-9)
    mixture = logsumexp(slow, axis=1) - np.log(C)
    np.testing.assert_allclose(ANOMALY_SCORES["direction, mixture"](fitted, *images).numpy(), mixture, atol=1e-9)
    by_class = torch.stack([q.log_prob(torch.nn.functional.normalize(images[0], dim=1)) for q in fitted.prior], 1)
    torch.testing.assert_close(direction_log_densities(fitted.prior, images[0]), by_class, atol=1e-9, rtol=0)


def test_given_norm_scores_are_equation_5(fitted, images):
    norms = np.linalg.norm(images[0].numpy(), axis=1)[:, None] * np.linalg.norm(fitted.prior.weight.numpy(), axis=1)
    slow = densities(images[0], fitted.prior.weight, norms)
    np.testing.assert_allclose(ANOMALY_SCORES["given norm, max"](fitted, *images).numpy(), slow.max(1), atol=1e-9)
    mixture = logsumexp(slow, axis=1) - np.log(C)
    np.testing.assert_allclose(ANOMALY_SCORES["given norm, mixture"](fitted, *images).numpy(), mixture, atol=1e-9)


def test_equation_4_with_weights_of_one_norm():
    """Then q(i|a) with kappa_i = ||w_i|| ||a|| is the softmax of w_i.a, to rounding, for any norms of activations."""
    activations, _, weight, _ = drawn(2)
    weight = 1.7 * torch.nn.functional.normalize(weight, dim=1)
    posterior = given_norm_log_densities(weight, activations).log_softmax(1)
    np.testing.assert_allclose(posterior.numpy(), log_softmax((activations @ weight.T).numpy(), axis=1), atol=1e-10)
    unequal = weight * torch.linspace(1, 2, C).unsqueeze(1)
    apart = given_norm_log_densities(unequal, activations).log_softmax(1) - (activations @ unequal.T).log_softmax(1)
    assert float(apart.abs().max()) > 0.1, "with unequal norms equation 6 is an approximation"


def test_with_norm_scores_add_a_normal_density_of_the_log_norm(fitted, images):
    activations, labels, *_ = drawn()
    slow = densities(images[0], fitted.prior.weight, np.tile(fitted.prior.concentration.numpy(), (40, 1)))
    logs = np.log(np.linalg.norm(activations.numpy(), axis=1))
    for label in range(C):
        own = logs[labels.numpy() == label]
        assert fitted.norms.mean[label].item() == pytest.approx(own.mean())
        assert fitted.norms.deviation[label].item() == pytest.approx(own.std())
        other = np.log(np.linalg.norm(images[0].numpy(), axis=1))
        slow[:, label] += normal(own.mean(), own.std()).logpdf(other)
    np.testing.assert_allclose(ANOMALY_SCORES["with norm, max"](fitted, *images).numpy(), slow.max(1), atol=1e-9)
    mixture = logsumexp(slow, axis=1) - np.log(C)
    np.testing.assert_allclose(ANOMALY_SCORES["with norm, mixture"](fitted, *images).numpy(), mixture, atol=1e-9)


def test_mahalanobis_is_a_slow_loop(fitted, images):
    activations, labels = (part.numpy() for part in drawn()[:2])
    means = np.stack([activations[labels == label].mean(0) for label in range(C)])
    covariance = np.zeros((M, M))
    for a, label in zip(activations, labels, strict=True):
        covariance += np.outer(a - means[label], a - means[label]) / N
    inverse = np.linalg.inv(covariance)
    slow = [max(-(a - mean) @ inverse @ (a - mean) for mean in means) for a in images[0].numpy()]
    np.testing.assert_allclose(ANOMALY_SCORES["Mahalanobis"](fitted, *images).numpy(), slow, rtol=1e-9)


def test_a_unit_that_is_always_off_is_left_out_of_mahalanobis(images):
    activations, labels, *_ = drawn()
    plain = fit_gaussians(activations, labels, C).squared_distances(images[0])
    dead = torch.nn.functional.pad(activations, (0, 1))
    other = fit_gaussians(dead, labels, C).squared_distances(torch.nn.functional.pad(images[0], (0, 1), value=3.0))
    torch.testing.assert_close(other, plain, rtol=1e-8, atol=1e-8)


def test_softmax_orders_by_the_largest_probability_and_does_not_end(fitted, images):
    found = ANOMALY_SCORES["softmax"](fitted, *images)
    torch.testing.assert_close(found.sigmoid(), images[1].softmax(1).amax(1))
    sure = torch.tensor([[100.0, 0.0], [200.0, 0.0]])
    assert ANOMALY_SCORES["softmax"](fitted, images[0][:2], sure).tolist() == [100, 200], (
        "where probabilities are both 1"
    )


def test_energy_is_the_log_sum_of_exponentials(fitted, images):
    slow = logsumexp(images[1].numpy(), axis=1)
    np.testing.assert_allclose(ANOMALY_SCORES["energy"](fitted, *images).numpy(), slow, rtol=1e-12)


def test_what_scaling_changes(fitted, images):
    """Directions do not see it; the norm's density, refitted, shifts by nothing: its unit cancels."""
    activations, labels, *_ = drawn()
    refitted = fit_anomaly_scores(fitted.prior, 9 * activations, labels)
    for name in ANOMALY_SCORES:
        before = ANOMALY_SCORES[name](fitted, *images)
        scaled = ANOMALY_SCORES[name](fitted, 9 * images[0], images[1])
        again = ANOMALY_SCORES[name](refitted, 9 * images[0], images[1])
        direction, logits = name.startswith("direction"), name in ("softmax", "energy")
        assert torch.allclose(before, scaled, rtol=1e-9) == (direction or logits), name
        assert torch.allclose(before, again, rtol=1e-9) == (not name.startswith("given")), name


def test_a_zero_activation_is_uniform_in_direction(fitted):
    zero, logits = torch.zeros(1, M, dtype=torch.float64), torch.zeros(1, C)
    uniform = -np.log(8 * np.pi**2 / 3)  # one over the surface of the unit sphere in R^5
    for name in ANOMALY_SCORES:
        value = ANOMALY_SCORES[name](fitted, zero, logits).item()
        assert np.isfinite(value), name
        if name.startswith(("direction", "given")):
            assert value == pytest.approx(uniform)
    assert ANOMALY_SCORES["with norm, max"](fitted, zero, logits).item() < -1e3


def test_norms_that_do_not_vary_have_a_least_deviation():
    activations, labels, *_ = drawn()
    found = fit_norms(5 * torch.nn.functional.normalize(activations, dim=1), labels, C)
    assert found.deviation.tolist() == [1e-3] * C
    np.testing.assert_allclose(found.mean.numpy(), np.log(5))


def test_every_score_says_what_it_is():
    assert ANOMALY_SCORES.keys() == QUANTITIES.keys() and all(QUANTITIES.values())


@pytest.mark.parametrize("function", [fit_norms, fit_gaussians])
@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda a, y: (a[:0], y[:0]), "0 labels"),
        (lambda a, y: (a, y + 1), "label 4 is out of range: the classes are 0 to 3"),
        (lambda a, y: (a, y - 1), "label -1"),
        (lambda a, y: (a / 0, y), "not finite"),
        (lambda a, y: (a[y != 2], y[y != 2]), "class 2 has 0 activations"),
        (lambda a, y: (a[:5], y[:5]), "class 1 has 1 activations"),
    ],
)
def test_what_cannot_be_fitted_is_one_line(function, change, said):
    activations, labels, *_ = drawn()
    with pytest.raises(InputError, match=said):
        function(*change(activations, labels), C)


@pytest.mark.parametrize("space", ["raw", "centred", "whitened"])
def test_moments_fit_what_activations_fit(space):
    """In three batches, with classes that are wide, narrow and of one norm, and with activations of zero."""
    random = torch.Generator().manual_seed(3)
    weight, labels = torch.randn(4, 6, generator=random), torch.arange(600) % 4
    activations = weight[labels] + torch.randn(600, 6, generator=random) * torch.tensor([0.5, 1e-3, 1, 2])[labels, None]
    activations[labels == 3] = 5 * torch.nn.functional.normalize(activations[labels == 3], dim=1)
    activations[::50] = 0
    prior = ClassifierPrior.from_weight(weight, "mle", space=space, activations=activations, labels=labels)
    whole, directed = ActivationMoments.none(4, 6), DirectionMoments.none(4, 6)
    inside = prior.space.to(torch.float64)
    for rows, own in zip(activations.split(250), labels.split(250), strict=True):
        whole, directed = whole.add(rows, own), directed.add(inside.bring(rows.double()), own)
    expected, found = fit_anomaly_scores(prior, activations, labels), fit_by_moments(prior, directed, whole)
    assert torch.allclose(found.norms.mean, expected.norms.mean, rtol=1e-12, atol=1e-14)
    assert torch.allclose(found.norms.deviation, expected.norms.deviation, rtol=1e-9)
    assert torch.allclose(found.gaussians.means, expected.gaussians.means, atol=1e-13)
    assert torch.allclose(found.gaussians.precision, expected.gaussians.precision, rtol=1e-9)
    assert torch.equal(found.prior.loc, expected.prior.loc)
    again = found.in_gauge(prior, directed)
    assert torch.equal(again.norms.mean, found.norms.mean) and again.gaussians is found.gaussians


def test_a_class_of_one_activation_has_no_moments():
    labels = torch.tensor([0, 0, 1])
    rows = torch.randn(3, 4, generator=torch.Generator().manual_seed(0))
    for kind, fit in ((DirectionMoments, norms_of), (ActivationMoments, gaussians_of)):
        with pytest.raises(InputError, match="class 1 has 1 activations"):
            fit(kind.none(2, 4).add(rows, labels))
