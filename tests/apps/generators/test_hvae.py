"""The hyperspherical autoencoders against numerical integration over the circle and the sphere."""

import math

import numpy as np
import pytest
import torch
from scipy.special import logsumexp
from scipy.stats import vonmises_fisher

from apps.generators.class_latents import ClassLatents
from apps.generators.hvae import HVAE, HVAEC, HVAEL, VARIANTS, rebuild
from apps.generators.posteriors import POSTERIORS
from priors import ClassifierPrior, VonMisesFisher
from priors.errors import InputError

CLASSES = ("zero", "one", "two")
SHAPE = (1, 3, 4)


def model_of(kind, dim=2, encoder_label=False, posterior="vmf"):
    """A small model whose likelihoods differ between latents and classes, as freshly initialised ones hardly do."""
    torch.manual_seed(0)
    options = {"posterior": posterior}
    if issubclass(kind, ClassLatents):
        options["prior"] = ClassifierPrior.from_weight(torch.randn(3, dim), [2.0, 5.0, 9.0], class_names=CLASSES)
    model = kind(SHAPE, dim, CLASSES, hidden=(8, 6), encoder_label=encoder_label, **options).double()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.mul_(1 if name.startswith("prior") else 2.5)
    return model.eval()


def images_and_labels():
    generator = torch.Generator().manual_seed(1)
    return (
        (torch.rand(5, *SHAPE, generator=generator) > 0.5).double(),
        torch.tensor([0, 1, 2, 1, 0]),
    )


def quadrature(dim):
    """Points on the sphere in R^dim and the logarithms of their weights: exact to rounding for smooth functions."""
    if dim == 2:
        angle = np.arange(4000) * (2 * np.pi / 4000)
        return np.stack([np.cos(angle), np.sin(angle)], -1), np.full(4000, math.log(2 * np.pi / 4000))
    nodes, weights = np.polynomial.legendre.leggauss(80)
    angle = np.arange(160) * (2 * np.pi / 160)
    ring = np.sqrt(1 - nodes**2)
    points = np.stack(
        [np.outer(ring, np.cos(angle)), np.outer(ring, np.sin(angle)), np.repeat(nodes[:, None], 160, 1)], -1
    ).reshape(-1, 3)
    return points, np.log(np.repeat(weights * (2 * np.pi / 160), 160))


def log_prior(model, points, label):
    if isinstance(model, ClassLatents):
        loc = model.prior.loc[label].detach().double().numpy()
        kappa = float(model.prior.concentration[label].detach())
        return vonmises_fisher(loc / np.linalg.norm(loc), kappa).logpdf(points)
    dim = points.shape[1]
    return np.full(len(points), -math.log(2 * np.pi if dim == 2 else 4 * np.pi))


def log_bernoulli(model, points, image, label):
    """log p(x|z, i) the plain way, pixel by pixel."""
    z = torch.from_numpy(points)
    labels = torch.full((len(z),), label)
    with torch.no_grad():
        probability = model.decode(z, labels).sigmoid().numpy()
    x = image.flatten().numpy()
    return (x * np.log(probability) + (1 - x) * np.log1p(-probability)).sum(-1)


def log_density(posterior, n, points):
    """log q of the n-th image: SciPy's, or the definition in rho on the circle."""
    loc, kappa = posterior.loc[n].numpy() / float(posterior.loc[n].norm()), float(posterior.concentration[n])
    if isinstance(posterior, VonMisesFisher):
        return vonmises_fisher(loc, kappa).logpdf(points)
    rho = 1 + (1 - math.sqrt(1 + 2 * kappa)) / kappa  # of kappa = 2 rho / (1 - rho)^2
    return np.log((1 - rho**2) / (1 + rho**2 - 2 * rho * points @ loc) / (2 * np.pi))


def by_integration(model, image, label):
    """log p(x|i) by integrating over the latent sphere."""
    points, log_weights = quadrature(model.dim)
    return logsumexp(log_bernoulli(model, points, image, label) + log_prior(model, points, label) + log_weights)


