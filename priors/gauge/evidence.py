"""What is known of a network's activations: they themselves, or what a sweep over images kept of them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from priors.checks.labels import class_numbers
from priors.errors import InputError
from priors.gauge.moments import ActivationMoments, DirectionMoments, require_finite
from priors.gauge.space import Space
from priors.vmf.directions import require_activations

_NUMBERS = 2**22
"""Numbers in double precision that are held at a time."""


@dataclass(frozen=True)
class Evidence:
    """What concentrations, spaces and directions may be measured on.

    Attributes:
        activations: penultimate activations (N, m) of images, unnormalised, in the space of the prior's directions.
        labels: their classes (N,).
        activation_norm: the mean norm of penultimate activations in that space, where it is known already.
        moments: of activations in that space, instead of the activations: what a sweep keeps of them.
    """

    activations: Float[Tensor, "n m"] | None = None
    labels: Int[Tensor, " n"] | None = None
    activation_norm: int | float | None = None
    moments: DirectionMoments | None = None

    @property
    def measured(self) -> bool:
        """Whether there are activations by class, or moments of some."""
        return self.moments is not None or (self.activations is not None and self.labels is not None)

    def brought(self, space: Space) -> "Evidence":
        """The same with the activations, those of the network, in another space.

        Raises:
            InputError: activations of another dimension, or no floating-point numbers.
        """
        if self.activations is None or space.name == "raw":
            return self
        require_activations(self.activations, len(space.centre))
        kind = torch.promote_types(self.activations.dtype, torch.float32)
        there = space.to(kind, self.activations.device).bring(self.activations.to(kind))
        return replace(self, activations=there)

    def of_directions(self, classes: int, m: int, class_names: Sequence[str], what: str) -> DirectionMoments:
        """The moments of where activations point.

        Args:
            classes: how many there are.
            m: dimension of the activations.
            class_names: for messages.
            what: they are wanted for, for messages.

        Raises:
            InputError: there is nothing to measure, or activations and labels that do not fit or are not finite.
        """
        moments = self.moments
        if moments is None:
            moments = DirectionMoments.none(classes, m)
            for rows, labels in self._parts(classes, m, what):
                moments = moments.add(rows, labels)
        if moments.total.shape != (classes, m):
            raise InputError(
                f"moments are of {len(moments.total)} classes in {moments.total.shape[1]} dimensions: {classes} "
                f"classes in {m} dimensions were expected"
            )
        require_finite(moments, class_names)
        return moments

    def class_norms(self, classes: int, m: int, class_names: Sequence[str]) -> Float[Tensor, " classes"] | None:
        """Mean norms of the classes' activations, or None where there is nothing to measure, or all are zero."""
        if not self.measured:
            return None
        found = self.of_directions(classes, m, class_names, "norms are")
        return found.mean_norm if bool(found.count.any()) else None

    def of_activations(self, classes: int, m: int, what: str) -> ActivationMoments:
        """The moments of the activations; arguments and errors are those of `of_directions`."""
        moments = ActivationMoments.none(classes, m)
        for rows, labels in self._parts(classes, m, what):
            moments = moments.add(rows, labels)
        return moments

    def _parts(self, classes: int, m: int, what: str) -> Iterator[tuple[Tensor, Tensor]]:
        if self.activations is None or self.labels is None:
            raise InputError(f"{what} measured on activations by class: give activations (N, m) and labels (N,)")
        require_activations(self.activations, m)
        labels = class_numbers(self.labels, len(self.activations), classes)
        size = max(1, _NUMBERS // m)
        for rows, own in zip(self.activations.split(size), labels.split(size), strict=True):
            yield rows.cpu(), own.cpu()
