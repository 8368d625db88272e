"""Distributions on the sphere: where a public package parts from the law, and what two of ours cost.

    PYTHONPATH=path/to/s-vae-pytorch python tests/bench/bench_peer.py

Prints, in float32, what `priors.SphericalCauchy` takes for a sample, a log-density and KL to the uniform distribution,
each with its gradient, beside `priors.VonMisesFisher` and the spherical Cauchy formulas as they are written in rho.
Where hyperspherical-vae (s-vae-pytorch) can be imported, first where that parts from the von Mises-Fisher law: the mean
cosine of 200,000 samples against A_m(kappa), d E[cosine] / d kappa by its own gradient against A_m', and the divergence
from uniform against its 30-digit value.
"""

import time
from collections.abc import Callable
from functools import partial
from statistics import median

import mpmath
import torch
from processor import about
from torch import Tensor
from torch.distributions import kl_divergence
from turns import compared

from priors import HypersphericalUniform, SphericalCauchy, VonMisesFisher


def truth(m: int, kappa: float) -> tuple[float, float, float]:
    """A_m, A_m' and KL(vMF || uniform)."""
    with mpmath.workdps(30):
        half, k = mpmath.mpf(m) / 2, mpmath.mpf(kappa)
        a = mpmath.besseli(half, k) / mpmath.besseli(half - 1, k)
        slope = 1 - a * a - (m - 1) * a / k
        log_ratio = mpmath.log(mpmath.gamma(half) * (2 / k) ** (half - 1) * mpmath.besseli(half - 1, k))
        return float(a), float(slope), float(k * a - log_ratio)


def measured(distribution, scale: torch.Tensor, loc: torch.Tensor, uniform) -> tuple[float, float, float]:
    """Mean cosine, its gradient in kappa, and the divergence, by a distribution's own methods."""
    cosine = (distribution.rsample() * loc).sum(-1)
    (gradient,) = torch.autograd.grad(cosine.mean(), scale)
    divergence = torch.distributions.kl_divergence(distribution, uniform).flatten()[0]
    return float(cosine.mean().detach()), float(gradient.sum()), float(divergence.detach())


def plain_sample(loc: Tensor, rho: Tensor) -> Tensor:
    """The Moebius transformation as it is written, differentiated by autograd."""
    u = torch.nn.functional.normalize(torch.randn_like(loc), dim=-1)
    rho = rho[:, None]
    moved = (1 - rho**2) * (u + rho * loc) / (1 + 2 * rho * (u * loc).sum(-1, keepdim=True) + rho**2)
    return moved + rho * loc


def plain_density(loc: Tensor, rho: Tensor, x: Tensor) -> Tensor:
    """Up to the logarithm of the sphere's area."""
    m = loc.shape[-1]
    return (m - 1) * (torch.log1p(-(rho**2)) - torch.log(1 + rho**2 - 2 * rho * (x * loc).sum(-1)))


def plain_divergence(m: int, rho: Tensor, nodes: int = 64) -> Tensor:
    """KL to the uniform distribution by Gauss-Jacobi quadrature over the cosine; some 1e-6 off at rho = .8, m = 11."""
    from scipy.special import roots_gegenbauer

    s, weights = (torch.tensor(x, dtype=rho.dtype) for x in roots_gegenbauer(nodes, m / 2 - 1))
    log = torch.log(1 + rho[:, None] ** 2 + 2 * rho[:, None] * s)
    return (m - 1) * ((log * weights).sum(-1) / weights.sum() - torch.log1p(-(rho**2)))


