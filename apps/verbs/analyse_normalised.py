"""Score a classifier with the norms of its activations and weights taken out, and with its bias kept and dropped.

Directions are enough where little is lost; which directions, is a matter of the gauge. Prints a table, with
--every-gauge a second one, and adds to the run's normalised.json.
"""

from apps.classifiers.settings import NormalisedScoring as Config


def main(config: Config) -> None:
    """Classify, print and write."""
    from apps.classifiers.normalised.scoring import score_normalised

    score_normalised(config)
