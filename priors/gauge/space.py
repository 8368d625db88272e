"""The space that activations are looked at in: as they are, centred, or whitened by their covariance within classes.

A softmax classifier does not tell these apart. With activations v = T (a - a0), rows T^-T w_i and biases b_i + w_i . a0
it has the same logits; but the directions of v are not those of a, and so other von Mises-Fisher distributions fit.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor

from priors.errors import InputError, unknown
from priors.gauge.moments import ActivationMoments, require_finite

SpaceName = Literal["raw", "centred", "whitened"]


@dataclass(frozen=True)
class Space:
    """v = T (a - a0), with T = L^-1 for a lower-triangular L: the rows there are W L, and a = a0 + L v.

    L L^T is the covariance within classes, so that in a whitened space activations spread alike in all directions.
    Which root of the covariance is taken does not matter: two differ by a rotation.

    Attributes:
        name: "raw" (a0 = 0, T = I), "centred" (T = I) or "whitened".
        centre: (m,) a0, the mean activation; None for 0.
        factor: (m, m) L; None for I.
        shrinkage: the part of the covariance, in [0, 1], that was replaced by a multiple of I.

    Example:
        >>> space = Space("whitened", torch.tensor([1.0, 1.0]), torch.tensor([[2.0, 0.0], [1.0, 3.0]]))
        >>> space.bring(torch.tensor([3.0, 5.0]))
        tensor([1., 1.])
    """

    name: SpaceName = "raw"
    centre: Float[Tensor, " m"] | None = None
    factor: Float[Tensor, "m m"] | None = None
    shrinkage: float | None = None

    def bring(self, activations: Float[Tensor, "*batch m"]) -> Float[Tensor, "*batch m"]:
        """Activations of the network, into this space."""
        if self.centre is not None:
            activations = activations - self.centre
        if self.factor is None:
            return activations
        rows = activations.reshape(-1, activations.shape[-1])
        return torch.linalg.solve_triangular(self.factor.mT, rows, upper=True, left=False).reshape(activations.shape)

    def back(self, vectors: Float[Tensor, "*batch m"]) -> Float[Tensor, "*batch m"]:
        """Vectors of this space, as activations of the network: the inverse of `bring`."""
        if self.factor is not None:
            vectors = vectors @ self.factor.mT
        return vectors if self.centre is None else vectors + self.centre

    def rows(self, weight: Float[Tensor, "classes m"]) -> Float[Tensor, "classes m"]:
        """The head's weight in this space, T^-T w_i."""
        return weight if self.factor is None else weight @ self.factor

    def bias(
        self, weight: Float[Tensor, "classes m"], bias: Float[Tensor, " classes"] | None
    ) -> Float[Tensor, " classes"] | None:
        """The head's bias in this space, b_i + w_i . a0; None where both are 0."""
        if self.centre is None:
            return bias
        moved = weight @ self.centre
        return moved if bias is None else bias + moved

    def to(self, dtype: torch.dtype, device: torch.device | str | None = None) -> "Space":
        """The same space in another type or on another device."""
        parts = (None if part is None else part.to(device, dtype) for part in (self.centre, self.factor))
        return Space(self.name, *parts, self.shrinkage)

    @property
    def log_volume(self) -> float:
        """log |det T|, in nats: what a log-density in this space gains as one of the activations."""
        return 0.0 if self.factor is None else -float(self.factor.double().diagonal().log().sum())


def fit_space(name: str, moments: ActivationMoments | None, class_names: Sequence[str]) -> Space:
    """The space of a name, for activations of these moments.

    Args:
        name: "raw" needs no moments.
        moments: of activations of images.
        class_names: for messages.

    Raises:
        InputError: another name, no moments or none of any image, activations that are not finite, or, for "whitened",
            that do not differ within any class.
    """
    if name not in get_args(SpaceName):
        raise unknown("space", name, get_args(SpaceName))
    if name == "raw":
        return Space()
    if moments is None or moments.images == 0:
        raise InputError(f"the space {name!r} is measured on activations of images: there are none")
    require_finite(moments, class_names)
    if name == "centred":
        return Space(name, moments.centre)
    if moments.freedom == 0 or not bool(moments.scatter.diagonal().sum() > 0):
        raise InputError(
            "the space 'whitened' is measured by how activations differ within classes: give two images of a class, "
            "or more, that differ"
        )
    covariance = moments.scatter / moments.freedom
    shrinkage = oracle_approximating_shrinkage(covariance, moments.freedom)
    factor = torch.linalg.cholesky(shrunk(covariance, shrinkage))
    # Laid out as it will be when it is read from a file, so that products round alike.
    return Space(name, moments.centre, factor.contiguous(), shrinkage)


def oracle_approximating_shrinkage(covariance: Float[Tensor, "m m"], n: int) -> float:
    """How much of a sample covariance to replace by (its mean variance) I: OAS, for Gaussian data.

    Chen, Wiesel, Eldar and Hero (Shrinkage algorithms for MMSE covariance estimation, 2010), equation 23 without its
    terms 2 / m, as scikit-learn has it. It asks for traces alone, where Ledoit and Wolf's estimator asks for fourth
    moments.

    Args:
        covariance: of a sample, S.
        n: its degrees of freedom.

    Returns:
        A number in [0, 1]; 1 where there are far fewer images than dimensions.
    """
    m = len(covariance)
    square = float(covariance.square().sum()) / m**2  # tr(S^2) / m^2
    mean_square = (float(covariance.diagonal().sum()) / m) ** 2
    above = square + mean_square
    below = (n + 1) * (square - mean_square / m)
    return 1.0 if below <= 0 else min(above / below, 1.0)


def shrunk(covariance: Float[Tensor, "m m"], shrinkage: float) -> Float[Tensor, "m m"]:
    """(1 - shrinkage) S + shrinkage (tr S / m) I."""
    found = (1 - shrinkage) * covariance
    found.diagonal().add_(shrinkage * covariance.diagonal().mean())
    return found
