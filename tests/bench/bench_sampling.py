"""Rates of von Mises-Fisher sampling, beside drawing Gaussians, power spherical sampling and Wood's rejection.

    python tests/bench/bench_sampling.py [--threads 1] [--rounds 9]

All contestants run in one process, float32, in turns, and a ratio is the median over the rounds of the ratio within
each, of processor time where there is one thread: ratios mean something on a busy machine, rates less. Each gets one
concentration for the whole batch (expanded), and ours also one a row. The limit is drawing m Gaussians and normalising
them in place; with a backward pass, normalising loc + g / sqrt(k).

At a batch of 64 eager PyTorch spends most of its time on getting operations started, so there ours also runs under
torch.compile; a loop of rejections is not for compiling. --no-compile leaves that out.
"""

import argparse
import math
import statistics
import time

import torch
from processor import about
from torch import Tensor

from priors.vmf.transport import rsample

try:
    from power_spherical import PowerSpherical
except ImportError:
    PowerSpherical = None
try:
    from hyperspherical_vae.distributions import VonMisesFisher as SVae
except ImportError:
    SVae = None


def limit(loc: Tensor, k: Tensor) -> Tensor:
    """The floor under any sampler of directions: draw m Gaussians, normalise."""
    g = torch.randn_like(loc)
    return g.div_(torch.linalg.vector_norm(g, dim=-1, keepdim=True))


def power_spherical(loc: Tensor, k: Tensor) -> Tensor:
    return PowerSpherical(loc, k).rsample()


def wood(loc: Tensor, k: Tensor) -> Tensor:
    """Wood's rejection (1994) as it is usually written: masked proposals until every row is accepted, then reflect."""
    m, k = loc.shape[-1], k[:, None]
    root = torch.sqrt(4 * k**2 + (m - 1) ** 2)
    b = (m - 1) / (2 * k + root)
    a = (m - 1 + 2 * k + root) / 4
    d = 4 * a * b / (1 + b) - (m - 1) * math.log(m - 1)
    w, todo = torch.zeros_like(k), torch.ones_like(k, dtype=torch.bool)
    while todo.any():
        half = torch.tensor((m - 1) / 2, dtype=torch.float64)
        epsilon = torch.distributions.Beta(half, half).sample(k.shape).to(k.dtype)
        uniform = torch.distributions.Uniform(1e-20, 1 - 1e-7).sample(k.shape)
        proposal = (1 - (1 + b) * epsilon) / (1 - (1 - b) * epsilon)
        t = 2 * a * b / (1 - (1 - b) * epsilon)
        accepted = ((m - 1) * torch.log(t) - t + d > torch.log(uniform)) & todo
        w[accepted] = proposal[accepted]
        todo[accepted] = False
    tangent = torch.nn.functional.normalize(torch.distributions.Normal(0, 1).sample((len(k), m))[:, 1:], dim=-1)
    z = torch.cat([w, torch.sqrt((1 - w**2).clamp_min(1e-10)) * tangent], -1)
    pole = torch.tensor([1.0] + [0] * (m - 1))
    u = torch.nn.functional.normalize(pole - loc, dim=-1)
    return z - 2 * (z * u).sum(-1, keepdim=True) * u


def s_vae(loc: Tensor, k: Tensor) -> Tensor:
    """The S-VAE's own rejection loop: Wood's, as most use it."""
    return SVae(loc, k[:, None]).rsample()


def measure(contestants: dict, rounds: int) -> dict[str, list[float]]:
    """Seconds a call, one number a round: the contestants take turns in each."""
    clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
    times = {name: [] for name in contestants}
    for call in contestants.values():
        call()
    for _ in range(rounds):
        for name, call in contestants.items():
            repeat = 1
            while True:  # at least 5 ms a measurement
                start = clock()
                for _ in range(repeat):
                    call()
                spent = clock() - start
                if spent > 5e-3:
                    break
                repeat *= 4
            times[name].append(spent / repeat)
    return times


