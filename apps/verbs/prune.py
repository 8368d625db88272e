"""Take the smallest weights out of a classifier, and train the others on; the same command again resumes it.

Weights of convolutions and of linear layers are set to 0 by their size, and stay 0. What is trained is as it was in the
run: images, augmentation, targets and regularisers. The new run is a MODEL like any other. Prints what is left of each
layer.
"""

from apps.classifiers.pruning.settings import Pruning as Config
from apps.models.like import like

__all__ = ["Config", "like", "main"]


def main(config: Config) -> None:
    """Prune and train, or resume, or say that it is done; print what is left."""
    from apps.classifiers.pruning.program import prune

    prune(config)
