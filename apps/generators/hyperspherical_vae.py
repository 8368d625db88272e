"""What all hyperspherical variational autoencoders share: encoder, decoder, exact bound and likelihoods.

Section 4.2 of "On The Distribution of Penultimate Activations of Classification Networks" (equations 10 to 12), with
the networks of the S-VAE (arXiv 1804.00891), fully connected, or others; see `vae_networks`.

The latent z is a unit vector of R^m; q(z|x) = vMF(mu(x), kappa(x)) with kappa = 1 + softplus(.), or a spherical Cauchy
distribution with rho = sigmoid(.); see `posteriors`. All KL divergences are exact.
"""

import math
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from apps.generators.bernoulli import log_likelihood
from apps.generators.drawing_input import labels_to_draw
from apps.generators.posteriors import posterior_of
from apps.generators.vae_networks import networks_of
from apps.models.generator import Generator
from priors.checks.floats import at_least_float32
from priors.errors import InputError
from priors.vmf.about_mean import AboutMean
from priors.vmf.bessel import log_sphere_area
from priors.vmf.transport import rsample

_MANY, _MOST = 64, 1 << 16
"""From how many decodings on the faster way pays, and how many there may be at a time, which bounds the memory."""


@dataclass(frozen=True)
class Bound:
    """The parts of the evidence lower bound of each image, in nats."""

    reconstruction: Float[Tensor, "*batch"]
    """log p(x|z, i) at one z drawn from q(z|x)."""
    divergence: Float[Tensor, "*batch"]
    """KL(q(z|x) || p(z|i)), exact."""


@dataclass(frozen=True)
class Evidence:
    """Likelihoods of each image in nats, by importance sampling from q(z|x), and the bound at the same draws."""

    reconstruction: Float[Tensor, " batch"]
    """E_q log p(x|z, i), the mean over the draws."""
    divergence: Float[Tensor, " batch"]
    """KL(q(z|x) || p(z|i)), exact."""
    given_label: Float[Tensor, " batch"]
    """log p(x|i); for the unconditional model log p(x)."""
    marginal: Float[Tensor, " batch"]
    """log p(x) = log sum_i p(i) p(x|i), on which all variants are comparable."""


