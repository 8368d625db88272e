"""Score a run on test images: accuracy of a classifier, likelihoods of a generator.

With --protocol, score generated images instead, a run's or given ones, by IS, FID, KID, precision and recall: through
torch-fidelity's Inception network, or a classifier with --extractor, after which the scores are then named. fid-5k is
the mean of ten FIDs of 5,000 images against 5,000, fid-5k-partial that of as many as there are images for, fid-50k is
50,000 against all reals, fid-all all against all.

With --classify-by, score how a classifier does on images of a conditional generator (GAN-test accuracy), and with
--gan-train how one does on real test images that was trained on generated ones alone (GAN-train accuracy): that one is
kept in the run's gan-train/, and the same command goes on with it.

Prints a table and adds to the run's evaluation.json.
"""

from apps.command.scoring import Scoring
from apps.scores.evaluating import configuration, evaluate

__all__ = ["configuration", "main"]


def main(config: Scoring) -> None:
    """Score, print and write."""
    evaluate(config)
