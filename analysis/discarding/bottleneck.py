"""How much of a layer the class hangs on: a bottleneck of noise for each image (information bottleneck attribution).

Schulz, Sixt, Tombari and Landgraf (2020), "Restricting the flow: information bottlenecks for attribution", arXiv
2001.00396, the bottleneck that is found for each image.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Shaped
from torch import Tensor

from analysis.discarding.features import image_numbers, require_count, require_positive
from analysis.jacobians.controls import blurred_maps, normal_draws
from priors.checks.floats import at_least_float32
from priors.checks.labels import class_numbers
from priors.errors import InputError, shown
from priors.reading.dry_pass import without_autocast

Rest = Callable[[Tensor], Tensor]
"""From a layer's features (batch, ...) to logits (batch, classes), each image for itself."""
_PURPOSE = 11
"""Of the random numbers: no other analysis has the same."""


@dataclass(frozen=True)
class Bottleneck:
    """What of a layer's features is let through, so that the class is still found.

    Attributes:
        kept: information of each feature that is let through at most, in nats; as the features, (batch, ...).
        total: their sum, (batch,).
        cross_entropy: of the class under the bottleneck, in nats, a mean over noise; (batch,).
        share: lambda, how much of each feature comes through; as the features.
    """

    kept: Float[Tensor, "batch ..."]
    total: Float[Tensor, " batch"]
    cross_entropy: Float[Tensor, " batch"]
    share: Float[Tensor, "batch ..."]


def information_bottleneck(
    rest: Rest,
    features: Shaped[Tensor, "..."],
    target: Shaped[Tensor, "..."],
    mean: Shaped[Tensor, "..."],
    deviation: Shaped[Tensor, "..."],
    *,
    weight: int | float = 10.0,
    steps: int = 30,
    samples: int = 4,
    rate: int | float = 0.5,
    smoothing: int | float = 1.0,
    start: int | float = 0.0,
    floor: int | float = 0.01,
    seed: int = 0,
    index: Shaped[Tensor, "..."] | None = None,
) -> Bottleneck:
    """Replace as much of a layer's features by noise as the class allows, for each image by itself.

    Features f become lambda f + (1 - lambda) e, with e normal of the features' own mean and deviation, and lambda =
    sigmoid(a) is found by Adam: the cross-entropy of the class, plus `weight` times the mean over features of the
    information that is let through. That is the divergence of what comes through from e, an upper bound.

    Args:
        rest: what comes after the layer, in evaluation mode; its parameters get no gradients.
        features: (batch, channels, height, width) or (batch, units), finite.
        target: (batch,), the classes whose logits are to be kept.
        mean: of each feature over images, shaped as one image's features.
        deviation: likewise, at least 0.
        weight: beta of the mean over features; the authors'.
        steps: of Adam. The authors have 10 of a rate of 1 with 10 samples each, from `start` 5, for layers of 100,000
            features; of smaller layers that loses the class on the way down and does not find back. On a small
            network's first layer the objective ended at 2.38 nats by theirs, at 1.55 by these, and at 1.51 by eight
            times the passes.
        samples: noisy features a step.
        rate: of Adam.
        smoothing: deviation in pixels of the Gaussian by which shares of maps are smoothed, so that no noise is let
            through by convolutions which average it; 0: they are not. The authors'.
        start: a at the start; 0 lets half of everything through.
        floor: least deviation of a feature, as the authors have it: what never varies would carry endless information.
        seed: of the noise.
        index: (batch,) of the images, which their noise hangs on; None: 0 and up.

    Raises:
        InputError: shapes that do not fit, features that are not finite, classes that there are no logits of, logits
            that do not hang on the features, counts or weights out of range.

    Example:
        >>> features = torch.tensor([[3.0, 3.0]])
        >>> found = information_bottleneck(lambda z: z * torch.tensor([2.0, 0.0]), features, torch.tensor([0]),
        ...                                torch.zeros(2), torch.ones(2), weight=0.1, steps=100)
        >>> bool(found.kept[0, 0] > 10 * found.kept[0, 1])
        True
    """
    features = at_least_float32(features, "features").detach()
    centre, spread = _checked(features, mean, deviation)
    require_count("steps", steps)
    require_count("samples", samples)
    for what, given in (("weight", weight), ("rate", rate), ("floor", floor)):
        require_positive(what, given)
    if isinstance(smoothing, bool) or not (smoothing >= 0 and math.isfinite(smoothing)):
        raise InputError(f"smoothing is {smoothing}: a number of pixels of at least 0 was expected")
    places = image_numbers(index, features)
    with torch.inference_mode(False), without_autocast(features.device), torch.enable_grad():
        features, centre, spread = (one.clone() if one.is_inference() else one for one in (features, centre, spread))
        spread = spread.clamp_min(floor)
        classes = _classes(rest, features, target)
        logit = torch.full_like(features, float(start), requires_grad=True)
        adam = torch.optim.Adam([logit], lr=rate)
        size = math.prod(features.shape[1:])

        def loss(share: Tensor, step: int) -> Tensor:
            drawn = normal_draws((seed << 32) + (_PURPOSE << 28) + step, places, *features.shape[1:])
            logits = rest(share * features + (1 - share) * (centre + spread * drawn.to(features)))
            return F.cross_entropy(logits.to(features.dtype), classes, reduction="none")

        for step in range(steps):
            (slope,) = torch.autograd.grad(
                weight / size * _kept(_share(logit, smoothing), features, centre, spread).sum(), logit
            )
            for sample in range(samples):  # one after the other: memory is that of a pass over the batch
                drawn = loss(_share(logit, smoothing), step * samples + sample).sum() / samples
                slope = slope + torch.autograd.grad(drawn, logit)[0]
            logit.grad = slope
            adam.step()
        with torch.no_grad():
            share = _share(logit, smoothing)
            kept = _kept(share, features, centre, spread)
            entropy = torch.stack([loss(share, (steps + 1) * samples + sample) for sample in range(samples)]).mean(0)
    return Bottleneck(kept, kept.flatten(1).sum(1), entropy, share)


