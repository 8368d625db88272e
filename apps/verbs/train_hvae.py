"""Train an HVAE, HVAE-C, HVAE-L or HVAE-M on binarised images; the same command again resumes it.

The defaults are those of the S-VAE's authors where the paper is silent (KL warm-up, early stopping by the bound on
held-out images) and a cosine decay of the learning rate.
"""

from apps.generators.hvae_settings import HVAESettings as Config
from apps.models.like import like

__all__ = ["Config", "like", "main"]


def main(config: Config) -> None:
    """Train, or resume, or say that it is done and what to type next."""
    from apps.generators.train_hvae import train_hvae

    train_hvae(config)
