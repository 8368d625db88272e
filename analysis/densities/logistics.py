r"""RGB pixels by a mixture of discretised logistics (Salimans, Karpathy, Chen and Kingma 2017), exactly.

A channel's level v = 0 ... 255 stands at x = v / 127.5 - 1, the middle of a bin of half width h = 1/255. With
p = (x - mu + h) / s and m = (x - mu - h) / s, a component of mean mu and scale s gives it the logistic's mass

    log sigma(p)                                                v = 0, and all that is below
    log sigma(-m)                                               v = 255, and all that is above
    log sigma(p) + log sigma(-m) + log(1 - exp(-2 h / s))       between,

the last line being log(sigma(p) - sigma(m)) with nothing subtracted: exact in the tails too, where the published code
goes over to the density at the middle of the bin. One component is drawn for all three channels. In it green's mean
depends on red, blue's on both, by the levels themselves (r, g at their x):

    mu_r,        mu_g + tanh(c_0) r,        mu_b + tanh(c_1) r + tanh(c_2) g.
"""

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.functional import logsigmoid

from analysis.densities.pixels import PixelDistribution, categorical
from priors.errors import InputError
from priors.rare_constants import load_rare_constants

load_rare_constants()

KINDS = 10
"""Numbers a component: its logit, three means, three log-scales, three coefficients."""
LEAST_LOG_SCALE = -7.0
"""Smaller log-scales count as this, and have no gradient: a bin is then 8.6 scales wide."""


@dataclass(frozen=True)
class LogisticMixture(PixelDistribution):
    """A mixture over RGB triples, of ten numbers a component.

    Output `kind * components + k` is of component k, the kinds being: 0 its logit; 1, 2, 3 the means of red, green and
    blue; 4, 5, 6 their log-scales; 7, 8, 9 the coefficients c_0, c_1, c_2. Means and scales are in units of x, in which
    images span [-1, 1].

    Attributes:
        components: of the mixture.

    Raises:
        InputError: no components.
    """

    components: int = 10

    channels: ClassVar[int] = 3
    draws: ClassVar[int] = 4

    def __post_init__(self):
        if self.components < 1:
            raise InputError(f"components is {self.components}: 1 or more was expected")

    @property
    def outputs(self) -> int:
        """Ten a component."""
        return KINDS * self.components

    def _log_prob(self, outputs: Tensor, levels: Tensor) -> Tensor:
        return mixture_log_prob(outputs, levels)

    def _place(self, outputs: Tensor, uniforms: Tensor) -> Tensor:
        # In float64: its uniform numbers reach as far into the tails as is ever drawn, those of float32 do not.
        kinds = outputs.double().unflatten(1, (KINDS, -1))
        component = categorical(kinds[:, 0], uniforms[:, 0])
        chosen = kinds.gather(2, component.view(-1, 1, 1).expand(-1, KINDS, 1)).squeeze(2)
        _, means, log_scales, coefficients = chosen.split((1, 3, 3, 3), 1)
        x = means + log_scales.clamp_min(LEAST_LOG_SCALE).exp_() * uniforms[:, 1:].logit(2.0**-53)
        # From here in levels, v = 127.5 x + 127.5. Green and blue depend on the level that is drawn, not on where in
        # its bin the logistic fell.
        red, green, blue = x.mul_(127.5).add_(127.5).unbind(1)
        red_to_green, red_to_blue, green_to_blue = coefficients.tanh().unbind(1)
        red = _level(red)
        green = _level(torch.addcmul(green, red_to_green, red - 127.5))
        blue = _level(torch.addcmul(blue, red_to_blue, red - 127.5).addcmul_(green_to_blue, green - 127.5))
        return torch.stack((red, green, blue), 1)


def mixture_log_prob(
    outputs: Float[Tensor, "batch outputs height width"], levels: Int64[Tensor, "batch 3 height width"]
) -> Float[Tensor, "batch height width"]:
    """Log-probabilities of RGB triples in nats, in float32 or float64 as the outputs are.

    Differentiable once, with finite gradients everywhere; they are made together with the value, so that nothing is
    kept for them but themselves.

    Args:
        outputs: ten a component, ordered as `LogisticMixture` says.
        levels: 0 ... 255.
    """
    if torch.is_grad_enabled() and outputs.requires_grad:
        return _MixtureLogProb.apply(outputs, levels)
    return _evaluate(outputs, levels, None)


class _MixtureLogProb(torch.autograd.Function):
    @staticmethod
    def forward(ctx, outputs, levels):
        slopes = torch.empty_like(outputs)
        log_prob = _evaluate(outputs, levels, slopes)
        ctx.save_for_backward(slopes)
        return log_prob

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        (slopes,) = ctx.saved_tensors
        return slopes * grad.unsqueeze(1), None


