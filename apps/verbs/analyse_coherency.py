"""Check that what layers discard does not hang on the scale of their weights, as gradients and their like do.

A layer's weights and biases are divided by 4, and the next layer's weights multiplied by it, so that the network stays
the same (of a batch norm in between, weights and biases are divided in the layer's place). Strict information
discarding must stay, and so must reconstruction uncertainty with the scale folded into its decoder (--metrics sid,ru):
the command fails where one changes. Maps by gradients, CAM and Grad-CAM are compared likewise. Halving half of a
layer's filters must change SID. Prints one table, draws coherency.png, maps before and after, and coherency-layers.png,
and adds to coherency.json. The same command again goes on where it was stopped.
"""

from apps.discarding.coherency.settings import CoherencySettings as Config
from apps.models.like import like

__all__ = ["Config", "like", "main"]


def main(config: Config) -> None:
    """Train what is not trained, compare, print, draw and keep."""
    from apps.discarding.coherency.program import analyse_coherency

    analyse_coherency(config)