@pytest.mark.parametrize("dim", [2, 3])
@pytest.mark.parametrize("kind", VARIANTS.values(), ids=VARIANTS)
@pytest.mark.parametrize("encoder_label", [False, True])
def test_importance_sampling_agrees_with_integration(kind, dim, encoder_label):
    if kind is HVAE and encoder_label:
        pytest.skip("the unconditional model has no label to see")
    model = model_of(kind, dim, encoder_label)
    images, labels = images_and_labels()
    samples, repeats = 2000, 6
    with torch.no_grad():
        runs = [model.evidence(images, labels, samples, torch.Generator().manual_seed(seed)) for seed in range(repeats)]
    given = torch.stack([run.given_label for run in runs])
    marginal = torch.stack([run.marginal for run in runs])
    for n, (image, label) in enumerate(zip(images, labels.tolist(), strict=True)):
        conditional = [by_integration(model, image, i) for i in range(len(CLASSES))]
        expected = conditional[label]
        expected_marginal = logsumexp(conditional) - math.log(len(CLASSES)) if kind is not HVAE else expected
        # 100 comparisons of means of 6, at 8 standard errors of a t with 5 degrees of freedom: 5e-4 each. Bias: O(1/K).
        for values, truth in ((given[:, n], expected), (marginal[:, n], expected_marginal)):
            error = float(values.std() / repeats**0.5)
            assert abs(float(values.mean()) - truth) < 8 * error + 5e-4


@pytest.mark.parametrize("posterior", POSTERIORS)
@pytest.mark.parametrize("kind", VARIANTS.values(), ids=VARIANTS)
def test_the_bound_is_its_integral(kind, posterior):
    """E_q log p(x|z) - KL(q || p), both integrated over the circle, against the mean of the model's own draws."""
    model = model_of(kind, posterior=posterior)
    images, labels = images_and_labels()
    points, log_weights = quadrature(2)
    with torch.no_grad():
        posterior = model.encode(images, labels)
        many = 4000
        bound = model(images.repeat(many, 1, 1, 1), labels.repeat(many), torch.Generator().manual_seed(0))
    reconstruction = bound.reconstruction.view(many, -1)
    for n, (image, label) in enumerate(zip(images, labels.tolist(), strict=True)):
        log_q = log_density(posterior, n, points)
        q = np.exp(log_q + log_weights)
        divergence = (q * (log_q - log_prior(model, points, label))).sum()
        assert float(bound.divergence[n]) == pytest.approx(divergence, rel=1e-5, abs=1e-6)
        expected = (q * log_bernoulli(model, points, image, label)).sum()
        error = float(reconstruction[:, n].std()) / many**0.5
        assert abs(float(reconstruction[:, n].mean()) - expected) < 5 * error  # 15 comparisons at 6e-7


@pytest.mark.parametrize("kind", VARIANTS.values(), ids=VARIANTS)
@pytest.mark.parametrize("posterior", POSTERIORS)
def test_the_bound_is_below_the_likelihood_and_chunks_do_not_matter(kind, posterior):
    model = model_of(kind, posterior=posterior)
    images, labels = images_and_labels()
    with torch.no_grad():
        whole = model.evidence(images, labels, 10_000, torch.Generator().manual_seed(0), chunk=10**6)
        parts = model.evidence(images, labels, 10_000, torch.Generator().manual_seed(0), chunk=3_333)
    assert (whole.reconstruction - whole.divergence < whole.given_label).all()
    assert torch.allclose(whole.given_label, parts.given_label, atol=0.25)  # other draws, same quantity
    expected = [by_integration(model, *one) for one in zip(images, labels.tolist(), strict=True)]
    assert np.abs(whole.given_label.numpy() - expected).max() < 0.05  # the standard error is .01 or less
    assert whole.given_label.isfinite().all() and parts.marginal.isfinite().all()


def test_parameters_are_those_of_the_reference_network():
    model = HVAE((1, 28, 28), 11, [str(i) for i in range(10)])
    encoder = 784 * 256 + 256 + 256 * 128 + 128 + (128 * 11 + 11) + (128 + 1)  # mean direction and concentration
    decoder = 11 * 128 + 128 + 128 * 256 + 256 + 256 * 784 + 784
    assert sum(parameter.numel() for parameter in model.parameters()) == encoder + decoder


