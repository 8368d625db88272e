"""The whole path on one data set: a classifier, its prior, HVAE, HVAE-C and HVAE-L, their samples and likelihoods.

On digits it needs no download and takes about a minute on two CPU cores. With --tour it goes through the ideas of five
papers instead, in a few minutes, and ends in one page. The same command again goes on where it was stopped.
"""

from apps.generators.whole_path_settings import WholePath as Config


def main(config: Config) -> None:
    """Train what is not trained yet, then draw, score and print."""
    from apps.tour.program import demonstrate

    demonstrate(config)
