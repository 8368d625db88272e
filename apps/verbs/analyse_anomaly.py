"""Tell a classifier's own images from others by the prior in its final layer, and see how far its probabilities hold.

Scores from q(a|i) beside the usual ones, as AUROC and FPR95; calibration of q(i|a) beside the softmax. Prints tables,
draws anomaly.png and reliability.png, and adds to anomaly.json, all in the run's folder.
"""

from apps.classifiers.settings import AnomalyScoring as Config


def main(config: Config) -> None:
    """Score, print, draw and write."""
    from apps.classifiers.anomaly.scoring import score_anomaly

    score_anomaly(config)
