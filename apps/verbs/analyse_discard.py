"""Measure what each layer of a classifier discards of an image: strict information discarding, and beside it more.

SID is the entropy of the noise that an image takes before a layer's features move too far (sid). Reconstruction
uncertainty is the entropy of what a decoder makes of such features; a decoder a layer is trained first (ru).
Concentration is how much more of the background than of the object is discarded (concentration). Prints a table for
each network, draws discard.png, curves by layer, and maps of all layers on one scale, and adds to discard.json. The
same command again goes on where it was stopped.
"""

from apps.discarding.settings import DiscardSettings as Config
from apps.models.like import like

__all__ = ["Config", "like", "main"]


def main(config: Config) -> None:
    """Train what is not trained, measure, print, draw and keep."""
    from apps.discarding.program import analyse_discard

    analyse_discard(config)
