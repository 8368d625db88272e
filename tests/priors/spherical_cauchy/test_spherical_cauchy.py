"""The spherical Cauchy law: against its density by quadrature, its textbook forms, and SciPy's distribution functions.

Every statistical comparison has a fixed seed. At random seeds a Kolmogorov-Smirnov one would fail at a rate of 1e-5, a
four-sigma one at 6e-5; there are some 12 of the former and 60 of the latter.
"""

import math

import numpy as np
import pytest
import torch
from scipy import integrate, special, stats
from torch.distributions import kl_divergence
from torch.nn.functional import normalize

from priors import HypersphericalUniform, SphericalCauchy, VonMisesFisher
from priors.errors import InputError
from priors.spherical_cauchy import concentration_of_logit, moments
from priors.vmf.bessel import log_sphere_area

CONCENTRATIONS = (0.0, 1e-4, 0.3, 4.0, 60.0, 1e3, 1e6)


def direction(m: int, *batch: int, seed: int = 0, dtype=torch.float64) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return normalize(torch.randn(*batch, m, generator=generator, dtype=torch.float64), dim=-1).to(dtype)


def by_quadrature(m: int, k: float, *functions) -> list[float]:
    """Expectations of functions of the cosine w and of p/u, by the textbook density in rho over the angle."""
    root = math.sqrt(1 + 2 * k / (m - 1))
    rho = (root - 1) / (root + 1)
    scale = min(1.0, 3 / root)
    nodes, weights = np.polynomial.legendre.leggauss(400)

    def log_ratio(angle):  # log of the density over the uniform one; 1 + rho^2 - 2 rho cos without its cancellation
        return (m - 1) * np.log((1 - rho**2) / ((1 - rho) ** 2 + 4 * rho * np.sin(angle / 2) ** 2))

    uniform = math.exp(special.gammaln(m / 2) - special.gammaln((m - 1) / 2)) / math.sqrt(math.pi)
    total = np.zeros(len(functions))
    ends = np.unique(np.minimum(np.pi, scale * np.array([0, 0.25, 0.5, 1, 2, 4, 8, 16, 64, 256, 1e3, 1e4, 1e7])))
    for low, high in zip(ends, ends[1:], strict=False):
        angle = (low + high) / 2 + (high - low) / 2 * nodes
        with np.errstate(divide="ignore"):
            mass = uniform * np.exp((m - 2) * np.log(np.sin(angle)) + log_ratio(angle)) * weights * (high - low) / 2
        total += [np.sum(mass * f(angle, log_ratio(angle))) for f in functions]
    return list(total)


@pytest.mark.parametrize("m", (2, 3, 4, 5, 7, 9, 10, 11, 65, 128, 1024))
def test_moments_and_divergence_by_quadrature(m):
    """The density of the law's definition integrates to one and has the moments that the polynomials give."""
    for k in CONCENTRATIONS[1:]:
        one, versine, spread, divergence = by_quadrature(
            m,
            k,
            lambda angle, log: np.ones_like(angle),
            lambda angle, log: 2 * np.sin(angle / 2) ** 2,
            lambda angle, log: np.sin(angle) ** 2,
            lambda angle, log: log,
        )
        assert one == pytest.approx(1, rel=1e-9), k
        at = torch.tensor(k, dtype=torch.float64)
        # On the circle the tail beyond the last node holds 1e-7 of E versine.
        assert moments.mean_resultant_deficit(m, at).item() == pytest.approx(versine, rel=1e-8), k
        assert moments.mean_resultant_length(m, at).item() == pytest.approx(1 - versine, abs=1e-9), k
        assert moments.spread(m, at).item() == pytest.approx(spread, rel=1e-8), k
        assert moments.kl_to_uniform(m, at).item() == pytest.approx(divergence, rel=1e-8, abs=1e-12), k


def test_density_is_the_textbook_one():
    """log p in rho by its definition, and the von Mises-Fisher distribution in the limit of many dimensions."""
    loc, points = direction(6), direction(6, 50, seed=1)
    for k in CONCENTRATIONS[:-2]:
        q = SphericalCauchy(loc, k)
        ratio = (1 - q.rho**2) / (1 + q.rho**2 - 2 * q.rho * points @ loc)
        torch.testing.assert_close(q.log_prob(points), 5 * ratio.log() - log_sphere_area(6), rtol=1e-9, atol=1e-9)
    far = direction(4096, 20, seed=2)
    gap = SphericalCauchy(far[0], 5.0).log_prob(far) - VonMisesFisher(far[0], 5.0).log_prob(far)
    assert gap.abs().max() < 5e-3


