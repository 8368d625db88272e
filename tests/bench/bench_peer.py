"""Where hyperspherical-vae (s-vae-pytorch) parts from the von Mises-Fisher law, beside `priors.vmf.distribution`.

    PYTHONPATH=path/to/s-vae-pytorch python tests/bench/bench_peer.py

Prints, in float32: the mean cosine of 200,000 samples against A_m(kappa), d E[cosine] / d kappa by its own gradient
against A_m', and the divergence from uniform against its 30-digit value.
"""

import sys

import mpmath
import torch

from priors import HypersphericalUniform, VonMisesFisher


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


def main() -> None:
    """Print the table."""
    try:
        from hyperspherical_vae import distributions as peer
    except ImportError:
        sys.exit("hyperspherical_vae is not importable: put a clone of s-vae-pytorch on PYTHONPATH")
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


if __name__ == "__main__":
    main()
