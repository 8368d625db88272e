"""Follow a classifier's gauge while it is trained: cosines and densities in each gauge, and the sum of its weights.

Looks at each snapshot of a run (penult train classifier --snapshots 0 100 1000) and at its final network. Prints
tables, draws a picture and adds to the run's gauges.json. Several runs, as with weight decay and without, share one
picture.
"""

from apps.classifiers.settings import GaugeFollowing as Config


def main(config: Config) -> None:
    """Measure, print, keep and draw."""
    from apps.classifiers.gauges.training import follow_gauges

    follow_gauges(config)
