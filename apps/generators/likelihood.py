"""How likely a generator finds the test images: the bound, its parts, and importance-sampled likelihoods."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from apps.command.console import counted
from apps.data.binarise import binarise
from apps.data.image_set import ImageSet
from apps.generators.hyperspherical_vae import HypersphericalVAE
from apps.seeds import generator
from priors.errors import InputError
from priors.files.tensors import digest_of


@dataclass(frozen=True)
class Mean:
    """A mean over images and its standard error, in nats."""

    value: float
    error: float

    def __str__(self) -> str:
        return f"{self.value:.2f} +- {self.error:.2f}"


@dataclass(frozen=True)
class Likelihood:
    """Means over a set of binarised images, in nats an image."""

    elbo: Mean
    """E_q log p(x|z, i) - KL(q(z|x) || p(z|i)): a bound of log p(x|i)."""
    reconstruction: Mean
    """E_q log p(x|z, i)."""
    divergence: Mean
    """KL(q(z|x) || p(z|i))."""
    given_label: Mean | None
    """log p(x|i); None for an unconditional model."""
    joint: Mean | None
    """log p(x, i) = log p(x|i) + log p(i); None for an unconditional model."""
    elbo_joint: Mean | None
    """The bound with log p(i), as equations 11 and 12 have it; None for an unconditional model."""
    marginal: Mean
    """log p(x) = log sum_i p(i) p(x|i)."""
    images: int
    """How many images."""
    samples: int
    """K, importance samples an image."""
    seed: int
    """Of the binarisation and the samples."""
    by_image: Mapping[str, Tensor] = field(compare=False, repr=False, default_factory=dict)
    """By what they are called: the bound and the likelihoods of each image, (images,), in their order."""

    @property
    def named(self) -> dict[str, Mean]:
        """The quantities by what they are called; those that a model has."""
        values = {
            "ELBO": self.elbo,
            "ELBO with log p(i)": self.elbo_joint,
            "reconstruction": self.reconstruction,
            "KL": self.divergence,
            "log p(x|i)": self.given_label,
            "log p(x,i)": self.joint,
            "log p(x)": self.marginal,
        }
        return {name: mean for name, mean in values.items() if mean is not None}


def likelihood(
    model: HypersphericalVAE,
    images: ImageSet,
    sweep,
    samples: int = 500,
    seed: int = 0,
    batch_size: int = 100,
    store=None,
) -> Likelihood:
    """Score a model on images, binarised once with a fixed seed, each with `samples` draws of z.

    Draws belong to a batch of the set by its number, so that any number of processes gives the same result. With a
    folder as `store`, a scoring that was stopped goes on from what it had finished.

    Raises:
        InputError: fewer than two images, images of another shape, labels the model does not know, or too few samples.
    """
    if len(images) < 2:
        raise InputError(f"{counted(len(images), 'image')} to score: a standard error needs at least 2")
    if images.image_shape != model.image_shape:
        raise InputError(f"images of shape {images.image_shape}: the model was trained on {model.image_shape}")
    if len(images.class_names) > len(model.class_names):
        raise InputError(f"{len(images.class_names)} classes of images: the model knows {len(model.class_names)}")

    def of(batch) -> dict[str, Tensor]:
        # Drawn on the CPU: a GPU has a generator of its own, by which a seed would give another score.
        binary = binarise(batch.images, generator("cpu", seed, "evaluate-binarise", batch.number))
        evidence = model.evidence(
            binary, batch.labels, samples, generator("cpu", seed, "evaluate-latent", batch.number)
        )
        return {
            "elbo": evidence.reconstruction - evidence.divergence,
            "reconstruction": evidence.reconstruction,
            "divergence": evidence.divergence,
            "given_label": evidence.given_label,
            "marginal": evidence.marginal,
        }

    kept = (
        {"store": store, "key": {"samples": samples, "seed": seed, "weights": digest_of(model.state_dict())}}
        if store
        else {}
    )
    scored = sweep(images, of, batch_size=batch_size, **kept)
    by_image = {"ELBO": scored["elbo"], "log p(x)": scored["marginal"]}
    if model.conditional:
        by_image["log p(x|i)"] = scored["given_label"]
    parts = {name: _mean(values) for name, values in scored.items()}
    given, log_label = parts.pop("given_label"), -math.log(len(model.class_names))
    conditional = {
        "given_label": given if model.conditional else None,
        "joint": _shifted(given, log_label) if model.conditional else None,
        "elbo_joint": _shifted(parts["elbo"], log_label) if model.conditional else None,
    }
    made = {"images": len(images), "samples": samples, "seed": seed}
    return Likelihood(**parts, **conditional, **made, by_image=by_image)


def _mean(values: Tensor) -> Mean:
    values = values.double()
    return Mean(values.mean().item(), values.std().item() / math.sqrt(len(values)))


def _shifted(mean: Mean, by: float) -> Mean:
    return Mean(mean.value + by, mean.error)


def reconstruct(model: HypersphericalVAE, images: Tensor, labels: Tensor) -> Tensor:
    """Mean images (N, C, H, W) in [0, 1], decoded from the posterior's mean direction."""
    with torch.inference_mode():
        z = model.encode(images, labels).loc
        return model.decode(z, labels).sigmoid().unflatten(-1, model.image_shape)
