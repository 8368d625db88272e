"""Train an auto-encoder: a classifier's layers before its final one, and a decoder, by the squared error of images.

The same command again resumes it.
"""

from apps.autoencoders.settings import AutoEncoderTraining as Config
from apps.models.like import like

__all__ = ["Config", "like", "main"]


def main(config: Config) -> None:
    """Train, or resume, or say that it is done and what to type next."""
    from apps.autoencoders.training import train_autoencoder

    train_autoencoder(config)
