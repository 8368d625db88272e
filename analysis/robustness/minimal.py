"""The smallest change of an image by which a network gives a class that is wanted of it.

The search is by projected gradients on balls about the image whose radius is bisected; pixel values stay in [0, 1]. It
finds a local minimum, and so an upper bound: what it gives is reached, and a smaller change may do as well.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int64, Shaped
from torch import Tensor, nn

from priors.checks.floats import PIXELS, own_dtype, require_digits
from priors.checks.labels import class_numbers
from priors.errors import InputError, shown
from priors.reading.dry_pass import constant_parameters, evaluating, without_autocast

ROUNDS = 10
"""Radii that are tried."""
_HALVINGS, _LAST = 4, 16
"""Points between an image and a changed one at which the network is asked, after each radius and in the end."""
_NEAR = 0.98
"""How far the radius that failed is kept below the one that is reached, so that the search goes on."""


@dataclass(frozen=True)
class Perturbation:
    """Changed images, and whether the network gives of each the class that was wanted.

    Attributes:
        images: values in [0, 1]; where it is not reached, the image as it was.
        norm: L2 norm of the change, in pixel values; 0 where the network gave the class already, and NaN where it is
            not reached.
        reached: whether the wanted class has the largest logit, larger than all others.
        already: whether it had before.
    """

    images: Float[Tensor, "batch *image"]
    norm: Float[Tensor, " batch"]
    reached: Bool[Tensor, " batch"]
    already: Bool[Tensor, " batch"]


def margin(logits: Float[Tensor, "batch classes"], targets: Int64[Tensor, " batch"]) -> Float[Tensor, " batch"]:
    """The logit of the wanted class less the largest of the others: above 0 where the network gives that class."""
    own = logits.gather(1, targets[:, None]).squeeze(1)
    return own - logits.scatter(1, targets[:, None], -math.inf).amax(1)


def minimal_perturbation(
    network: nn.Module,
    images: Shaped[Tensor, "..."],
    targets: Shaped[Tensor, "..."],
    *,
    steps: int = 100,
) -> Perturbation:
    """The smallest change found by which a network gives each image the class that is wanted.

    For each of `ROUNDS` radii, steps of projected gradient ascent on the margin of the wanted class, within the ball of
    that radius and the box [0, 1] (Madry et al. 2018 with the L2 norm). They begin where the smallest change so far
    points. The radius is doubled until one is reached, from where the margin would be 0 if it were linear; then it
    halves the way between the largest that failed and the smallest that was reached. What is reached is brought back
    towards the image as far as the class stays.

    Args:
        network: from images to logits (batch, classes); evaluated in evaluation mode, each image for itself.
        images: (batch, ...) with values in [0, 1], in float32 or float64.
        targets: class numbers that are wanted, (batch,).
        steps: gradients an image, at least `ROUNDS`.

    Raises:
        InputError: images outside [0, 1] or of another type, targets that are no class, or too few steps.

    Example:
        >>> network = nn.Sequential(nn.Flatten(), nn.Linear(2, 2, bias=False))
        >>> _ = network[1].weight.data.copy_(torch.tensor([[1.0, 0.0], [0.0, 1.0]]))
        >>> found = minimal_perturbation(network, torch.tensor([[0.6, 0.4]]), torch.tensor([1]))
        >>> round(float(found.norm), 3)  # (0.6 - 0.4) / |(1, -1)|
        0.141
    """
    if isinstance(steps, bool) or not isinstance(steps, int) or steps < ROUNDS:
        raise InputError(f"steps is {shown(steps)}: a whole number of at least {ROUNDS} was expected")
    images, targets = _checked(network, images, targets)
    with _looking(network, images):
        search = _Search(network, images, targets)
        for _ in range(ROUNDS):
            search.radius(steps // ROUNDS)
        search.back(_LAST)
        return judged_perturbation(network, images, search.at(search.best), targets)


def judged_perturbation(
    network: nn.Module, images: Shaped[Tensor, "..."], changed: Shaped[Tensor, "..."], targets: Shaped[Tensor, "..."]
) -> Perturbation:
    """What changed images come to, whoever made them: norms are measured, and the network is asked.

    Args:
        network: as for `minimal_perturbation`.
        images: (batch, ...) as they were.
        changed: of the same shape; one with a value outside [0, 1] or not finite has not reached its class.
        targets: class numbers that are wanted, (batch,).

    Raises:
        InputError: as for `minimal_perturbation`, or images of two shapes.
    """
    images, targets = _checked(network, images, targets)
    if not isinstance(changed, Tensor) or changed.shape != images.shape:
        given = tuple(changed.shape) if isinstance(changed, Tensor) else shown(changed)
        raise InputError(f"changed images are {given}: as many of the same shape, {tuple(images.shape)}, were expected")
    changed = changed.detach().to(images)
    with _looking(network, images), torch.no_grad():
        already = margin(network(images), targets) > 0
        inside = ((changed >= 0) & (changed <= 1)).flatten(1).all(1)  # NaN is not
        reached = already | (inside & (margin(network(changed), targets) > 0))
        kept = torch.where(_each(reached & ~already, images), changed, images)
        norm = (kept.double() - images.double()).flatten(1).norm(dim=1)
        return Perturbation(kept, norm.where(reached, math.nan), reached, already)


class _Search:
    """The changes of a batch, and the radii between which the smallest of each is.

    Args:
        network: see `minimal_perturbation`.
        images: likewise.
        targets: likewise.
    """

    def __init__(self, network: nn.Module, images: Tensor, targets: Tensor):
        self._network, self._images, self._targets = network, images, targets
        self._most = _norm(torch.maximum(images, 1 - images))  # there is nothing beyond
        self._change = torch.zeros_like(images)
        self.best = torch.zeros_like(images)
        self._reached = torch.full_like(self._most, math.inf)
        self._failed = torch.zeros_like(self._most)
        value, slope = self._slope(self._change)
        # As if the margin were linear; where there is no slope, all the way at once.
        first = -value / _norm(slope)
        self._radius = torch.where(first.isfinite() & (first > 0), first, self._most)
        already = value > 0
        self._reached = torch.where(already, 0.0, self._reached)

    def radius(self, steps: int) -> None:
        """Look for the class within one radius, and choose the next."""
        radius = torch.minimum(self._radius, self._most)
        found = self._reached.isfinite()
        change = torch.where(_each(found, self.best), self.best, self._change)
        change = self._within(change, radius)
        before, hit = self._reached, torch.zeros_like(found)
        for step in range(steps):
            value, slope = self._slope(change)
            hit |= self._keep(change, value)
            length = radius * (1 + math.cos(math.pi * step / steps)) / 2
            size = _norm(slope)
            scale = torch.where(size.isfinite() & (size > 0), length / size, 0.0)
            change = self._within(change + slope.nan_to_num(0, 0, 0) * _each(scale, slope), radius)
        with torch.no_grad():
            hit |= self._keep(change, margin(self._network(self.at(change)), self._targets))
        self._change = change
        self.back(_HALVINGS, self._reached < before)
        self._failed = torch.minimum(torch.where(hit, self._failed, radius), _NEAR * self._reached)
        middle = (self._failed + self._reached) / 2
        self._radius = torch.where(self._reached.isfinite(), middle, 2 * radius)

    @torch.no_grad()
    def back(self, halvings: int, which: Tensor | None = None) -> None:
        """Bring changes that reach their class towards the image, as far as they still do."""
        which = self._reached.isfinite() & (self._reached > 0) if which is None else which
        if not bool(which.any()):
            return
        low, high = torch.zeros_like(self._most), torch.ones_like(self._most)
        for _ in range(halvings):
            middle = (low + high) / 2
            part = self.best * _each(middle, self.best)
            does = margin(self._network(self.at(part)), self._targets) > 0
            low, high = torch.where(does, low, middle), torch.where(does, middle, high)
        self.best = torch.where(_each(which, self.best), self.best * _each(high, self.best), self.best)
        self._reached = torch.where(which, _norm(self.best), self._reached)

    def at(self, change: Tensor) -> Tensor:
        """The changed images."""
        return (self._images + change).clamp(0, 1)  # rounding would leave the box

    def _slope(self, change: Tensor) -> tuple[Tensor, Tensor]:
        """The margin, and its gradient."""
        with torch.enable_grad():
            images = self.at(change).requires_grad_()
            value = margin(self._network(images), self._targets)
            (slope,) = torch.autograd.grad(value.sum(), images)
        return value.detach(), slope

    def _keep(self, change: Tensor, value: Tensor) -> Tensor:
        """Take over what reaches its class by a smaller change; says what reaches it at all."""
        norm, does = _norm(change), value > 0
        smaller = does & (norm < self._reached)
        self.best = torch.where(_each(smaller, change), change, self.best)
        self._reached = torch.where(smaller, norm, self._reached)
        return does

    def _within(self, change: Tensor, radius: Tensor) -> Tensor:
        """On the ball, as far as the box lets it; within both."""
        for _ in range(3):
            change = change * _each(radius / _norm(change).clamp_min(1e-30), change)
            change = (self._images + change).clamp(0, 1) - self._images
        return change * _each((radius / _norm(change).clamp_min(1e-30)).clamp_max(1), change)


def _norm(change: Tensor) -> Tensor:
    return change.flatten(1).norm(dim=1)


def _each(values: Tensor, like: Tensor) -> Tensor:
    """A number an image, to go with whole images."""
    return values.view(-1, *[1] * (like.ndim - 1))


@contextmanager
def _looking(network: nn.Module, images: Tensor) -> Iterator[None]:
    """A network in evaluation mode, whose parameters ask for no gradients, in the precision that it has."""
    with (
        torch.inference_mode(False),
        without_autocast(images.device),
        evaluating(network),
        constant_parameters(network),
    ):
        yield


def _checked(network: nn.Module, images: object, targets: object) -> tuple[Tensor, Tensor]:
    """Images in the network's own precision, and class numbers."""
    if not isinstance(images, Tensor) or images.dtype not in (torch.float32, torch.float64):
        given = str(images.dtype) if isinstance(images, Tensor) else shown(images)
        raise InputError(f"images are {given}: {PIXELS}, in float32 or float64")
    if images.ndim < 2 or not images.numel():
        raise InputError(f"images are of shape {tuple(images.shape)}: (batch, ...) was expected")
    if not bool(((images >= 0) & (images <= 1)).all()):
        raise InputError(
            f"images have values from {float(images.min()):.4g} to {float(images.max()):.4g}: values in [0, 1] were "
            "expected (the network normalises them itself)"
        )
    require_digits(network, "the network")
    with _looking(network, images):
        images = images.clone() if images.is_inference() else images.detach()
        images = images.to(own_dtype(network) or images.dtype)
        with torch.no_grad():
            logits = network(images[:1])
    if not isinstance(logits, Tensor) or logits.ndim != 2 or len(logits) != 1 or logits.shape[1] < 2:
        given = tuple(logits.shape) if isinstance(logits, Tensor) else shown(logits)
        raise InputError(f"the network gives {given} of one image: logits (1, classes) of two or more were expected")
    if not isinstance(targets, Tensor):
        raise InputError(f"targets are {shown(targets)}: a tensor of class numbers was expected")
    return images, class_numbers(targets.to(images.device), len(images), logits.shape[1], "images")
