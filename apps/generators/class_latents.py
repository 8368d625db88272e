"""What the autoencoders share whose latents are drawn from a von Mises-Fisher distribution of each class.

Section 4.2 of "On The Distribution of Penultimate Activations of Classification Networks", equation 12. Where those
distributions come from is what they differ in.
"""

import math
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor

from apps.command.console import counted
from apps.generators.drawing_input import check_draws, labels_to_draw
from apps.generators.hyperspherical_vae import HypersphericalVAE
from priors import ClassifierPrior, VonMisesFisher
from priors.errors import InputError
from priors.model.provenance import Provenance
from priors.vmf.transport import rsample


class ClassLatents(HypersphericalVAE):
    """An autoencoder whose z of class i is drawn from vMF(mu_i, kappa_i), and its decoder sees z alone.

    Args:
        prior: one vMF a class on the sphere in R^dim; kept inside, so that sampling needs no classifier.
        **options: of HypersphericalVAE.

    Attributes:
        prior: with the directions `loc` (classes, dim), the `concentration` (classes,) and `direction_log_prob`.
    """

    def __init__(self, image_shape, dim, class_names, *args, prior: ClassifierPrior, **options):
        super().__init__(image_shape, dim, class_names, *args, **options)
        if prior.dim != dim:
            raise InputError(
                f"the classifier's prior lives in R^{prior.dim} (its penultimate width) and the latents in R^{dim}: "
                f"give dim={prior.dim}, or train a classifier with --penultimate {dim}"
            )
        if prior.classes != len(self.class_names):
            raise InputError(
                f"the prior has {counted(prior.classes, 'class')} and the data {len(self.class_names)}: they must agree"
            )
        self.prior = prior.on_its_sphere().float()

    def description(self) -> dict:
        """How to build this model again; the prior's tensors are among the weights."""
        return super().description() | {"prior": asdict(self.prior.provenance)}

    @classmethod
    def stored_options(cls, description: dict, weights: dict[str, Tensor], at: str = "prior") -> dict[str, Any]:
        """The prior of a stored model, whose tensors are below `at`."""
        prior = ClassifierPrior.from_weight(
            weights[f"{at}.weight"],
            weights[f"{at}.concentration"],
            weights.get(f"{at}.bias"),
            description["class_names"],
        )
        prior.provenance = Provenance.stored(description["prior"])
        return {"prior": prior}

    def class_prior(self) -> ClassifierPrior:
        """One vMF a class."""
        return self.prior

    def _of(self, labels: Tensor) -> VonMisesFisher:
        loc, concentration = (part.index_select(0, labels) for part in (self.prior.loc, self.prior.concentration))
        return VonMisesFisher(loc, concentration, validate_args=False)

    def divergence(self, posterior, labels):
        """KL to the class's vMF."""
        return torch.distributions.kl_divergence(posterior, self._of(labels))

    @torch.no_grad()
    def sample_latent(self, labels, generator=None, concentration=None):
        """z from the class's vMF, at its own concentration or the one given."""
        check_draws(generator, concentration)
        prior = self._of(labels_to_draw(labels, self.class_names, self.prior.loc.device))
        kappa = prior.concentration if concentration is None else torch.full_like(prior.concentration, concentration)
        return rsample(prior.loc, kappa, generator)

    def _weights(self, x, labels, z, log_q):
        reconstruction = self._log_bernoulli(x, z, labels)
        every = self.prior.direction_log_prob(z)
        own = every.gather(-1, labels[:, None, None].expand(*z.shape[:-1], 1)).squeeze(-1)
        marginal = torch.logsumexp(every, -1) - math.log(len(self.class_names))
        return reconstruction, reconstruction + own - log_q, reconstruction + marginal - log_q