@pytest.mark.parametrize("dtype, tolerance", [(torch.float32, 2e-6), (torch.float64, 3e-15)])
def test_nothing_is_lost_at_either_end(dtype, tolerance):
    """For all rho of the type, in dimensions to 4096: finite values and gradients, float32 as float64 has them."""
    kind = torch.finfo(dtype)
    below_one = 1 - torch.logspace(math.log10(kind.eps / 2), 0, 40, dtype=torch.float64).to(dtype)
    rho = torch.cat([torch.tensor([0.0, kind.tiny], dtype=dtype), below_one])
    for m in (2, 3, 5, 9, 10, 11, 128, 4096):
        k = (2 * (m - 1) * rho / (1 - rho) ** 2).requires_grad_()
        q = SphericalCauchy(direction(m, dtype=dtype).expand(len(k), m), k)
        other = VonMisesFisher(direction(m, seed=1, dtype=dtype), 20.0)
        found = [q.kl_to_uniform(), q.entropy(), q.mean_resultant_length, q.variance, q.log_prob(other.loc)]
        found += [kl_divergence(q, other), kl_divergence(q, SphericalCauchy(other.loc, 20.0)), q.log_prob(q.loc)]
        found += [q.rsample(generator=torch.Generator().manual_seed(0)), q.rho]
        gradients = [torch.autograd.grad(one.sum(), k, retain_graph=True)[0] for one in found]
        assert all(one.isfinite().all() for one in found + gradients), m
        assert (found[0] >= 0).all() and (q.rho - rho).abs().max() <= 2 * kind.eps
    k = torch.logspace(-8, 12, 81, dtype=torch.float64)
    for m in (2, 3, 5, 9, 11, 64, 512):
        for function in (moments.kl_to_uniform, moments.mean_resultant_deficit, moments.spread):
            exact, ours = function(m, k.to(dtype).double()), function(m, k.to(dtype)).double()
            assert ((ours - exact) / exact).abs().max() < tolerance, (m, function)


def test_divergences():
    """By averages over draws within four standard errors, and by what they must be where they are known."""
    for m in (2, 3, 5, 11):
        p = SphericalCauchy(direction(m), 6.0)
        others = [VonMisesFisher(direction(m, seed=3), 3.0), SphericalCauchy(direction(m, seed=3), 2.0)]
        x = p.sample((50_000,), torch.Generator().manual_seed(m))
        for other in others:
            each = p.log_prob(x) - other.log_prob(x)
            error = (each.mean() - kl_divergence(p, other)) / (each.std() / len(x) ** 0.5)
            assert error.abs() < 4, (m, other)
        flat, uniform = SphericalCauchy(p.loc, 0.0), HypersphericalUniform(m, dtype=torch.float64)
        for one, other in ((p, uniform), (uniform, p), (p, flat), (flat, p), (p, VonMisesFisher(p.loc, 0.0))):
            torch.testing.assert_close(kl_divergence(one, other), p.kl_to_uniform(), rtol=1e-12, atol=1e-14)
        assert kl_divergence(p, p) == 0
        torch.testing.assert_close(kl_divergence(p, others[1]), kl_divergence(others[1], p), rtol=1e-12, atol=0)
    assert kl_divergence(p.expand((2, 1)), uniform.expand((3,))).shape == (2, 3)


@pytest.mark.parametrize("m", (3, 10))
def test_gradients(m):
    """Of density and divergences by finite differences, twice, also where two laws coincide."""
    loc, other = direction(m, 3), direction(m, 3, seed=8)
    other[1] = loc[1]
    k, r = torch.tensor([[0.2, 7.0, 300.0], [4.0, 7.0, 20.0]], dtype=torch.float64)
    inputs = [x.clone().requires_grad_() for x in (1.3 * loc, k, 0.6 * other, r)]

    def divergences(loc, k, other, r):
        q, mean = SphericalCauchy(normalize(loc, dim=-1), k), normalize(other, dim=-1)
        pairs = [kl_divergence(q, VonMisesFisher(mean, r)), kl_divergence(q, SphericalCauchy(mean, r))]
        return torch.stack([*pairs, q.log_prob(mean), q.entropy()])

    assert torch.autograd.gradcheck(divergences, inputs, fast_mode=True)
    assert torch.autograd.gradgradcheck(divergences, inputs, fast_mode=True)
    torch.testing.assert_close(
        torch.func.vmap(torch.func.grad(lambda k: moments.kl_to_uniform(m, k)))(k),
        torch.autograd.grad(moments.kl_to_uniform(m, inputs[1]).sum(), inputs[1])[0],
    )


def to_uniform_angle(m: int, k: float, z: torch.Tensor, loc: torch.Tensor) -> np.ndarray:
    """The distribution function at the angle of z to loc: that of the uniform law at the angle before the motion."""
    versine = (z.double() - loc.double()).square().sum(-1).numpy() / 2
    square = np.clip(versine / np.maximum(2 - versine, 1e-300), 0, None) * (1 + 2 * k / (m - 1))  # tan^2 of half of it
    return special.betainc((m - 1) / 2, (m - 1) / 2, square / (1 + square))


