"""Measure how far images have to be changed for a classifier to call them something else.

Of each image the smallest change, by its L2 norm, towards each of its most probable wrong classes, with pixel values
kept in [0, 1]. Norms and classes are measured on the changed images, whatever search made them. Prints the mean by rank
of the wrong class, draws robustness.png and adds to robustness.json, in the run's folder. The same command again goes
on where it was stopped.
"""

from apps.classifiers.robustness.settings import RobustnessMeasuring as Config


def main(config: Config) -> None:
    """Change images, print, draw and keep."""
    from apps.classifiers.robustness.program import analyse_robustness

    analyse_robustness(config)
