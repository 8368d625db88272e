"""A gauge: a space of activations, and the classes' directions in it.

The rows w_i of a softmax classifier's final layer are known up to a common vector and a scale, and its activations up
to an invertible map: all of these give the same probabilities, and each another prior. `Gauge()` takes what training
left, as Seo, Lee and Kwak (2021) do.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor, nn

from priors.errors import InputError, unknown
from priors.gauge.evidence import Evidence
from priors.gauge.moments import DirectionMoments
from priors.gauge.natural import fit_natural_parameters
from priors.gauge.space import Space, fit_space
from priors.vmf.directions import in_parts, unit

DirectionsName = Literal["weights", "centred", "fitted", "means"]


class Gauge(nn.Module):
    """Where a prior's directions come from; a module, so that it moves with the prior that it is part of.

    Attributes:
        space_name: "raw", "centred" or "whitened": see `priors.gauge.space`.
        directions: "weights", the rows as they are; "centred", less their mean; "fitted", s w_i + c of largest
            likelihood (`priors.gauge.natural`); "means", the classes' own mean directions, which no weight enters.
        centre: (m,) a0 of the space, or None.
        factor: (m, m) L of the space, or None.
        shrinkage: of the space, or None.
        scale: () s of fitted directions, or None.
        shift: (m,) c of fitted directions, or None.
        means: (classes, m) mean unit vectors, for "means" alone.
    """

    centre: Tensor | None
    factor: Tensor | None
    scale: Tensor | None
    shift: Tensor | None
    means: Tensor | None

    def __init__(
        self,
        space: Space | None = None,
        directions: DirectionsName = "weights",
        *,
        scale: Float[Tensor, ""] | None = None,
        shift: Float[Tensor, " m"] | None = None,
        means: Float[Tensor, "classes m"] | None = None,
    ):
        super().__init__()
        space = space or Space()
        self.space_name, self.directions, self.shrinkage = space.name, directions, space.shrinkage
        self.register_buffer("centre", space.centre)
        self.register_buffer("factor", space.factor)
        self.register_buffer("scale", scale)
        self.register_buffer("shift", shift)
        self.register_buffer("means", means)

    @property
    def space(self) -> Space:
        """The space of activations."""
        return Space(self.space_name, self.centre, self.factor, self.shrinkage)

    @property
    def is_the_papers(self) -> bool:
        """Whether it takes what training left."""
        return self.space_name == "raw" and self.directions == "weights"

    def rows(self, weight: Float[Tensor, "classes m"]) -> Float[Tensor, "classes m"]:
        """Vectors along the classes' directions, in float64; of fitted directions their natural parameters.

        Args:
            weight: the final layer's.
        """
        if self.directions == "means":
            return self.means.double()
        factor = None if self.factor is None else self.factor.double()
        space = Space(factor=factor)
        if self.directions == "fitted":
            scale, shift = self.scale.double(), self.shift.double()
            return in_parts(lambda part: scale * space.rows(part.double()) + shift, weight)
        if self.directions == "weights":
            return in_parts(lambda part: space.rows(part.double()), weight)
        rows = in_parts(lambda part: space.rows(part.to(torch.float64, copy=True)), weight)
        return rows.sub_(rows.mean(0))

    def stored_rows(self, weight: Float[Tensor, "classes m"]) -> Float[Tensor, "classes m"]:
        """The same as `rows`, but in their own type where they are kept as they are: no memory is taken then."""
        if self.directions == "means":
            return self.means
        return weight if self.is_the_papers else self.rows(weight)

    def unit_rows(
        self, weight: Float[Tensor, "classes m"], dtype: torch.dtype = torch.float64
    ) -> Float[Tensor, "classes m"]:
        """The classes' directions, computed in float64 and, where they can be, some classes at a time.

        Args:
            weight: the final layer's.
            dtype: of the result.
        """
        if self.directions == "centred":
            return in_parts(lambda rows: unit(rows).to(dtype), self.rows(weight))
        if self.directions == "means":
            return in_parts(lambda means: unit(means.double()).to(dtype), self.means)
        return in_parts(lambda part: unit(self.rows(part)).to(dtype), weight)

    def head_rows(self, weight: Float[Tensor, "classes m"]) -> Float[Tensor, "classes m"]:
        """Rows whose products with activations of the space are the network's logits, less biases and a common term.

        They are those of the final layer in this gauge, in float64: of means, which no weight enters, as in "weights".

        Args:
            weight: the final layer's.
        """
        if self.directions == "means" or (self.directions == "fitted" and not bool(self.scale > 0)):
            return Gauge(self.space).rows(weight)
        rows = self.rows(weight)
        return rows / self.scale.double() if self.directions == "fitted" else rows

    @property
    def said(self) -> str:
        """What a row of `rows` is, for messages."""
        return {"weights": "weight", "centred": "weight less the mean of all weights"}.get(self.directions, "direction")

    def extra_repr(self) -> str:
        """What a printout shows between the brackets."""
        return f"space={self.space_name!r}, directions={self.directions!r}"


def choose_gauge(
    weight: Float[Tensor, "classes m"],
    class_names: Sequence[str],
    space: Space | str,
    directions: str,
    evidence: Evidence,
) -> tuple[Gauge, Evidence]:
    """A gauge by name, and the evidence brought to its space.

    Args:
        weight: the final layer's; the gauge's numbers have its type and are on its device.
        class_names: one a class, for messages.
        space: a space that was fitted, which the evidence's moments are then of; or the name of one.
        directions: "weights", "centred", "fitted" or "means".
        evidence: activations of the network, or moments in the space.

    Raises:
        InputError: another name, one that needs activations without any, or a class without the activations it needs.
    """
    if directions not in get_args(DirectionsName):
        raise unknown("directions", directions, get_args(DirectionsName))
    classes, m = weight.shape
    if isinstance(space, str):
        moments = None
        if space in ("centred", "whitened"):
            if evidence.moments is not None:
                raise InputError(
                    f"moments beside the space {space!r}: they are of one space already; give the one that fit_space "
                    "made, or activations"
                )
            moments = evidence.of_activations(classes, m, f"the space {space!r} is")
        space = fit_space(space, moments, class_names)
    for name, part in (("centre", space.centre), ("factor", space.factor)):
        if part is not None and part.shape[-1] != m:
            raise InputError(f"the {name} of the space is of {part.shape[-1]} dimensions, and the weight of {m}")
    evidence = evidence.brought(space)
    if evidence.measured:  # summed up once, for all that look at it
        evidence = replace(evidence, moments=evidence.of_directions(classes, m, class_names, "moments are"))
    space = space.to(weight.dtype, weight.device)
    if directions in ("weights", "centred"):
        return Gauge(space, directions), evidence
    found = evidence.of_directions(classes, m, class_names, f"{directions!r} directions are")
    if directions == "means":
        _require_every_class(found, class_names)
        number = found.count.clamp_min(1).double()[:, None]
        means = in_parts(lambda total, of: (total / of).to(weight), found.total, number)
        return Gauge(space, directions, means=means), evidence
    count, total = (part.to(weight.device) for part in (found.count, found.total))
    rows = weight if space.factor is None else Gauge(space).rows(weight)
    natural = fit_natural_parameters(rows, count, total)
    scale = torch.tensor(natural.scale, dtype=torch.float64).to(weight)
    return Gauge(space, directions, scale=scale, shift=natural.shift.to(weight)), evidence


def _require_every_class(moments: DirectionMoments, class_names: Sequence[str]) -> None:
    """Refuse a class without a mean direction."""
    lengths = in_parts(lambda total: total.norm(dim=1), moments.total) / moments.count.clamp_min(1)
    for name, number, length in zip(class_names, moments.count.tolist(), lengths.tolist(), strict=True):
        if number == 0 or length < 1e-12:
            why = "no activations that have a direction" if number == 0 else "activations whose directions cancel"
            raise InputError(
                f"the direction 'means' of class {name!r}: there are {why}; measure on images of every class, or take "
                "fitted"
            )