def ways(m: int, count: int) -> dict[str, dict[str, Callable[[], object]]]:
    """By quantity and way, a call that computes it with its gradient; concentrations are about those of an HVAE."""
    loc = torch.nn.functional.normalize(torch.randn(count, m), dim=-1).requires_grad_()
    x = torch.nn.functional.normalize(torch.randn(count, m), dim=-1)
    kappa = torch.linspace(20, 200, count).requires_grad_()
    rho = SphericalCauchy(loc, kappa).rho.detach().requires_grad_()
    uniform, probe = HypersphericalUniform(m), torch.randn(count, m)

    def by(value: Callable[[], Tensor], parameters: tuple[Tensor, ...], weights: Tensor | float = 1.0):
        return lambda: torch.autograd.grad((value() * weights).sum(), parameters)

    found = {}
    for name, of in (("spherical Cauchy", SphericalCauchy), ("von Mises-Fisher", VonMisesFisher)):

        def one(of=of):
            return of(loc, kappa, validate_args=False)

        found[name] = {
            "sample": by(lambda one=one: one().rsample(), (loc, kappa), probe),
            "density": by(lambda one=one: one().log_prob(x), (loc, kappa)),
            "divergence": by(lambda one=one: kl_divergence(one(), uniform), (kappa,)),
        }
    found["as written in rho"] = {
        "sample": by(lambda: plain_sample(loc, rho), (loc, rho), probe),
        "density": by(lambda: plain_density(loc, rho, x), (loc, rho)),
        "divergence": by(lambda: plain_divergence(m, rho), (rho,)),
    }
    return {part: {name: own[part] for name, own in found.items()} for part in ("sample", "density", "divergence")}


def repeated(way: Callable[[], object], repeats: int) -> None:
    """A call as often as makes it last."""
    for _ in range(repeats):
        way()


def speeds() -> None:
    """Print what each takes, in microseconds a call, and how many times what the spherical Cauchy one does."""
    torch.manual_seed(0)
    print(about())
    print(f"{'m':>4} {'batch':>7}  {'with gradient':<14}{'Cauchy, us':>12}{'vMF':>8}{'as written':>12}")
    for m in (11, 41, 129):
        for count, repeats in ((64, 50), (65_536, 1)):
            for part, of in ways(m, count).items():
                calls = {name: partial(repeated, way, repeats) for name, way in of.items()}
                taken = compared(calls, 9, time.process_time)
                ours = taken["spherical Cauchy"]
                one, *others = (median(a / b for a, b in zip(own, ours, strict=True)) for own in taken.values())
                ratios = "".join(f"{ratio:>{width - 1}.2f}x" for ratio, width in zip(others, (8, 12), strict=True))
                print(f"{m:>4} {count:>7,}  {part:<14}{median(ours) / repeats * 1e6:>12,.0f}{ratios}")


def departures(peer) -> None:
    """Print where a package's von Mises-Fisher distribution is another one."""
    torch.manual_seed(0)
    count = 200_000
    print(f"{'m':>4} {'kappa':>6}  {'quantity':<16}{'exact':>10}{'penult':>10}{'s-vae':>10}")
    for m, kappa in ((5, 2.0), (21, 20.0), (41, 20.0), (64, 1.0), (128, 5.0), (128, 20.0)):
        loc = torch.nn.functional.normalize(torch.randn(1, m), dim=-1).expand(count, m)
        ours, theirs = (torch.full(shape, kappa, requires_grad=True) for shape in ((count,), (count, 1)))
        rows = (
            measured(VonMisesFisher(loc, ours), ours, loc, HypersphericalUniform(m)),
            measured(peer.VonMisesFisher(loc, theirs), theirs, loc, peer.HypersphericalUniform(m - 1)),
        )
        for index, name in enumerate(("E cosine", "d/dkappa E cosine", "KL to uniform")):
            exact = truth(m, kappa)[index]
            print(f"{m:>4} {kappa:>6g}  {name:<16.16}{exact:>10.5f}{rows[0][index]:>10.5f}{rows[1][index]:>10.5f}")


def main() -> None:
    """Print the tables."""
    torch.set_num_threads(1)
    try:
        from hyperspherical_vae import distributions as peer
    except ImportError:
        print("hyperspherical_vae is not importable (put a clone of s-vae-pytorch on PYTHONPATH): only our own")
    else:
        departures(peer)
    speeds()


if __name__ == "__main__":
    main()