def _share(logit: Tensor, smoothing: int | float) -> Tensor:
    """Lambda, smoothed over the positions of maps."""
    share = logit.sigmoid()
    if not smoothing or share.ndim != 4 or share.shape[2:] == (1, 1):
        return share
    return blurred_maps(share.flatten(0, 1), smoothing).view_as(share)


def _kept(share: Tensor, features: Tensor, centre: Tensor, spread: Tensor) -> Tensor:
    """KL(N(lambda f + (1 - lambda) mu, (1 - lambda)^2 sigma^2) || N(mu, sigma^2)) in nats."""
    away = share * (features - centre) / spread
    left = (1 - share).clamp_min(torch.finfo(share.dtype).eps)
    return 0.5 * (away.square() + left.square() - 1) - left.log()


def _classes(rest: Rest, features: Tensor, target: object) -> Tensor:
    """The classes as whole numbers, of which the features' logits say how many there are."""
    logits = rest(features.clone().requires_grad_())
    if not isinstance(logits, Tensor) or logits.ndim != 2 or len(logits) != len(features):
        given = tuple(logits.shape) if isinstance(logits, Tensor) else shown(logits)
        raise InputError(
            f"what comes after the layer gives {given} of {len(features)} images: logits ({len(features)}, classes) "
            "were expected"
        )
    if not logits.requires_grad:
        raise InputError(
            "the logits do not hang on the features, as far as torch sees: none of these can be let through"
        )
    if not isinstance(target, Tensor):
        raise InputError(f"target is {shown(target)}: a tensor of class numbers was expected")
    return class_numbers(target.to(features.device), len(features), logits.shape[1], "images")


def _checked(features: Tensor, mean: object, deviation: object) -> tuple[Tensor, Tensor]:
    """The mean and the deviation, in the features' type."""
    if features.ndim not in (2, 4) or not features.numel():
        raise InputError(
            f"features are of shape {tuple(features.shape)}: (batch, channels, height, width) or (batch, units) was "
            "expected"
        )
    if not bool(features.isfinite().all()):
        raise InputError("features have values that are not finite")
    found = []
    for what, given in (("mean", mean), ("deviation", deviation)):
        if not isinstance(given, Tensor) or given.shape != features.shape[1:]:
            shape = tuple(given.shape) if isinstance(given, Tensor) else type(given).__name__
            raise InputError(
                f"{what} is of shape {shape}: {tuple(features.shape[1:])} was expected, a number a feature"
            )
        if not bool(given.isfinite().all()) or (what == "deviation" and bool((given < 0).any())):
            raise InputError(f"{what} has values that are not finite, or deviations below 0")
        found.append(given.to(features))
    return found[0], found[1]
