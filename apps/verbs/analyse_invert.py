"""See what a classifier's layers keep of an image: densities p(x|h) of images given each layer, by PixelCNN++.

For each layer of --taps it trains a density (a run of its own, that the same command resumes) and a least-squares
decoder, scores the test images by both, prints the negative cross-entropies with their errors and differences, and
draws samples and reconstructions by layer: samples differ in what the layer has discarded. penult sample RUN-LAYER
--image FILE shows that of a picture of yours.
"""

from apps.inverting.settings import InvertSettings as Config
from apps.models.like import like

__all__ = ["Config", "like", "main"]


def main(config: Config) -> None:
    """Train what is not trained, score, print and draw."""
    from apps.inverting.invert import invert

    invert(config)
