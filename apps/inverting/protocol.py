"""What an inversion is made of, as options; imports no torch."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Density:
    """What the density is."""

    layers: int = 3
    """Gated layers a block of the PixelCNN++; the paper has 3, PixelCNN++ 5."""
    filters: int = 64
    """Its channels; the paper has 64 for grey images and 196 for colour."""
    dropout: float = 0.5
    """Rate of elements in each layer; the paper has .1 for CONV1 of colour images."""
    context_dropout: float = 0.0
    """Rate of elements of the context's projections; the paper has .2 for FC3 of CIFAR."""


@dataclass(frozen=True)
class Decoder:
    """What the least-squares decoder is."""

    decoder_filters: int = 32
    """Channels of the least-squares decoder at the image's resolution; twice as many at its half, and so on."""
    decoder_epochs: float = 10.0
    """Passes over the training images of the least-squares decoder; 0: none is trained."""