def test_the_distribution_function_is_that_of_the_density():
    """P(angle < a) as the samples' test has it, by the density's integral."""
    for m, k in ((2, 3.0), (5, 20.0), (11, 0.5)):
        loc = direction(m)
        across = normalize(direction(m, seed=9) - (direction(m, seed=9) @ loc) * loc, dim=0)
        area = log_sphere_area(m - 1) if m > 2 else math.log(2)

        def density(a, m=m, loc=loc, across=across, area=area, k=k):
            x = math.cos(a) * loc + math.sin(a) * across
            return math.exp(area + SphericalCauchy(loc, k).log_prob(x).item()) * math.sin(a) ** (m - 2)

        for a in (0.3, 1.2):
            x = math.cos(a) * loc + math.sin(a) * across
            below = integrate.quad(density, 0, a, epsabs=1e-11)[0]
            assert to_uniform_angle(m, k, x[None], loc)[0] == pytest.approx(below, abs=1e-9)


@pytest.mark.parametrize("m", (2, 3, 10, 128))
def test_samples(m):
    """Kolmogorov-Smirnov of the cosine's marginal, the mean resultant length, and directions across the mean."""
    loc = direction(m, dtype=torch.float32)
    for k in (0.5, 40.0, 1e6):
        count = 100_000 if m < 100 else 20_000
        z = SphericalCauchy(loc, k).sample((count,), torch.Generator().manual_seed(m))
        assert (z.double().norm(dim=-1) - 1).abs().max() < 1e-4  # as far off as `log_prob` allows
        assert stats.kstest(to_uniform_angle(m, k, z, loc), "uniform").pvalue > 1e-5, k
        versine = (z.double() - loc).square().sum(-1) / 2
        deficit = moments.mean_resultant_deficit(m, torch.tensor(k, dtype=torch.float64))
        if m > 3:  # the versine has a variance at any concentration
            assert abs(versine.mean() - deficit) < 4 * versine.std() / count**0.5, k
        probe = direction(m, seed=5) - (direction(m, seed=5) @ loc.double()) * loc.double()
        side = z.double() @ probe
        assert abs(side.mean()) < 4 * side.std() / count**0.5, k


def test_gradients_of_samples():
    """Of expectations, in concentration and mean, against Cov(f, score) over the same draws, within four errors."""
    count = 200_000
    for m, k in ((2, 2.0), (5, 8.0), (20, 30.0)):
        loc = direction(m).requires_grad_()
        kappa = torch.tensor(k, dtype=torch.float64, requires_grad=True)
        probe = direction(m, seed=6)
        q = SphericalCauchy(loc.expand(count, m), kappa.expand(count))
        z = q.rsample(generator=torch.Generator().manual_seed(m))
        f = (2 * z @ probe).exp()
        by_k, by_loc = torch.autograd.grad(f.sum(), (kappa, loc))
        at = torch.ones(count, dtype=torch.float64).mul(k).requires_grad_()
        means = loc.detach().expand(count, m).clone().requires_grad_()
        raw = SphericalCauchy(normalize(means, dim=-1), at, validate_args=False).log_prob(z.detach())
        score, score_loc = torch.autograd.grad(raw.sum(), (at, means))
        centred = f.detach() - f.detach().mean()
        for path, weights in ((by_k, score), (by_loc @ probe, score_loc @ probe)):
            terms = centred * weights
            if path is not by_k:
                tangent = probe - (probe @ loc.detach()) * loc.detach()
                path, terms = by_loc @ tangent, centred * (score_loc @ tangent)
            assert abs(path / count - terms.mean()) < 4 * 1.5 * terms.std() / count**0.5, (m, k)


def test_the_encoders_concentration():
    logit = torch.tensor([-50.0, -2.0, 0.0, 3.0, 60.0], dtype=torch.float64)
    rho = SphericalCauchy(direction(7).expand(5, 7), concentration_of_logit(7, logit)).rho
    torch.testing.assert_close(rho, logit.sigmoid(), rtol=1e-12, atol=1e-15)
    assert concentration_of_logit(4096, logit.float() * 10).isfinite().all()


def test_refusals():
    # What is given is not checked by default once something was compiled in this process.
    q, loc = SphericalCauchy(direction(4), 1.0, validate_args=True), direction(4)
    for pair in ((VonMisesFisher(loc, 1.0), q),):
        with pytest.raises(InputError, match="no closed form: those of a spherical Cauchy one to it, to the uniform"):
            kl_divergence(*pair)
    with pytest.raises(InputError, match="4 and 5 dimensions"):
        kl_divergence(q, HypersphericalUniform(5))
    with pytest.raises(InputError, match="at least 0"):
        SphericalCauchy(loc, -1.0, validate_args=True)
    with pytest.raises(InputError, match="value has norms"):
        q.expand((2,)).log_prob(3 * loc)
    assert type(q.expand((2,))) is SphericalCauchy
