"""The distributions: densities that integrate to one, SciPy's, moments by quadrature, divergences, shapes, refusals."""

import math

import numpy as np
import pytest
import torch
from scipy import integrate, stats
from torch.distributions import Distribution, kl_divergence
from torch.nn.functional import normalize

from priors.errors import InputError
from priors.vmf import HypersphericalUniform, VonMisesFisher, bessel
from priors.vmf.sphere import unit_sphere


def direction(m: int, *batch: int, seed: int = 0, dtype=torch.float64) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return normalize(torch.randn(*batch, m, generator=generator, dtype=torch.float64), dim=-1).to(dtype)


def at_cosines(loc: torch.Tensor, cosines: torch.Tensor) -> torch.Tensor:
    """Points of the sphere whose inner products with loc (m,) are the cosines."""
    other = direction(len(loc), seed=99, dtype=loc.dtype)
    other = normalize(other - (other @ loc) * loc, dim=-1)
    return cosines[:, None] * loc + (1 - cosines**2).sqrt()[:, None] * other


def marginal(distribution: VonMisesFisher, weight) -> float:
    """E weight(t) of the cosine t by integrating over the sphere, whose area at angle a is |S^(m-2)| sin(a)^(m-2)."""
    m = distribution.event_shape[0]
    ring = 2 * math.pi ** ((m - 1) / 2) / math.gamma((m - 1) / 2)

    def integrand(angle: float) -> float:
        point = at_cosines(distribution.loc, torch.tensor([math.cos(angle)], dtype=torch.float64))
        return ring * math.sin(angle) ** (m - 2) * distribution.log_prob(point).exp().item() * weight(math.cos(angle))

    width = min(math.pi, 30 / math.sqrt(max(distribution.concentration.item(), 1e-9)))
    return integrate.quad(integrand, 0, width, epsabs=1e-12, epsrel=1e-10, limit=200)[0]


@pytest.mark.parametrize("m, kappa", [(2, 0.0), (2, 3.0), (3, 500.0), (5, 0.1), (10, 20.0), (64, 1e4)])
def test_density_integrates_to_one_and_has_its_moments(m, kappa):
    loc = direction(m)
    distribution = VonMisesFisher(loc, kappa, validate_args=False)
    assert marginal(distribution, lambda t: 1.0) == pytest.approx(1, abs=1e-8)
    first, second = marginal(distribution, lambda t: t), marginal(distribution, lambda t: t * t)
    assert distribution.mean_resultant_length.item() == pytest.approx(first, abs=1e-8)
    torch.testing.assert_close(distribution.mean, first * loc, rtol=0, atol=1e-8)
    # x = t mu + a part orthogonal to mu, whose squared length 1 - t^2 is shared evenly by m - 1 directions.
    variance = second * loc**2 + (1 - second) / (m - 1) * (1 - loc**2) - (first * loc) ** 2
    torch.testing.assert_close(distribution.variance, variance, rtol=0, atol=1e-8)
    torch.testing.assert_close(distribution.stddev**2, distribution.variance)


@pytest.mark.parametrize("m", (2, 3, 8, 40))
@pytest.mark.parametrize("kappa", (0.01, 2.0, 60.0))
def test_agrees_with_scipy(m, kappa):
    loc, points = direction(m), direction(m, 7, seed=1)
    ours, theirs = VonMisesFisher(loc, kappa), stats.vonmises_fisher(loc.numpy(), kappa)
    np.testing.assert_allclose(ours.log_prob(points), theirs.logpdf(points.numpy()), rtol=1e-11, atol=1e-11)
    np.testing.assert_allclose(ours.entropy(), theirs.entropy(), rtol=1e-11, atol=1e-11)
    # Entropy by its own definition, -E log p with E mu.x = A.
    at_mean = ours.log_prob(loc) - kappa * (1 - ours.mean_resultant_length)
    torch.testing.assert_close(ours.entropy(), -at_mean, rtol=1e-11, atol=1e-11)


def test_log_prob_in_float32_at_a_huge_concentration():
    """Against float64 at the same points, where the textbook form k mu.x + log C is wrong by whole units."""
    loc = direction(10, dtype=torch.float32)
    points = normalize(loc + 1e-3 * direction(10, 50, seed=3, dtype=torch.float32), dim=-1)
    single = VonMisesFisher(loc, 1e6).log_prob(points)
    exact = VonMisesFisher(loc.double(), 1e6).log_prob(points.double())
    textbook = 1e6 * points @ loc - (1e6 - VonMisesFisher(loc, 1e6).log_prob(loc))
    assert (single - exact).abs().max() < 1e-4
    assert (textbook - exact).abs().max() > 1e-2


