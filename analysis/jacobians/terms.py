"""What a decomposition consists of: terms of single operations, and the same added up by layer or by source."""

from dataclasses import dataclass
from typing import get_args

import torch
from jaxtyping import Float, Int
from torch import Tensor

from analysis.jacobians.intercepts import Source


@dataclass(frozen=True)
class BiasTerm:
    """What one execution of an operation adds to f: its intercept b times the slope of f at its result, <df/dz, b>.

    Attributes:
        layer: the module that ran it, by its name in the network; "" for the network itself.
        operation: torch's name of it.
        execution: how often the layer ran this operation before, in one pass.
        source: "bias", an explicit parameter; "batch norm", beta - gamma mu / sigma; "activation", of an operation that
            is not linear; "constant", of what is no parameter but added, as the mean that images are brought to.
        total: (batch,), summed over all units.
        map: (batch, height, width), summed over channels, where the result has a known axis of channels and two of
            pixels, and maps or values were asked for.
        value: of each unit, (batch, ...), where values were asked for; of constants, which are few, also with maps.
    """

    layer: str
    operation: str
    execution: int
    source: Source
    total: Float[Tensor, " batch"]
    map: Float[Tensor, "batch height width"] | None
    value: Float[Tensor, "batch ..."] | None


@dataclass(frozen=True)
class LayerTerm:
    """What the operations of one layer add that have one source, and maps of one size.

    Attributes:
        layer: the module that ran them, by its name in the network; "" for the network itself.
        source: as in `BiasTerm`.
        total: (batch,), of all of them.
        map: (batch, height, width), their maps added up, whose sum is the total; None for those that have none.
    """

    layer: str
    source: Source
    total: Float[Tensor, " batch"]
    map: Float[Tensor, "batch height width"] | None


@dataclass(frozen=True)
class Decomposition:
    """f(x) as a sum.

    Attributes:
        images: x.
        target: the class of each image.
        output: f(x), in the network's own units.
        jacobian: of f at x, in the shape of the images.
        terms: what operations add, in the order in which they ran.
        residual: |f - sum of terms| over |f| + sum of |terms|, of each image: the rounding of it all.
    """

    images: Float[Tensor, "batch ..."]
    target: Int[Tensor, " batch"]
    output: Float[Tensor, " batch"]
    jacobian: Float[Tensor, "batch ..."]
    terms: tuple[BiasTerm, ...]
    residual: Float[Tensor, " batch"]

    @property
    def input_term(self) -> Float[Tensor, " batch"]:
        """J_x x."""
        return (self.jacobian * self.images).flatten(1).sum(1)

    def by_source(self) -> dict[Source, Float[Tensor, " batch"]]:
        """Totals of terms by where their intercepts come from; 0 for a source that there is none of."""
        none = torch.zeros_like(self.output)
        found = dict.fromkeys(get_args(Source), none)
        for term in self.terms:
            found[term.source] = found[term.source] + term.total
        return found

    def by_layer(self) -> dict[str, Float[Tensor, " batch"]]:
        """Totals of terms by the layer that ran them, in the order of their first runs."""
        found: dict[str, Tensor] = {}
        for term in self.terms:
            found[term.layer] = found[term.layer] + term.total if term.layer in found else term.total
        return found

    def per_layer(self) -> tuple[LayerTerm, ...]:
        """Terms added up: one a layer, a source and a size of maps, in the order of their first runs.

        `input_map`, the maps of these and the totals of those without a map add up to the output, as in figure 1 of the
        paper.
        """
        found: dict[tuple, LayerTerm] = {}
        for term in self.terms:
            size = None if term.map is None else term.map.shape[1:]
            before = found.get((term.layer, term.source, size))
            total = term.total if before is None else before.total + term.total
            own = term.map if before is None or size is None else before.map + term.map
            found[term.layer, term.source, size] = LayerTerm(term.layer, term.source, total, own)
        return tuple(found.values())

    @property
    def input_map(self) -> Float[Tensor, "batch height width"] | None:
        """J_x x by pixel: the slope times the image, summed over channels.

        None of images that are not (batch, channels, height, width).
        """
        return (self.jacobian * self.images).sum(1) if self.images.ndim == 4 else None

    @property
    def unmapped(self) -> Float[Tensor, " batch"]:
        """What terms without a map add up to.

        They are those of vectors and tokens; of all, where totals alone were kept.
        """
        return sum((term.total for term in self.terms if term.map is None), torch.zeros_like(self.output))