class HypersphericalVAE(Generator):
    """What the variants share: encoder, decoder, exact bound and likelihoods.

    Args:
        image_shape: (channels, height, width).
        dim: m, the dimension of the space that the unit sphere of latents lies in.
        class_names: of the labels, in order.
        hidden: widths of the encoder's layers where it is fully connected; the decoder has them in reverse.
        encoder_label: whether the encoder sees the label, q(z|x, i), by concatenation.
        networks: encoder and decoder, one of `vae_networks.NETWORKS`.
        posterior: the family of q(z|x), one of `posteriors.POSTERIORS`.
        channels: of the maps of convolutional ones; None: their default.
        blocks: residual convolutions of those, likewise.
    """

    def __init__(
        self,
        image_shape: Sequence[int],
        dim: int,
        class_names: Sequence[str],
        hidden: Sequence[int] = (256, 128),
        encoder_label: bool = False,
        networks: str = "mlp",
        posterior: str = "vmf",
        channels: int | None = None,
        blocks: int | None = None,
    ):
        super().__init__()
        if dim < 2:
            raise InputError(f"a sphere in R^{dim}: expected a latent dimension of 2 or more")
        if not class_names:
            raise InputError("0 classes: expected at least one")
        self.image_shape = tuple(image_shape)
        self.dim = dim
        self.class_names = tuple(class_names)
        self.encoder_label = encoder_label
        self.posterior = posterior
        self._posterior = posterior_of(posterior)
        self.networks = networks_of(networks, {"hidden": tuple(hidden), "channels": channels, "blocks": blocks})
        self.encoder = self.networks.encoder(self.image_shape, len(self.class_names) * encoder_label)
        # Mean direction and concentration share their last matrix product; they are initialised as two layers would be.
        self.to_posterior = nn.Linear(self.networks.features, dim + 1)
        self.decoder = self.networks.decoder(self.image_shape, dim + self.decoder_labels())
        self.to_logits = self.networks.to_logits(self.image_shape)
        self.log_uniform = -log_sphere_area(dim)

    # What the variants differ in.

    def decoder_labels(self) -> int:
        """Width of the label code that is concatenated to z."""
        return 0

    @abstractmethod
    def divergence(self, posterior: AboutMean, labels: Int[Tensor, " batch"]) -> Float[Tensor, " batch"]:
        """KL(q(z|x) || p(z|i)) in nats."""

    @abstractmethod
    def sample_latent(
        self,
        labels: Int[Tensor, " batch"],
        generator: torch.Generator | None = None,
        concentration: float | None = None,
    ) -> Float[Tensor, "batch dim"]:
        """z from p(z|i); the arguments are those of `generate`."""

    @abstractmethod
    def _weights(self, x: Tensor, labels: Tensor, z: Tensor, log_q: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """log p(x|z, i) and the log importance weights of p(x|i) and of p(x) at z (batch, K, m): (batch, K) each."""

    def description(self) -> dict:
        """How to build this model again, JSON-able; the weights are apart."""
        return {
            "model": "hvae",
            "variant": self.variant,
            "image_shape": list(self.image_shape),
            "dim": self.dim,
            "class_names": list(self.class_names),
            "encoder_label": self.encoder_label,
            "posterior": self.posterior,
            **self.networks.description(),
        }

    @classmethod
    def stored_options(cls, description: dict, weights: dict[str, Tensor]) -> dict[str, Any]:
        """What a variant is built with beyond what all are, of a stored model.

        Raises:
            InputError, KeyError, TypeError: parts are missing, or of another type or size.
        """
        return {}

    def undecayed(self) -> tuple[nn.Parameter, ...]:
        """Parameters that weight decay is not for."""
        return ()

    # What they share.

    def encode(self, images: Float[Tensor, "batch *shape"], labels: Int[Tensor, " batch"] | None = None) -> AboutMean:
        """q(z|x), or q(z|x, i) where the encoder sees the label.

        Args:
            images: in [0, 1], (N, C, H, W).
            labels: (N,), needed only where the encoder sees them.
        """
        if tuple(images.shape[1:]) != self.image_shape:
            raise InputError(f"images of shape {tuple(images.shape[1:])}: this model was built for {self.image_shape}")
        x = images.flatten(1)
        if self.encoder_label:
            if labels is None:
                raise InputError("the encoder sees the label: give labels to encode")
            x = torch.cat([x, F.one_hot(labels, len(self.class_names)).to(x.dtype)], -1)
        return self._posterior.of(at_least_float32(self.to_posterior(self.encoder(x))))

    def decode(
        self,
        z: Float[Tensor, "*batch dim"],
        labels: Int[Tensor, "*batch"] | Float[Tensor, "*batch classes"] | None = None,
    ) -> Float[Tensor, "*batch pixels"]:
        """Bernoulli logits of each pixel given z and, where the variant has a label code, labels or a code of its own.

        A code in floating point, such as a point between two classes' one-hot codes, is taken as it is.
        """
        return self.to_logits(self.decoder(self._code(z, labels)))

    def _code(self, z: Tensor, labels: Tensor | None) -> Tensor:
        return z

    def forward(
        self,
        images: Float[Tensor, "batch *shape"],
        labels: Int[Tensor, " batch"],
        generator: torch.Generator | Float[Tensor, "batch dim"] | None = None,
    ) -> Bound:
        """The bound's parts at one draw of z; images are binary, or in [0, 1] as the means of binary ones.

        The draw is made by a generator, or of Gaussians that were drawn before and are overwritten.
        """
        posterior = self.encode(images, labels)
        z = rsample(posterior.loc, posterior.concentration, generator, posterior.law)
        logits = at_least_float32(self.decode(z, labels))
        return Bound(log_likelihood(logits, images.flatten(1)), self.divergence(posterior, labels))

    def evidence(
        self,
        images: Float[Tensor, "batch *shape"],
        labels: Int[Tensor, " batch"],
        samples: int,
        generator: torch.Generator | None = None,
        chunk: int = 1 << 16,
    ) -> Evidence:
        """Likelihoods by importance sampling: log mean_k p(x|z_k, i) p(z_k|i) / q(z_k|x).

        Args:
            images: binary, (N, C, H, W).
            labels: (N,).
            samples: K, the draws of z for each image.
            generator: of the draws.
            chunk: decodings at a time, which bounds the memory.
        """
        if samples < 1:
            raise InputError(f"{samples} importance samples: expected 1 or more")
        reconstruction, given_label, marginal = self._importance(images, labels, samples, generator, chunk)
        if self.encoder_label:
            # q(z|x, i) proposes for its own label only, so each label's p(x|i) comes from a proposal of its own.
            every = [
                self._importance(images, torch.full_like(labels, label), samples, generator, chunk)[1]
                for label in range(len(self.class_names))
            ]
            marginal = torch.logsumexp(torch.stack(every), 0) - math.log(len(every))
        return Evidence(reconstruction, self.divergence(self.encode(images, labels), labels), given_label, marginal)

    def _importance(self, images, labels, samples, generator, chunk) -> tuple[Tensor, Tensor, Tensor]:
        """E_q log p(x|z, i), log p(x|i) and log p(x), (N,) each, from `samples` draws, `chunk` decodings at a time."""
        posterior = self.encode(images, labels)
        some, draws = max(1, chunk // samples), min(samples, chunk)
        blocks = []
        for x, y, loc, concentration in zip(
            *(rows.split(some) for rows in (images.flatten(1), labels, posterior.loc, posterior.concentration)),
            strict=True,
        ):
            q = type(posterior)(loc[:, None], concentration[:, None], validate_args=False)
            parts = []
            for first in range(0, samples, draws):
                many = q.expand((len(x), min(draws, samples - first)))
                z = many.rsample((), generator)
                parts.append(self._weights(x, y, z, q.log_prob(z)))
            reconstruction, given_label, marginal = (torch.cat(part, 1) for part in zip(*parts, strict=True))
            blocks.append((reconstruction.mean(1), given_label.logsumexp(1), marginal.logsumexp(1)))
        reconstruction, given_label, marginal = (torch.cat(block) for block in zip(*blocks, strict=True))
        return reconstruction, given_label - math.log(samples), marginal - math.log(samples)

    def _log_bernoulli(self, x: Tensor, z: Tensor, labels: Tensor) -> Tensor:
        """log p(x|z, i), (N, K), for binary x (N, pixels), z (N, K, m) and labels (N,), or (N, K) one a draw."""
        labels = labels if labels.ndim == 2 else labels[:, None].expand(z.shape[:-1])
        if z.shape[1] > _MOST:
            parts = zip(z.split(_MOST, 1), labels.split(_MOST, 1), strict=True)
            return torch.cat([self._log_bernoulli(x, *part) for part in parts], 1)
        if z.device.type != "cpu" or torch.is_grad_enabled() or z.shape[:-1].numel() < _MANY:
            return self._log_bernoulli_by_pixel(x, z, labels)
        likelihoods = self.networks.log_bernoulli(self.decoder, self.to_logits, x, z, labels, self._code)
        vanishing = ~likelihoods.isfinite().all(1)
        if bool(vanishing.any()):
            likelihoods[vanishing] = self._log_bernoulli_by_pixel(x[vanishing], z[vanishing], labels[vanishing])
        return likelihoods

    def _log_bernoulli_by_pixel(self, x: Tensor, z: Tensor, labels: Tensor) -> Tensor:
        """The same with a logarithm a pixel."""
        some = max(1, _MOST // z.shape[1])
        signs = 2 * x - 1
        found = []
        for sign, draws, label in zip(*(rows.split(some) for rows in (signs, z, labels)), strict=True):
            logits = self.to_logits(self.decoder(self._code(draws, label)))
            found.append(F.logsigmoid(logits * sign[:, None]).sum(-1))
        return torch.cat(found)

    @torch.no_grad()
    def generate(self, labels, generator=None, concentration=None):
        """Mean images in [0, 1] of z drawn from p(z|i)."""
        labels = labels_to_draw(labels, self.class_names, self.to_posterior.weight.device)
        return (
            self.decode(self.sample_latent(labels, generator, concentration), labels)
            .sigmoid()
            .unflatten(-1, self.image_shape)
        )
