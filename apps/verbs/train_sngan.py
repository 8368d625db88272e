"""Train an SNGAN: class-conditional images from Gaussian latents, a uniform sphere, or a classifier's prior.

Section 4.3 of "On The Distribution of Penultimate Activations of Classification Networks". The same command again
resumes it. The defaults are those of --preset gan-evaluation, which the paper follows.
"""

from apps.generators.sngan_settings import SNGANSettings as Config
from apps.models.like import like

__all__ = ["Config", "like", "main"]


def main(config: Config) -> None:
    """Train, or resume, or say that it is done and what to type next."""
    from apps.generators.train_sngan import train_sngan

    train_sngan(config)