class _Bins(NamedTuple):
    """The bins that levels lie in, under a logistic each; all (batch, 3, components, height, width), or broadcast.

    Attributes:
        upper: p, their upper ends from the mean, in scales.
        lower: m, their lower ends.
        width: p - m.
        log_below: log sigma(p), the mass below the upper end; 0 for the highest level, which has none.
        log_above: log sigma(-m), the mass above the lower end; 0 for the lowest.
        edge: whether a level is the lowest or the highest.
    """

    upper: Tensor
    lower: Tensor
    width: Tensor
    log_below: Tensor
    log_above: Tensor
    edge: Tensor


def _evaluate(outputs: Tensor, levels: Tensor, slopes: Tensor | None) -> Tensor:
    """Log-probabilities; their derivatives by the outputs are written into `slopes` where that is given."""
    logits, means, log_scales, coefficients = _kinds(outputs)
    levels = levels.unsqueeze(2)
    x = _middle(levels.to(outputs.dtype))
    # From each level to its conditional mean.
    coupling = coefficients.tanh()
    z = x - means
    z[:, 1].addcmul_(coupling[:, 0], x[:, 0], value=-1)
    z[:, 2].addcmul_(coupling[:, 1], x[:, 0], value=-1).addcmul_(coupling[:, 2], x[:, 1], value=-1)
    inverse_scales = log_scales.clamp_min(LEAST_LOG_SCALE).neg_().exp_()
    bins = _bins(z.mul_(inverse_scales), inverse_scales, levels)
    # Of all channels in a component, then of the pixel.
    log_weights = logits.log_softmax(1)
    joint = _log_mass(bins).sum(1).add_(log_weights)
    log_prob = joint.logsumexp(1)
    if slopes is not None:
        by_logits, by_means, by_log_scales, by_coefficients = _kinds(slopes)
        posterior = joint.sub_(log_prob.unsqueeze(1)).exp_()
        torch.sub(posterior, log_weights.exp_(), out=by_logits)
        by_position, by_stretch = _slopes(bins)
        posterior = posterior.unsqueeze(1)
        torch.mul(by_position.mul_(inverse_scales), posterior, out=by_means)
        torch.mul(by_stretch.mul_(posterior), log_scales >= LEAST_LOG_SCALE, out=by_log_scales)
        by_coupling = coupling.square_().neg_().add_(1)  # 1 - tanh^2
        torch.mul(by_coupling[:, 0], by_means[:, 1], out=by_coefficients[:, 0]).mul_(x[:, 0])
        torch.mul(by_coupling[:, 1:], by_means[:, 2:], out=by_coefficients[:, 1:]).mul_(x[:, :2])
    return log_prob


def _bins(z: Tensor, inverse_scales: Tensor, levels: Tensor) -> _Bins:
    """Bins of levels that are z = (x - mu) / s from their means."""
    # A width that vanishes, where a scale has exploded, would have no logarithm.
    width = (inverse_scales * (2 / 255)).clamp_min_(torch.finfo(z.dtype).tiny)
    upper, lower = torch.add(z, width, alpha=0.5), torch.sub(z, width, alpha=0.5)
    lowest, highest = levels == 0, levels == 255
    log_below = logsigmoid(upper).masked_fill_(highest, 0)
    log_above = logsigmoid(-lower).masked_fill_(lowest, 0)
    return _Bins(upper, lower, width, log_below, log_above, lowest | highest)


def _log_mass(bins: _Bins) -> Tensor:
    """Of each bin, in nats."""
    between = bins.width.neg().expm1_().neg_().log_().masked_fill_(bins.edge, 0)
    return between.add_(bins.log_below).add_(bins.log_above)


def _slopes(bins: _Bins) -> tuple[Tensor, Tensor]:
    """Derivatives of the log-mass by mu / s and by log s; what is in the bins is used up.

    With sigma(-p) = 1 - exp(log sigma(p)), which is right for the highest level too (0), and likewise sigma(m):

        d/d(mu/s) = sigma(m) - sigma(-p),    d/d(log s) = sigma(m) m - sigma(-p) p - w / (exp(w) - 1),  w = p - m.
    """
    below, above = bins.log_below.expm1_(), bins.log_above.expm1_()  # -sigma(-p) and -sigma(m)
    between = bins.width.div_(bins.width.expm1()).masked_fill_(bins.edge, 0)
    by_stretch = bins.upper.mul_(below).addcmul_(above, bins.lower, value=-1).sub_(between)
    return below.sub_(above), by_stretch


def _kinds(outputs: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Views: logits (batch, components, height, width); means, log-scales, coefficients (batch, 3, components, ...)."""
    kinds = outputs.unflatten(1, (KINDS, -1))
    return kinds[:, 0], kinds[:, 1:4], kinds[:, 4:7], kinds[:, 7:]


def _middle(levels: Tensor) -> Tensor:
    """Where levels v stand, x = v / 127.5 - 1, rounded once."""
    return (2 * levels - 255) / 255


def _level(v: Tensor) -> Tensor:
    """The level whose bin v is in."""
    return v.round().clamp_(0, 255)
