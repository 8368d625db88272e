"""What torch's log1p, expm1 and their like take before and after `priors.rare_constants` loads what they read.

Run `python tests/bench/bench_functions.py`. A process can be asked once only: after a number of -0 it stays fast.
"""

import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from processor import about
from torch import Tensor

from priors.rare_constants import load_rare_constants

FUNCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "log1p": torch.log1p,
    "expm1": torch.expm1,
    "softplus": F.softplus,
    "logsigmoid": F.logsigmoid,
    "elu": lambda x: F.elu(-x),
    "logaddexp": lambda x: torch.logaddexp(x, x + 1),
    "binary cross-entropy": lambda x: F.binary_cross_entropy_with_logits(x, x, reduction="none"),
    "exp": torch.exp,
}


def microseconds(function: Callable[[Tensor], Tensor], x: Tensor) -> float:
    """The least of several rounds, as the CPU counts them."""
    found = []
    for _ in range(9):
        begun = time.thread_time()
        for _ in range(20):
            function(x)
        found.append((time.thread_time() - begun) / 20)
    return min(found) * 1e6


def main() -> None:
    """Print the table."""
    torch.set_num_threads(1)
    print(about())
    numbers = torch.rand(64, 784, generator=torch.Generator().manual_seed(0)) * 5 + 0.1
    for dtype in (torch.float32, torch.float64):
        x = numbers.to(dtype)
        before = {name: microseconds(function, x) for name, function in FUNCTIONS.items()}
        load_rare_constants()
        print(f"{dtype}, {x.numel():,} numbers\n{'function':<24}{'before, us':>12}{'after, us':>12}{'ratio':>8}")
        for name, function in FUNCTIONS.items():
            after = microseconds(function, x)
            print(f"{name:<24}{before[name]:>12.1f}{after:>12.1f}{before[name] / after:>8.2f}")


if __name__ == "__main__":
    main()
