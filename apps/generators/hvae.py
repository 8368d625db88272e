"""The hyperspherical autoencoders of the paper: unconditional, given the label, and with z from a classifier's prior.

Section 4.2 of "On The Distribution of Penultimate Activations of Classification Networks", equations 10 to 12.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from apps.generators.class_latents import ClassLatents
from apps.generators.drawing_input import check_draws, labels_to_draw
from apps.generators.hyperspherical_vae import HypersphericalVAE
from apps.generators.learnt_prior import HVAEM
from apps.generators.vae_networks import described
from priors.checks.draws import gaussians
from priors.errors import InputError, reason, unknown


class HVAE(HypersphericalVAE):
    """The unconditional model: z uniform on the sphere (equation 10)."""

    variant = "hvae"
    title = "HVAE"
    conditional = False

    def __init__(self, image_shape, dim, class_names, hidden=(256, 128), encoder_label=False, **options):
        if encoder_label:
            raise InputError("an encoder that sees the label is for HVAE-C and HVAE-L: the HVAE's model has no label")
        super().__init__(image_shape, dim, class_names, hidden, **options)

    def divergence(self, posterior, labels):
        """KL to the uniform distribution."""
        return posterior.kl_to_uniform()

    def sample_latent(self, labels, generator=None, concentration=None):
        """z uniform on the sphere."""
        return _uniform(self, labels, generator, concentration)

    def _weights(self, x, labels, z, log_q):
        reconstruction = self._log_bernoulli(x, z, labels)
        weight = reconstruction + self.log_uniform - log_q
        return reconstruction, weight, weight


class HVAEC(HypersphericalVAE):
    """Conditioned by concatenating the label's one-hot code to z, which is uniform on the sphere (equation 11)."""

    variant = "hvae-c"
    title = "HVAE-C"

    def decoder_labels(self) -> int:
        """One unit a class."""
        return len(self.class_names)

    def _code(self, z, labels):
        code = labels if labels.is_floating_point() else F.one_hot(labels, len(self.class_names))
        return torch.cat([z, code.to(z.dtype)], -1)

    def divergence(self, posterior, labels):
        """KL to the uniform distribution."""
        return posterior.kl_to_uniform()

    def sample_latent(self, labels, generator=None, concentration=None):
        """z uniform on the sphere, whatever the label."""
        return _uniform(self, labels, generator, concentration)

    def _weights(self, x, labels, z, log_q):
        prior = self.log_uniform - log_q
        if self.encoder_label:  # the marginal then comes from a proposal for each label, see `evidence`
            reconstruction = self._log_bernoulli(x, z, labels)
            return reconstruction, reconstruction + prior, reconstruction + prior
        classes, (images, draws) = len(self.class_names), z.shape[:-1]
        codes = torch.arange(classes, device=labels.device).repeat_interleave(draws).expand(images, -1)
        every = self._log_bernoulli(x, z.repeat(1, classes, 1), codes).unflatten(1, (classes, draws))
        reconstruction = every[torch.arange(images, device=labels.device), labels]
        return reconstruction, reconstruction + prior, torch.logsumexp(every, 1) - math.log(classes) + prior


class HVAEL(ClassLatents):
    """Conditioned by a classifier's prior: z of class i is vMF around the i-th column of its final layer (equation 12).

    Its arguments are those of `ClassLatents`.
    """

    variant = "hvae-l"
    title = "HVAE-L"


VARIANTS: dict[str, type[HypersphericalVAE]] = {kind.variant: kind for kind in (HVAE, HVAEC, HVAEL, HVAEM)}


def rebuild(description: dict, weights: dict[str, Tensor]) -> HypersphericalVAE:
    """The model that `description()` and a state dict hold.

    Raises:
        InputError: an unknown variant, or a description with parts missing.
    """
    try:
        options = {name: description[name] for name in ("image_shape", "dim", "class_names", "encoder_label")}
        options |= described(description)
        options["posterior"] = description.get("posterior", "vmf")  # older models had no other
        variant = description["variant"]
        if variant not in VARIANTS:
            raise unknown("variant", variant, VARIANTS)
        kind = VARIANTS[variant]
        return kind(**options, **kind.stored_options(description, weights))
    except (KeyError, TypeError) as error:
        raise InputError(
            f"the model's description and weights do not fit together ({reason(error)}): damaged, or not of this "
            "program"
        ) from None


def _uniform(model: HypersphericalVAE, labels: Tensor, generator, concentration) -> Tensor:
    check_draws(generator, concentration)
    if concentration is not None:
        raise InputError(f"{model.title} has a uniform prior: --concentration is for a class prior (HVAE-L, HVAE-M)")
    weight = model.to_posterior.weight
    count = len(labels_to_draw(labels, model.class_names))
    return F.normalize(gaussians((count, model.dim), generator, weight.dtype, weight.device), dim=-1)
