"""HVAE-M: the distribution of each class's latents is learnt with the autoencoder, not read off a classifier.

A control for HVAE-L: p(z|i) = vMF(mu_i, kappa_i) as there, so that p(z) = 1/c sum_i p(z|i) is a mixture of as many von
Mises-Fisher distributions as there are classes, but mu_i, kappa_i or both are parameters that are found by the same
bound as the networks. A prior that is a mixture of learnt components is the idea of VampPrior (Tomczak and Welling,
"VAE with a VampPrior", arXiv 1705.07120); here a label says which component an image has, so that the divergence
KL(q(z|x) || p(z|i)) stays exact.
"""

from collections.abc import Collection, Sequence
from dataclasses import asdict, replace
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from apps.generators.class_latents import ClassLatents
from priors import ClassifierPrior
from priors.errors import InputError, unknown
from priors.model.concentration import Concentration
from priors.model.provenance import Provenance
from priors.vmf.distribution import log_densities

PARTS = ("directions", "concentrations")
"""What of a prior can be learnt."""
_LEARNT = "learnt with the model"


class LearntPrior(nn.Module):
    """One vMF a class, whose directions, concentrations or both are parameters.

    A direction is a parameter of the space, over its length. A concentration is the exponential of one: it stays
    positive, and a step of an optimiser changes it by a fraction of itself, whether it is 5 or 500.

    Args:
        start: where the parameters start, and all that is not learnt.
        learn: of `PARTS`.

    Attributes:
        learn: what is learnt, in the order of `PARTS`.
        direction: (classes, m), of any length, or None where the directions are not learnt.
        log_concentration: (classes,), likewise.

    Raises:
        InputError: something else to learn, or a learnt concentration that starts at 0.
    """

    direction: nn.Parameter | None
    log_concentration: nn.Parameter | None

    def __init__(self, start: ClassifierPrior, learn: Collection[str] = PARTS):
        super().__init__()
        for part in learn:
            if part not in PARTS:
                raise unknown("part of a prior to learn", part, PARTS)
        self.learn = tuple(part for part in PARTS if part in learn)
        self.start = start
        directions, concentrations = (part in learn for part in PARTS)
        if concentrations and not bool((start.concentration > 0).all()):
            name = start.class_names[int(start.concentration.argmin())]
            raise InputError(
                f"the concentration of class {name!r} starts at 0, where a learnt one cannot go: give a positive number"
            )
        self.direction = nn.Parameter(start.loc.clone()) if directions else None
        self.log_concentration = nn.Parameter(start.concentration.log()) if concentrations else None

    @property
    def loc(self) -> Float[Tensor, "classes m"]:
        """The classes' unit directions."""
        return self.start.loc if self.direction is None else F.normalize(self.direction, dim=-1)

    @property
    def concentration(self) -> Float[Tensor, " classes"]:
        """The classes' concentrations."""
        return self.start.concentration if self.log_concentration is None else self.log_concentration.exp()

    def direction_log_prob(self, directions: Float[Tensor, "*batch m"]) -> Float[Tensor, "*batch classes"]:
        """As `ClassifierPrior.direction_log_prob`."""
        return log_densities(directions, self.loc, self.concentration)

    @property
    def provenance(self) -> Provenance:
        """Where it comes from now."""
        told = self.start.provenance
        if self.direction is not None:
            told = replace(told, network=_LEARNT)
        if self.log_concentration is not None:
            told = replace(told, concentration=f"{_LEARNT}; at its start {told.concentration}")
        return told

    @torch.no_grad()
    def as_it_is(self) -> ClassifierPrior:
        """The prior by the parameters as they are now, which no longer changes with them.

        Without learnt directions, its weight and bias are those of the final layer.
        """
        start, learnt = self.start, self.direction is not None
        rows = (self.loc if learnt else start.weight).clone()
        bias = None if learnt or start.bias is None else start.bias.clone()
        return ClassifierPrior(rows, bias, self.concentration.clone(), start.class_names, self.provenance)


def drawn_prior(
    class_names: Sequence[str], dim: int, concentration: Concentration, generator: torch.Generator, dataset: str
) -> ClassifierPrior:
    """Where learnt directions start: drawn uniformly from the sphere in R^dim.

    They are not spread evenly, as directions of a trained classifier nearly are (neural collapse): what such a layout
    is worth is what the learnt prior is compared with a classifier's for.

    Args:
        class_names: of the labels, in order.
        dim: m.
        concentration: one number, or one a class.
        generator: of the draws.
        dataset: that the model will be trained on.

    Raises:
        InputError: concentrations that cannot be, or fewer than two classes.
    """
    rows = F.normalize(torch.randn(len(class_names), dim, generator=generator), dim=-1)
    told = Provenance(network="none, directions drawn at random", dataset=dataset)
    return ClassifierPrior.from_weight(rows, concentration, class_names=class_names, provenance=told)


class HVAEM(ClassLatents):
    """Conditioned by a learnt prior: z of class i is vMF(mu_i, kappa_i), found together with the networks.

    Args:
        learn: "directions", "concentrations" or both; with neither it is HVAE-L.
        **options: of `ClassLatents`; its `prior` is where the parameters start, and all that is not learnt.
    """

    variant = "hvae-m"
    title = "HVAE-M"
    prior: LearntPrior

    def __init__(self, *args, prior: ClassifierPrior, learn: Collection[str] = PARTS, **options):
        super().__init__(*args, prior=prior, **options)
        self.prior = LearntPrior(self.prior, learn)

    def description(self) -> dict:
        """How to build this model again: of the prior, where it started and what was learnt of it."""
        return super().description() | {"prior": asdict(self.prior.start.provenance), "learn": list(self.prior.learn)}

    @classmethod
    def stored_options(cls, description, weights, at="prior.start") -> dict[str, Any]:
        """The prior that a stored model started from, and what it learnt of it."""
        return super().stored_options(description, weights, at) | {"learn": description["learn"]}

    def class_prior(self) -> ClassifierPrior:
        """As it was learnt."""
        return self.prior.as_it_is()

    def undecayed(self) -> tuple[nn.Parameter, ...]:
        """The prior's: weight decay would pull its concentrations towards 1."""
        return tuple(self.prior.parameters())
