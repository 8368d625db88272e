"""What the training of an HVAE can be told. Nothing here imports torch, so that help is instant."""

from dataclasses import dataclass, field
from typing import Literal

import tyro

from apps.command.config import Data, Foreign, Gauge, Optimisation, Where, added
from apps.command.ranges import EpochsFromZero, FromZero, Width


def _protocol() -> Optimisation:
    return Optimisation(epochs=220.0, schedule="cosine", final_lr=0.05, patience=50)


@dataclass(frozen=True)
class HVAESettings:
    """Train a hyperspherical variational autoencoder."""

    data: tyro.conf.OmitArgPrefixes[Data] = field(default_factory=Data)
    variant: Literal["hvae", "hvae-c", "hvae-l", "hvae-m"] = "hvae-l"
    """hvae: unconditional; hvae-c: the label beside z; hvae-l: z from the classifier's prior; hvae-m: z from a prior
    that is learnt with the model, a control for hvae-l."""
    latent_dim: Width = 10
    """d: the latent sphere is S^d in R^(d+1), or S^(d-1) in R^d with --convention ambient."""
    convention: Literal["sphere", "ambient"] = "sphere"
    """What --latent-dim counts: the dimensions of the sphere, or of the space around it."""
    classifier: str | None = None
    """MODEL whose final layer is the prior of hvae-l, or a prior saved by penult prior; of hvae-m with --learn
    concentrations, whose directions it has."""
    concentration: tuple[str, ...] = ()
    """Concentration of the prior: a number, one for each class, or a strategy such as mle; unset: 20, or as saved.
    Concentrations that are learnt start there."""
    learn: tuple[Literal["directions", "concentrations"], ...] = added((), before=())
    """What hvae-m learns of its prior; unset: both. Directions start at random ones by the seed; what is not learnt is
    that of --classifier or --concentration."""
    posterior: Literal["vmf", "spherical-cauchy"] = added("vmf", before="vmf")
    """Family of q(z|x) about the encoder's direction; the prior stays what it is."""
    encoder_label: bool = False
    """Whether the encoder sees the label, q(z|x, i) instead of q(z|x)."""
    label_term: bool = True
    """Whether the reported bound holds log p(i), as equations 11 and 12 do; it moves no gradient."""
    networks: Literal["mlp", "conv"] = added("mlp", before="mlp")
    """Encoder and decoder: mlp, fully connected, as published; conv, convolutional, whose bound is better at 2 to 3
    times the time."""
    hidden: tuple[Width, ...] = (256, 128)
    """Widths of the encoder's layers of mlp; the decoder has them in reverse."""
    channels: Width | None = added(None, before=None)
    """Channels of the maps of conv; unset: 32."""
    blocks: FromZero | None = added(None, before=None)
    """Residual convolutions of conv's encoder, and of its decoder; unset: 1."""
    kl_warmup: EpochsFromZero = 30.0
    """Epochs over which the weight of the divergence rises to 1."""
    gauge: tyro.conf.OmitArgPrefixes[Gauge] = field(default_factory=Gauge)
    foreign: tyro.conf.OmitArgPrefixes[Foreign] = field(default_factory=Foreign)
    optimisation: tyro.conf.OmitArgPrefixes[Optimisation] = field(default_factory=_protocol)
    where: tyro.conf.OmitArgPrefixes[Where] = field(default_factory=Where)
