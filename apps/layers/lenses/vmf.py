"""How well von Mises-Fisher distributions describe the penultimate activations."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from apps.layers.lens import Layer, Lens, Look, Reading, Seen, Subject

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class GoodnessOfFit(Lens):
    """Distance of the cosines between activations and their class's weight from those of the likeliest concentration.

    Attributes:
        halves: random halves of the images, whose distances' deviation is the error.
    """

    halves: int = 100
    what: ClassVar[str] = "how far penultimate activations are from von Mises-Fisher distributions"
    title: ClassVar[str] = "vMF misfit"
    meaning: ClassVar[str] = (
        "Kolmogorov-Smirnov distance, 0 to 1, of the cosines between activations and their class's weight from those "
        "of a vMF distribution with the likeliest concentration for all classes; draws from a given one are less than "
        "1.36 / sqrt(images) away from it in 19 of 20 cases"
    )
    kept: ClassVar[int] = 0

    def gaps(self, subject: Subject) -> Mapping[str, str]:
        """All but what the final linear layer is given; all where labels are no classes of the network."""
        if not subject.known:
            return {layer.name: f"{subject.images.name} has other classes" for layer in subject.layers}
        return {
            layer.name: "it is not what the final linear layer is given, which the prior is of"
            for layer in subject.layers
            if not layer.penultimate
        }

    def look(self, subject: Subject, layers: tuple[Layer, ...]) -> Look:
        """Keep the activations."""
        _rows_of(subject)

        def rows(seen: Seen) -> dict[str, "Tensor"]:
            return {"penultimate": seen.penultimate, "labels": seen.labels}

        return rows

    def read(self, subject: Subject, layers: tuple[Layer, ...], rows: "Mapping[str, Tensor]") -> Mapping[str, Reading]:
        """The distance of all images, with its deviation over random halves of them.

        A half without replacement has half the images and leaves half of them out, so that its deviation is that of the
        whole; a bootstrap, which draws images twice, would make steps of the distribution function higher.
        """
        import torch

        from apps.seeds import generator
        from priors.vmf.directions import class_directions

        prior = _rows_of(subject)
        weights = prior.gauge.rows(prior.weight).cpu()
        versine = class_directions(rows["penultimate"], rows["labels"], weights, prior.class_names).versine
        source, count = generator("cpu", subject.seed, "vmf"), len(versine)
        some = [torch.randperm(count, generator=source)[: count // 2] for _ in range(self.halves)]
        apart = torch.tensor([_distance(versine[own], prior.dim) for own in some])
        found = Reading(_distance(versine, prior.dim), float(apart.std()), count)
        return {layer.name: found for layer in layers}


def _rows_of(subject: Subject):
    """The prior; no matter with which concentration: its directions are looked at.

    Raises:
        InputError: a final layer without directions.
    """
    from priors import ClassifierPrior

    return ClassifierPrior.from_classifier(subject.network, 1.0)


def _distance(versine: "Tensor", dim: int) -> float:
    """From the likeliest distribution; 0 where all activations lie on their class's weight."""
    from priors.errors import InputError
    from priors.fit.goodness_of_fit import kolmogorov_smirnov
    from priors.vmf.maximum_likelihood import solve_concentration

    deficit = versine.mean()
    try:
        likeliest = float(solve_concentration((1 - deficit).clamp_min(0), dim, deficit=deficit))
    except InputError:
        return 0.0
    return kolmogorov_smirnov(versine, dim, likeliest)


LENS = GoodnessOfFit()
