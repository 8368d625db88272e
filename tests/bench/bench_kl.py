"""KL(vMF || uniform) with its gradient, against the usual way through SciPy; one thread, one process, interleaved.

Run `python tests/bench/bench_kl.py`.
"""

import time
from collections.abc import Callable
from statistics import median

import torch
from processor import about
from scipy.special import ive
from torch import Tensor
from torch.distributions import kl_divergence
from torch.nn.functional import normalize

from priors.vmf import HypersphericalUniform, VonMisesFisher, bessel

DIMENSIONS = (3, 20, 128, 512)
ROUNDS = 15


class _Ive(torch.autograd.Function):
    """Exponentially scaled I_v by way of the CPU and SciPy, as published vMF code for PyTorch has it."""

    @staticmethod
    def forward(ctx, order: float, z: Tensor) -> Tensor:
        ctx.order = order
        value = torch.from_numpy(ive(order, z.detach().cpu().double().numpy())).to(z)
        ctx.save_for_backward(z, value)
        return value

    @staticmethod
    def backward(ctx, grad: Tensor):
        z, value = ctx.saved_tensors
        return None, grad * (_Ive.apply(ctx.order - 1, z) - value * (ctx.order + z) / z)


def scipy_way(m: int, kappa: Tensor) -> Tensor:
    """The textbook formula k A - L in terms of ive; not finite everywhere."""
    order = m / 2 - 1
    scaled = _Ive.apply(order, kappa)
    log_normaliser = order * kappa.log() - m / 2 * 1.8378770664093453 - (kappa + scaled.log())
    return kappa * _Ive.apply(m / 2, kappa) / scaled + log_normaliser + bessel.log_sphere_area(m)


def seconds(run: Callable[[], object], repeats: int) -> float:
    """Time of one call, averaged over a few."""
    start = time.perf_counter()
    for _ in range(repeats):
        run()
    return (time.perf_counter() - start) / repeats


def compare(runs: list[Callable[[], object]], repeats: int) -> list[float]:
    """Median seconds of each, taking turns so that a busy machine slows all alike."""
    for run in runs:
        run()
    rounds = [[seconds(run, repeats) for run in runs] for _ in range(ROUNDS)]
    return [median(column) for column in zip(*rounds, strict=True)]


def gradient(function: Callable[[Tensor], Tensor], kappa: Tensor) -> Callable[[], object]:
    """A call that computes the values and their gradient."""
    ones = torch.ones_like(kappa)
    return lambda: torch.autograd.grad(function(kappa), kappa, ones)


def row(m: int, dtype: torch.dtype) -> str:
    """One line of the table."""
    large, small = (torch.linspace(1, 100, n, dtype=dtype).requires_grad_() for n in (4096, 64))
    loc, other = normalize(torch.randn(2, 64, m, dtype=dtype), dim=-1)
    prior, uniform = VonMisesFisher(other, 50.0), HypersphericalUniform(m, dtype=dtype)

    def ours(kappa: Tensor) -> Tensor:
        return bessel.kl_to_uniform(m, kappa)

    def usual(kappa: Tensor) -> Tensor:
        return scipy_way(m, kappa)

    def to_uniform(kappa: Tensor) -> Tensor:
        return kl_divergence(VonMisesFisher(loc, kappa), uniform)

    def to_prior(kappa: Tensor) -> Tensor:
        return kl_divergence(VonMisesFisher(loc, kappa), prior)

    each, scipy_each = compare([gradient(ours, large), gradient(usual, large)], 5)
    batch = compare([gradient(function, small) for function in (ours, usual, to_uniform, to_prior)], 50)
    left = f"{str(dtype)[6:]:9}{m:4} | {each / 4096e-9:8.0f} {scipy_each / 4096e-9:12.0f} {scipy_each / each:12.1f} | "
    return left + " ".join(f"{1e6 * x:{width}.0f}" for x, width in zip(batch, (9, 9, 12, 8), strict=True))


def main() -> None:
    """Print the table."""
    torch.set_num_threads(1)
    print(about())
    print("KL(vMF || uniform) and its gradient in the concentration; concentrations 1 to 100")
    print(f"{'':9}{'':>4} | {'batch 4,096':^34} | {'batch 64, microseconds':^41}")
    titles = f"{'function':>9} {'SciPy':>9} {'distribution':>12} {'of two':>8}"
    print(f"{'type':9}{'m':>4} | {'ns each':>8} {'SciPy ns':>12} {'ratio':>12} | {titles}")
    for dtype in (torch.float32, torch.float64):
        for m in DIMENSIONS:
            print(row(m, dtype), flush=True)


if __name__ == "__main__":
    main()