def test_gradients_of_log_prob():
    """By finite differences, the mean direction moving on the sphere."""
    raw = direction(5, 3).mul(1.7).requires_grad_()
    kappa = torch.tensor([0.1, 3.0, 80.0], dtype=torch.float64, requires_grad=True)
    points = direction(5, 3, seed=4)

    def log_prob(raw, kappa):
        return VonMisesFisher(normalize(raw, dim=-1), kappa).log_prob(points)

    assert torch.autograd.gradcheck(log_prob, (raw, kappa))
    assert torch.autograd.gradgradcheck(log_prob, (raw, kappa))


def textbook_divergence(p: VonMisesFisher, q: VonMisesFisher) -> torch.Tensor:
    """E_p [log p - log q] with E_p x = A(k_p) mu_p and nothing rearranged."""
    m = p.event_shape[0]
    length = bessel.mean_resultant_length(m, p.concentration)
    cosine = (p.loc * q.loc).sum(-1)
    normalisers = bessel.log_normaliser(m, p.concentration) - bessel.log_normaliser(m, q.concentration)
    return (p.concentration - q.concentration * cosine) * length + normalisers


@pytest.mark.parametrize("m", (2, 3, 10, 128))
def test_divergence_of_two(m):
    p = VonMisesFisher(
        direction(m, 6, 1), torch.tensor([0.0, 1e-3, 1.0, 5.0, 40.0, 300.0], dtype=torch.float64)[:, None]
    )
    q = VonMisesFisher(direction(m, 4, seed=5), torch.tensor([0.0, 0.5, 39.0, 1e3], dtype=torch.float64))
    divergence = kl_divergence(p, q)
    assert divergence.shape == (6, 4) and (divergence >= 0).all()
    torch.testing.assert_close(divergence, textbook_divergence(p, q), rtol=1e-11, atol=1e-11)
    assert kl_divergence(p, p).eq(0).all()


@pytest.mark.parametrize("m", (2, 3, 10))
def test_gradients_of_the_divergence(m):
    """By finite differences of it as a function on the sphere, also where the two coincide (a minimum) or nearly do."""
    loc = direction(m, 4)
    other = torch.stack((direction(m, seed=8), -loc[1], loc[2], loc[3]))
    kappa = torch.tensor([2.0, 7.0, 30.0, 30.0], dtype=torch.float64)
    inputs = [
        x.clone().requires_grad_() for x in (1.3 * loc, kappa, 0.6 * other, kappa + torch.tensor([4, 0, 0.01, 0]))
    ]

    def divergence(loc, k, other, r):
        return kl_divergence(VonMisesFisher(normalize(loc, dim=-1), k), VonMisesFisher(normalize(other, dim=-1), r))

    assert torch.autograd.gradcheck(divergence, inputs)
    assert torch.autograd.gradgradcheck(divergence, inputs)
    for gradient in torch.autograd.grad(divergence(*inputs)[3], inputs):
        assert gradient[3].abs().max() < 1e-14


def test_divergence_of_close_ones_in_float32():
    """Two concentrations of 1e4 a thousandth apart: the textbook form in float32 is off by more than the value."""
    loc = direction(20, dtype=torch.float32)
    p, q = VonMisesFisher(loc, 1e4), VonMisesFisher(loc, 1.001e4)
    exact_loc = direction(20)
    exact = textbook_divergence(VonMisesFisher(exact_loc, 1e4), VonMisesFisher(exact_loc, 1.001e4)).item()
    assert exact == pytest.approx(19 / 4 * 1e-6, rel=2e-3)  # N/2 log(r/q)^2, far from the uniform
    assert kl_divergence(p, q).item() == pytest.approx(exact, rel=1e-4)
    assert abs(textbook_divergence(p, q).item() - exact) > exact