def contest(sampler, loc: Tensor, k: Tensor, expand: bool, backward: bool):
    """A call without arguments: draw, and with backward also differentiate in loc and k.

    Wood's cosine has no gradient in k: only its reflection is differentiated.
    """
    if not backward:
        k = k.expand(len(loc)) if expand else k.repeat(len(loc))

        @torch.no_grad()
        def call():
            sampler(loc, k)

        return call
    weight = torch.randn_like(loc)
    loc = loc.clone().requires_grad_()
    k = k.clone() if expand else k.repeat(len(loc))
    k.requires_grad_()

    def call():
        z = sampler(loc, k.expand(len(loc)) if expand else k)
        torch.autograd.grad(z, (loc, k), weight, allow_unused=True)

    return call


def gaussian_direction(loc: Tensor, k: Tensor) -> Tensor:
    """The limit with a gradient: normalise a shifted Gaussian."""
    return torch.nn.functional.normalize(loc + torch.randn(loc.shape) / k[:, None].sqrt(), dim=-1)


def ratio(seconds: dict[str, list[float]], theirs: str, ours: str) -> str:
    """How many times our rate is theirs, with one concentration for all and with one a row."""
    if theirs not in seconds or f"{ours}rows" not in seconds:
        return f" {'-':>13}"
    shared, rows = (
        statistics.median(a / b for a, b in zip(seconds[theirs], seconds[ours + kind], strict=True))
        for kind in ("shared", "rows")
    )
    return f" {shared:6.2f}|{rows:6.2f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--batch", type=int, choices=(65536, 64), help="only this one")
    parser.add_argument("--dim", type=int, help="only this m")
    parser.add_argument("--no-compile", dest="compile", action="store_false")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    print(about())
    if PowerSpherical is None:
        print("power_spherical is not importable: its columns are skipped")
    if SVae is None:
        print("hyperspherical_vae is not importable: its columns are skipped")
    for backward in (False, True):
        print(f"\n{'forward and backward' if backward else 'forward'}: our rate over theirs (shared k | k a row)")
        print(
            f"{'batch':>6} {'m':>4} {'k':>5} {'ours/s':>9} {'limit':>13} {'power sph.':>13} {'Wood':>13} {'s-vae':>13}"
            f" {'compiled: Wood':>15} {'s-vae':>13}"
        )
        for batch, dims in ((65536, (20, 128, 512)), (64, (3, 11, 20, 128, 512))):
            for m in dims if arguments.batch in (None, batch) else ():
                if arguments.dim not in (None, m):
                    continue
                loc = torch.nn.functional.normalize(torch.randn(batch, m), dim=-1)
                torch._dynamo.reset()  # a model has one m; others would make it a variable
                compiled = torch.compile(rsample, dynamic=False) if arguments.compile and batch == 64 else None
                for concentration in (5.0, 20.0, 80.0, 1000.0):
                    k = torch.tensor([concentration])
                    samplers = {"limit": gaussian_direction if backward else limit, "shared": rsample, "rows": rsample}
                    if PowerSpherical is not None:
                        samplers["power"] = power_spherical
                    if batch == 64 or not backward:
                        samplers["wood"] = wood
                        samplers |= {} if SVae is None else {"s-vae": s_vae}
                    if compiled:
                        samplers |= {"compiled shared": compiled, "compiled rows": compiled}
                    calls = {
                        name: contest(sampler, loc, k, not name.endswith("rows"), backward)
                        for name, sampler in samplers.items()
                    }
                    seconds = measure(calls, arguments.rounds if batch * m < 1 << 23 else max(3, arguments.rounds // 2))
                    cells = "".join(
                        ratio(seconds, name, ours)
                        for ours, names in (("", ("limit", "power", "wood", "s-vae")), ("compiled ", ("wood", "s-vae")))
                        for name in names
                    )
                    rate = batch / statistics.median(seconds["shared"])
                    print(f"{batch:6d} {m:4d} {concentration:5g} {rate:9.3g}{cells}", flush=True)


if __name__ == "__main__":
    main()
