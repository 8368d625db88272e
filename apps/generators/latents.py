"""Where a generator's latent vectors come from: Gaussians, the sphere, or a classifier's prior.

Section 4.3 of "On The Distribution of Penultimate Activations of Classification Networks": the vMF latent of class i is
ten times a unit vector drawn around the i-th column of a classifier's final layer, which gives it about the norm that
128 Gaussians have. The uniform sphere at the same norm is the control: it has the prior's length and not its classes.
"""

import math
from abc import ABC, abstractmethod
from dataclasses import asdict

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from apps.generators.drawing_input import check_draws, count_to_draw, labels_to_draw
from priors import ClassifierPrior
from priors.checks.draws import gaussians
from priors.errors import InputError, shown, unknown
from priors.model.provenance import Provenance
from priors.vmf.transport import rsample

RADIUS = 10.0
"""Length of latents on a sphere (section 4.3)."""


class Latent(nn.Module, ABC):
    """A distribution of latent vectors given the label.

    Attributes:
        dim: of the vectors.
    """

    name: str
    dim: int

    def __init__(self, dim: int):
        super().__init__()
        if dim < 1:
            raise InputError(f"latent vectors of {dim} dimensions: expected 1 or more")
        self.dim = dim

    def description(self) -> dict:
        """How to build it again, JSON-able; tensors are apart."""
        return {"latent": self.name, "dim": self.dim}

    @abstractmethod
    def sample(
        self,
        labels: Int[Tensor, " batch"],
        generator: torch.Generator | None = None,
        concentration: float | None = None,
    ) -> Float[Tensor, "batch dim"]:
        """One vector a label, float32, on the labels' device.

        Args:
            labels: (N,), class numbers; of a class prior also numbers and names in a list.
            generator: of the draws, on any device; None: torch's own.
            concentration: of the class prior instead of its own.

        Raises:
            InputError: a concentration where there is no class prior, or one that is none; labels of no class or of
                another shape; or a generator that is none.
        """

    def truncated(self, most: float) -> "Latent":
        """The same with no number beyond `most`, which is more typical and less varied (Brock et al. 2019).

        Raises:
            InputError: it cannot be cut off, or not there.
        """
        knob = "--concentration says how typical they are" if self.name == "vmf" else "they are of one length"
        raise InputError(f"--truncation {most:g}: it is for Gaussian latents, and these are {self.name}: {knob}")

    def _normal(self, labels: Tensor, generator: torch.Generator | None, concentration: float | None) -> Tensor:
        """Independent standard normal numbers, of latents without a class prior."""
        check_draws(generator)
        self._no_concentration(concentration)
        return gaussians((count_to_draw(labels), self.dim), generator, torch.float32, labels.device)

    def _no_concentration(self, concentration: float | None) -> None:
        if concentration is not None:
            raise InputError(
                f"latents of the {self.name} kind have no concentration: --concentration is for a class prior (vmf)"
            )


class Gaussian(Latent):
    """Independent standard normal numbers, whatever the label.

    Args:
        dim: of the vectors.
        truncation: the largest absolute value, beyond which numbers would be drawn again; None: there is none. It is
            not kept with a model.
    """

    name = "gaussian"

    def __init__(self, dim: int, truncation: float | None = None):
        super().__init__(dim)
        if truncation is not None and not 0 < truncation < math.inf:
            raise InputError(f"--truncation {truncation:g}: expected a positive number, such as 0.5")
        self.truncation = truncation

    def truncated(self, most: float) -> "Gaussian":
        """The same with no number beyond `most`."""
        return Gaussian(self.dim, float(most))

    def sample(self, labels, generator=None, concentration=None):
        """Independent standard normal numbers, or those of them within the truncation."""
        if self.truncation is None:
            return self._normal(labels, generator, concentration)
        check_draws(generator)
        self._no_concentration(concentration)
        # The quantile of an even part of what lies within: what drawing again would end in, without any rounds.
        source = labels.device if generator is None else generator.device
        even = torch.rand(count_to_draw(labels), self.dim, generator=generator, device=source).to(labels.device)
        within = math.erf(self.truncation / 2**0.5)
        z = torch.erfinv((2 * even - 1) * within) * 2**0.5
        return z.clamp(-self.truncation, self.truncation)


class _OnSphere(Latent):
    """Vectors of one length.

    Args:
        dim: of the vectors.
        radius: their length.
    """

    def __init__(self, dim: int, radius: int | float = RADIUS):
        super().__init__(dim)
        if not 0 < radius < math.inf:
            raise InputError(f"latents of length {radius}: expected a positive number")
        self.radius = float(radius)

    def description(self) -> dict:
        """How to build it again, JSON-able; tensors are apart."""
        return super().description() | {"radius": self.radius}


class UniformSphere(_OnSphere):
    """Uniform on the sphere of a radius, whatever the label."""

    name = "uniform-sphere"

    def sample(self, labels, generator=None, concentration=None):
        """Uniform on the sphere."""
        return F.normalize(self._normal(labels, generator, concentration), dim=-1) * self.radius


class VonMisesFisherLatent(_OnSphere):
    """Around the class's mean direction, at a radius: p(z|i) = q(a|i) of section 4.3.

    Args:
        prior: one vMF a class; kept inside, so that sampling needs no classifier.
        radius: length of the latents.
    """

    name = "vmf"

    def __init__(self, prior: ClassifierPrior, radius: int | float = RADIUS):
        super().__init__(prior.dim, radius)
        self.prior = prior.on_its_sphere().float()

    def description(self) -> dict:
        """How to build it again, JSON-able; the prior's tensors are among the weights."""
        return super().description() | {"prior": asdict(self.prior.provenance)}

    def sample(self, labels, generator=None, concentration=None):
        """From the class's vMF, at its own concentration or the one given."""
        check_draws(generator, concentration)
        labels = labels_to_draw(labels, self.prior.class_names, self.prior.loc.device)
        kappa = self.prior.concentration[labels]
        if concentration is not None:
            kappa = torch.full_like(kappa, concentration)
        return rsample(self.prior.loc[labels], kappa, generator) * self.radius


LATENTS: dict[str, type[Latent]] = {kind.name: kind for kind in (Gaussian, UniformSphere, VonMisesFisherLatent)}


def rebuild(description: dict, weights: dict[str, Tensor], class_names) -> Latent:
    """The latents that `description()` and the weights below `latent.` hold.

    Raises:
        InputError: an unknown kind.
        KeyError, TypeError: parts are missing, or are of another type or size.
    """
    kind = description["latent"]
    if kind not in LATENTS:
        raise unknown("latent", str(kind), LATENTS)
    if kind == Gaussian.name:
        return Gaussian(description["dim"])
    if kind == UniformSphere.name:
        return UniformSphere(description["dim"], description["radius"])
    prior = ClassifierPrior.from_weight(
        weights["latent.prior.weight"],
        weights["latent.prior.concentration"],
        weights.get("latent.prior.bias"),
        class_names,
    )
    if prior.dim != description["dim"]:
        raise TypeError(f"'dim' is {shown(description['dim'])}, and the prior's {prior.dim}")
    prior.provenance = Provenance.stored(description["prior"])
    return VonMisesFisherLatent(prior, description["radius"])
