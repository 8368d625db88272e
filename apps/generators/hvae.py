"""The hyperspherical autoencoders of the paper: unconditional, given the label, and with z from a classifier's prior.

Section 4.2 of "On The Distribution of Penultimate Activations of Classification Networks", equations 10 to 12.
"""

import math
from dataclasses import asdict

import torch
import torch.nn.functional as F
from torch import Tensor

from apps.command.console import counted
from apps.generators.drawing_input import check_draws, labels_to_draw
from apps.generators.hyperspherical_vae import HypersphericalVAE
from priors import ClassifierPrior, VonMisesFisher
from priors.checks.draws import gaussians
from priors.errors import InputError, unknown
from priors.model.provenance import Provenance
from priors.vmf.bessel import kl_to_uniform
from priors.vmf.transport import rsample


class HVAE(HypersphericalVAE):
    """The unconditional model: z uniform on the sphere (equation 10)."""

    variant = "hvae"
    title = "HVAE"
    conditional = False

    def __init__(self, image_shape, dim, class_names, hidden=(256, 128), encoder_label=False):
        if encoder_label:
            raise InputError("an encoder that sees the label is for HVAE-C and HVAE-L: the HVAE's model has no label")
        super().__init__(image_shape, dim, class_names, hidden)

    def divergence(self, posterior, labels):
        """KL to the uniform distribution."""
        return _to_uniform(posterior)

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
        return _to_uniform(posterior)

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


class HVAEL(HypersphericalVAE):
    """Conditioned by a classifier's prior: z of class i is vMF around the i-th column of its final layer (equation 12).

    Args:
        prior: one vMF a class on the sphere in R^dim; kept inside, so that sampling needs no classifier.
        **options: of HypersphericalVAE.
    """

    variant = "hvae-l"
    title = "HVAE-L"

    def __init__(
        self, image_shape, dim, class_names, hidden=(256, 128), encoder_label=False, *, prior: ClassifierPrior
    ):
        super().__init__(image_shape, dim, class_names, hidden, encoder_label)
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

    def _of(self, labels: Tensor) -> VonMisesFisher:
        return VonMisesFisher(self.prior.loc[labels], self.prior.concentration[labels], validate_args=False)

    def divergence(self, posterior, labels):
        """KL(vMF || vMF) to the class's prior."""
        return torch.distributions.kl_divergence(posterior, self._of(labels))

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


VARIANTS: dict[str, type[HypersphericalVAE]] = {kind.variant: kind for kind in (HVAE, HVAEC, HVAEL)}


def rebuild(description: dict, weights: dict[str, Tensor]) -> HypersphericalVAE:
    """The model that `description()` and a state dict hold.

    Raises:
        InputError: an unknown variant, or a description with parts missing.
    """
    try:
        options = {name: description[name] for name in ("image_shape", "dim", "class_names", "hidden", "encoder_label")}
        variant = description["variant"]
        if variant not in VARIANTS:
            raise unknown("variant", variant, VARIANTS)
        if VARIANTS[variant] is HVAEL:
            prior = ClassifierPrior.from_weight(
                weights["prior.weight"],
                weights["prior.concentration"],
                weights.get("prior.bias"),
                description["class_names"],
            )
            prior.provenance = Provenance.stored(description["prior"])
            options["prior"] = prior
        return VARIANTS[variant](**options)
    except (KeyError, TypeError) as error:
        raise InputError(
            f"the model's description and weights do not fit together ({error}): damaged, or not of this program"
        ) from None


def _to_uniform(posterior: VonMisesFisher) -> Tensor:
    return kl_to_uniform(posterior.event_shape[0], posterior.concentration)


def _uniform(model: HypersphericalVAE, labels: Tensor, generator, concentration) -> Tensor:
    check_draws(generator, concentration)
    if concentration is not None:
        raise InputError(f"{model.title} has a uniform prior: --concentration is for a class prior (HVAE-L)")
    weight = model.to_logits.weight
    count = len(labels_to_draw(labels, model.class_names))
    return F.normalize(gaussians((count, model.dim), generator, weight.dtype, weight.device), dim=-1)
