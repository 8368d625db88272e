"""Likelihoods of many independent binary pixels, with few logarithms on a CPU."""

import math
from functools import cache
from pathlib import Path

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from priors.vmf.constants import transforming

FACTORS = 112
"""Products a draw: every 112th pixel is in the same one, so that neighbours, which are alike, are not."""
LOG2_E = 1 / math.log(2)
"""The binary logarithm of e."""
_TERMS = 100
"""Numbers of 1 to 2 whose product float32 holds, with room for more."""
_SECOND = Path("/sys/devices/system/cpu/cpu0/cache/index2/size")


@cache
def draws_at_once(pixels: int) -> int:
    """How many draws' logits are worked on at a time.

    As many as take once or twice the second-level cache: fewer make matrix products slower, more are brought from
    memory for every operation. Where the system does not say how large that is, it is taken for 1 MiB.
    """
    try:
        size = int(_SECOND.read_text().strip().removesuffix("K")) * 1024
    except (OSError, ValueError):
        size = 2**20
    fitting = 2 * size // (4 * pixels)
    return min(1024, max(64, 1 << max(0, fitting.bit_length() - 1)))


def log_normalisers(
    hidden: Float[Tensor, "draws width"],
    weight: Float[Tensor, "pixels width"],
    logits: Float[Tensor, "draws pixels"],
    factors: Float[Tensor, "draws factors"],
) -> Float[Tensor, " draws"]:
    """log(1 + e^l_1) + log(1 + e^l_2) + ... over the pixels' logits l = W h, given each draw.

    With it log p(x) = x . l less this, and x . l is (x W) . h. One logarithm of a product serves many pixels, which is
    several times faster than one each and as accurate, until a product is too large for its type: what is returned is
    then not finite.

    Args:
        hidden: the input h of the last layer.
        weight: its weight W, times `LOG2_E`: powers of two take half the time of those of e.
        logits: memory to work in.
        factors: the same; at most one a pixel.
    """
    return log_products(torch.mm(hidden, weight.T, out=logits).exp2_(), factors)


def log_products(
    odds: Float[Tensor, "draws pixels"], factors: Float[Tensor, "draws factors"]
) -> Float[Tensor, " draws"]:
    """log(1 + o_1) + log(1 + o_2) + ... over the pixels' odds o = e^l, as in `log_normalisers`.

    Args:
        odds: overwritten; 0 leaves a pixel out.
        factors: memory to work in; at most one a pixel.
    """
    count = factors.shape[1]
    whole = odds.shape[1] // count * count
    odds.add_(1)
    torch.prod(odds[:, :whole].unflatten(1, (-1, count)), 1, out=factors)
    if whole < odds.shape[1]:
        factors[:, : odds.shape[1] - whole].mul_(odds[:, whole:])
    return factors.log_().sum(-1)


def log_likelihood(
    logits: Float[Tensor, "*batch pixels"], x: Float[Tensor, "*#batch pixels"]
) -> Float[Tensor, "*batch"]:
    """log p(x) = x . l - log(1 + e^l_1) - log(1 + e^l_2) - ..., differentiable in the logits l.

    On a CPU a logarithm serves many pixels, as in `log_normalisers`, but none is ever too large: of each pixel,
    log(1 + e^l) = max(l, 0) + log(1 + e^-|l|). Gradients are those of binary_cross_entropy_with_logits to the bit.

    Args:
        logits: of each pixel.
        x: 0 or 1, or probabilities.
    """
    if logits.device.type != "cpu" or x.requires_grad or torch.compiler.is_compiling() or transforming():
        return -F.binary_cross_entropy_with_logits(logits, x.expand_as(logits), reduction="none").sum(-1)
    return _LogLikelihood.apply(logits, x)


class _LogLikelihood(torch.autograd.Function):
    @staticmethod
    def forward(ctx, logits: Tensor, x: Tensor) -> Tensor:
        ctx.save_for_backward(logits, x)
        size, absolute = logits.shape[-1], logits.abs()
        likely = torch.mul(logits, x).sub_(logits.clamp_min(0)).sum(-1)
        factors = logits.new_empty(likely.numel(), min(size, max(FACTORS, -(-size // _TERMS))))
        return likely.sub_(log_products(absolute.mul_(-LOG2_E).exp2_().view(-1, size), factors).view_as(likely))

    @staticmethod
    def backward(ctx, grad: Tensor):
        logits, x = ctx.saved_tensors
        if torch.is_grad_enabled():  # create_graph
            return (logits.sigmoid() - x) * -grad[..., None], None
        return logits.sigmoid().sub_(x).mul_(grad[..., None].neg()), None
