"""Likelihoods of independent binary pixels: of an image in training, and of many draws at a time without gradients."""

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
_SECOND = Path("/sys/devices/system/cpu/cpu0/cache/index2/size")


def log_likelihood(
    logits: Float[Tensor, "*batch pixels"], x: Float[Tensor, "*batch pixels"]
) -> Float[Tensor, "*batch"]:
    """log p(x) of binary pixels, or of their means in [0, 1], in nats: the sum over pixels of x l - log(1 + e^l).

    In fewer steps than by `binary_cross_entropy_with_logits`, and with its gradients.
    """
    if torch.compiler.is_compiling() or transforming():
        return -F.binary_cross_entropy_with_logits(logits, x, reduction="none").sum(-1)
    return _LogLikelihood.apply(logits, x.to(logits.dtype))


class _LogLikelihood(torch.autograd.Function):
    @staticmethod
    def forward(ctx, logits: Tensor, x: Tensor) -> Tensor:
        ctx.save_for_backward(logits, x)
        # From a logit of 40 on, log(1 + e^l) is l in double precision too.
        return F.softplus(logits, threshold=40).addcmul_(logits, x, value=-1).sum(-1).neg_()

    @staticmethod
    def backward(ctx, grad: Tensor):
        logits, x = ctx.saved_tensors
        grad, by_x = grad.unsqueeze(-1), None
        if torch.is_grad_enabled():  # create_graph
            by_logits = (x - logits.sigmoid()) * grad
        else:
            mean = logits.sigmoid()
            by_logits = torch.sub(x, mean, out=mean).mul_(grad)
        if ctx.needs_input_grad[1]:
            by_x = logits * grad
        return by_logits, by_x


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
        odds: 0 leaves a pixel out.
        factors: memory to work in; at most one a pixel.
    """
    first, *others = odds.split(factors.shape[1], 1)
    torch.add(first, 1, out=factors)
    for some in others:  # P (1 + e^l) = P + P e^l, in one pass
        narrow = factors[:, : some.shape[1]]
        narrow.addcmul_(narrow, some)
    return factors.log_().sum(-1)