@pytest.mark.parametrize("kind", VARIANTS.values(), ids=VARIANTS)
def test_a_model_is_rebuilt_from_its_description_and_weights(kind):
    model = model_of(kind).float()
    again = rebuild(model.description(), model.state_dict())
    again.load_state_dict(model.state_dict())
    images, labels = images_and_labels()
    with torch.no_grad():
        ours = model(images.float(), labels, torch.Generator().manual_seed(3))
        theirs = again(images.float(), labels, torch.Generator().manual_seed(3))
    assert torch.equal(ours.reconstruction, theirs.reconstruction)
    assert torch.equal(ours.divergence, theirs.divergence)
    assert again.description() == model.description()


def test_a_model_keeps_its_posterior_and_older_ones_have_the_only_one_there_was():
    for name, kind in POSTERIORS.items():
        model = model_of(HVAEL, posterior=name)
        again = rebuild(model.description(), model.state_dict())
        images, labels = images_and_labels()
        assert type(again.encode(images.float())) is type(model.encode(images)) is kind.family
    older = model_of(HVAE).description()
    del older["posterior"]
    assert rebuild(older, {}).posterior == "vmf"


def test_concentration_at_sampling_time_moves_samples_to_the_class_centre():
    model = model_of(HVAEL, dim=3)
    labels = torch.zeros(2000, dtype=torch.long)
    spread = []
    for concentration in (None, 1e6):
        z = model.sample_latent(labels, torch.Generator().manual_seed(0), concentration)
        spread.append(float((z @ model.prior.loc[0].to(z)).mean()))
    assert spread[0] == pytest.approx(1 / math.tanh(2.0) - 1 / 2.0, abs=0.04)  # A_3(2) = coth 2 - 1/2
    assert spread[1] > 0.99999


def test_unconditional_latents_are_uniform_and_take_no_concentration():
    model = model_of(HVAE, dim=3)
    labels = torch.zeros(4000, dtype=torch.long)
    z = model.sample_latent(labels, torch.Generator().manual_seed(0))
    assert float(z.mean(0).norm()) < 4 * (1 / 4000) ** 0.5  # 4 standard errors of three coordinates of variance 1/3
    with pytest.raises(InputError, match="uniform prior"):
        model.sample_latent(labels, None, 5.0)


def test_gradients_reach_every_weight_and_leave_the_prior_alone():
    model = model_of(HVAEL).float().train()
    images, labels = images_and_labels()
    before = {name: buffer.clone() for name, buffer in model.named_buffers()}
    bound = model(images.float(), labels, torch.Generator().manual_seed(0))
    (bound.divergence - bound.reconstruction).mean().backward()
    assert all(parameter.grad is not None and parameter.grad.abs().sum() > 0 for parameter in model.parameters())
    assert not any(name.startswith("prior") for name, _ in model.named_parameters())
    assert all(torch.equal(before[name], buffer) for name, buffer in model.named_buffers())


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: HVAE(SHAPE, 1, CLASSES), "latent dimension"),
        (lambda: HVAE(SHAPE, 3, CLASSES, posterior="cauchy"), "unknown posterior 'cauchy'.*spherical-cauchy"),
        (lambda: HVAE(SHAPE, 3, CLASSES, encoder_label=True), "sees the label"),
        (lambda: HVAEL(SHAPE, 4, CLASSES, prior=ClassifierPrior.from_weight(torch.eye(3), 20)), "R\\^3.*R\\^4"),
        (lambda: HVAEL(SHAPE, 3, CLASSES[:2], prior=ClassifierPrior.from_weight(torch.eye(3), 20)), "3 classes"),
        (lambda: model_of(HVAE).encode(torch.zeros(2, 1, 5, 5)), "shape"),
        (lambda: model_of(HVAEC, encoder_label=True).encode(torch.zeros(2, *SHAPE).double()), "labels"),
        (lambda: rebuild({"model": "hvae"}, {}), "do not fit"),
    ],
)
def test_bad_input_is_refused_in_one_line(make, message):
    with pytest.raises(InputError, match=message) as caught:
        make()
    assert "\n" not in str(caught.value)