@pytest.mark.parametrize("m", (2, 3, 20))
def test_divergences_with_the_uniform(m):
    p = VonMisesFisher(direction(m, 3), torch.tensor([0.0, 2.0, 50.0], dtype=torch.float64))
    uniform = HypersphericalUniform(m, dtype=torch.float64)
    flat = VonMisesFisher(direction(m, 3, seed=2), torch.zeros(3, dtype=torch.float64))
    torch.testing.assert_close(kl_divergence(p, uniform), kl_divergence(p, flat), rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(kl_divergence(p, uniform), uniform.entropy() - p.entropy(), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(kl_divergence(uniform, p), kl_divergence(flat, p), rtol=1e-12, atol=1e-14)
    assert kl_divergence(uniform, uniform.expand((2, 3))).equal(torch.zeros(2, 3, dtype=torch.float64))
    assert kl_divergence(p, uniform.expand((2, 3))).shape == (2, 3)
    assert kl_divergence(uniform.expand((2, 3)), p).shape == (2, 3)
    points = direction(m, 5, 2, 3, seed=6)
    torch.testing.assert_close(uniform.expand((2, 3)).log_prob(points), flat.log_prob(points), rtol=1e-13, atol=1e-13)
    assert uniform.mean.eq(0).all() and flat.variance.allclose(uniform.variance)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_shapes_and_expansion(dtype):
    loc = direction(4, 5, 1, dtype=dtype)
    kappa = torch.rand(3, generator=torch.Generator().manual_seed(0), dtype=dtype) * 10
    one = VonMisesFisher(loc, kappa)
    assert one.batch_shape == (5, 3) and one.event_shape == (4,)
    assert one.loc.shape == (5, 3, 4) and one.concentration.shape == (5, 3)
    wide = one.expand((2, 5, 3))
    assert type(wide) is VonMisesFisher and wide.batch_shape == (2, 5, 3) and wide.event_shape == (4,)
    assert wide.mean.shape == wide.variance.shape == (2, 5, 3, 4) and wide.mode.shape == (2, 5, 3, 4)
    assert wide.entropy().shape == wide.mean_resultant_length.shape == (2, 5, 3)
    assert wide.entropy()[1].equal(one.entropy())
    points = direction(4, 7, 2, 5, 3, dtype=dtype)
    assert wide.log_prob(points).shape == (7, 2, 5, 3)
    assert wide.log_prob(points)[0, 0].equal(one.log_prob(points[0, 0]))
    assert VonMisesFisher(loc, 2.0).batch_shape == (5, 1) and VonMisesFisher(loc[0, 0], 2).batch_shape == ()
    assert VonMisesFisher(loc[:0], 2.0).entropy().shape == (0, 1)
    for value in (wide.mean, wide.variance, wide.entropy(), wide.log_prob(points)):
        assert value.dtype == dtype
    assert "loc: torch.Size([5, 3, 4])" in repr(one)


def test_sampling_goes_through():
    """Shapes, streams, gradients and, within four standard errors at a fixed seed (fails 1 seed in 1,000), the mean."""
    loc = direction(6, 2).requires_grad_()
    kappa = torch.tensor([3.0, 30.0], dtype=torch.float64, requires_grad=True)
    distribution = VonMisesFisher(loc, kappa)

    def stream():
        return torch.Generator().manual_seed(1)

    samples = distribution.rsample((4000,), generator=stream())
    assert samples.shape == (4000, 2, 6) and unit_sphere.check(samples).all()
    assert samples.equal(distribution.sample(torch.Size((4000,)), generator=stream()))
    assert distribution.sample().shape == (2, 6) and not distribution.sample().requires_grad
    error = (samples - distribution.mean).mean(0) / (distribution.variance / 4000).sqrt()
    assert error.abs().max() < 4
    gradients = torch.autograd.grad(samples.sum(), (loc, kappa))
    assert all(gradient.isfinite().all() and gradient.abs().max() > 0 for gradient in gradients)


def test_uniform_samples():
    uniform = HypersphericalUniform(3, (2,), dtype=torch.float64)
    samples = uniform.sample((20_000,), generator=torch.Generator().manual_seed(0))
    assert samples.shape == (20_000, 2, 3) and unit_sphere.check(samples).all()
    # Archimedes: a coordinate is uniform on [-1, 1]. Fixed seed; the test would fail one seed in a thousand.
    for column in samples.flatten(0, 1).T:
        assert stats.kstest(column.numpy(), "uniform", args=(-1, 2)).pvalue > 1e-3 / 3
    assert HypersphericalUniform(5).rsample((2,)).dtype == torch.get_default_dtype()


UNIT = direction(4)


@pytest.mark.parametrize(
    "loc, concentration, message",
    [
        (2 * UNIT, 1.0, "give unit vectors, as by torch.nn.functional.normalize"),
        (UNIT * math.nan, 1.0, "loc has norms between nan"),
        (UNIT, -1.0, "at least 0"),
        (UNIT, math.inf, "finite numbers"),
        (UNIT, math.nan, "concentration has NaN"),
        (UNIT.expand(3, 4), torch.tensor([1.0, -2.0, 3.0]).double(), "values between -2 and 3"),
        (UNIT[:1], 1.0, "must be at least 2"),
        (UNIT.expand(3, 4), torch.ones(2).double(), r"must broadcast with \(3,\)"),
        (UNIT, torch.ones(2).float(), "give both one type"),
        (UNIT, torch.ones(2, device="meta").double(), "is on meta, loc on cpu: bring both to one device"),
        (UNIT.half(), 1.0, "give a tensor of float32 or float64"),
        (torch.tensor([1, 0]), 1.0, "give a tensor of float32 or float64"),
    ],
)
def test_refusals(loc, concentration, message):
    with pytest.raises(InputError, match=message):
        VonMisesFisher(loc, concentration)


def test_when_values_are_checked():
    assert VonMisesFisher(2 * UNIT, -1.0, validate_args=False).batch_shape == ()
    distribution = VonMisesFisher(UNIT, 1.0)
    with pytest.raises(InputError, match="value has norms between"):
        distribution.log_prob(3 * UNIT)
    with pytest.raises(InputError, match="value has norms between"):
        distribution.expand((2,)).log_prob(3 * UNIT)
    with pytest.raises(InputError, match="last dimension must be 4"):
        distribution.log_prob(direction(5))
    with pytest.raises(InputError, match="value is torch.int64"):
        distribution.log_prob(torch.tensor([1, 0, 0, 0]))
    VonMisesFisher(UNIT, 1.0, validate_args=False).log_prob(3 * UNIT)
    # Elsewhere than on the CPU looking at values would wait for the device: the meta device has none to look at.
    away = VonMisesFisher(torch.empty(3, 4, device="meta"), torch.empty(3, device="meta"))
    assert kl_divergence(away, HypersphericalUniform(4, device="meta")).device.type == "meta"
    Distribution.set_default_validate_args(False)
    try:
        VonMisesFisher(2 * UNIT, 1.0)
    finally:
        Distribution.set_default_validate_args(True)


def test_uniform_refusals():
    with pytest.raises(InputError, match="integer of at least 2"):
        HypersphericalUniform(1)
    with pytest.raises(InputError, match="float32 or torch.float64"):
        HypersphericalUniform(3, dtype=torch.int64)
    with pytest.raises(InputError, match="3 and 4 dimensions"):
        kl_divergence(HypersphericalUniform(3), HypersphericalUniform(4))
    with pytest.raises(InputError, match="value has norms between"):
        HypersphericalUniform(4).log_prob(3 * UNIT)
    assert HypersphericalUniform(4, validate_args=False).log_prob(3 * UNIT).isfinite()


@pytest.mark.gpu
def test_on_a_gpu_without_synchronising(no_waits):
    cpu = VonMisesFisher(direction(20, 64, dtype=torch.float32), torch.linspace(0, 100, 64))

    def results(device):
        loc, kappa = cpu.loc.to(device).requires_grad_(), cpu.concentration.to(device).requires_grad_()
        p, q = VonMisesFisher(loc, kappa), VonMisesFisher(loc.detach().roll(1, 0), kappa.detach().roll(1))
        uniform = HypersphericalUniform(20, device=device)
        values = [kl_divergence(p, uniform), kl_divergence(p, q), p.log_prob(q.loc), p.entropy(), p.mean, p.variance]
        return values + list(torch.autograd.grad(sum(value.sum() for value in values), (loc, kappa)))

    results("cuda")  # makes the tables
    with no_waits():
        found = results("cuda")
    for a, b in zip(found, results("cpu"), strict=True):
        torch.testing.assert_close(a.cpu(), b, rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("batches", [((), ()), ((3,), ()), ((2, 1), (3,))], ids=str)
def test_divergences_have_derivatives_of_both_orders_in_both_directions_and_concentrations(batches):
    generator = torch.Generator().manual_seed(0)
    first, second = (torch.randn(*batch, 4, generator=generator, dtype=torch.float64) for batch in batches)
    k, r = (9 * torch.rand(batch, generator=generator, dtype=torch.float64) for batch in batches)

    def divergence(first, second, k, r):
        return kl_divergence(
            *(
                VonMisesFisher(normalize(loc, dim=-1), kappa, validate_args=False)
                for loc, kappa in ((first, k), (second, r))
            )
        )

    inputs = [part.requires_grad_() for part in (first, second, k, r)]
    assert torch.autograd.gradcheck(divergence, inputs)
    assert torch.autograd.gradgradcheck(divergence, inputs)
