"""Score a run on test images: accuracy of a classifier, likelihoods of a generator.

With --protocol, score generated images instead, a run's or given ones, by IS, FID, KID, precision and recall: through
torch-fidelity's Inception network, or through the classifier that --extractor names: its name then stands in those of
the scores. fid-5k is the mean of ten FIDs of 5,000 images against 5,000 real ones, fid-5k-partial the mean of as many
of these as there are images for, fid-50k the FID of 50,000 images against all real ones, and fid-all that of all
against all.

With --classify-by, score how well a classifier does on images of a conditional generator (GAN-test accuracy). With
--gan-train as well, train another one on generated images alone, and score how well it does on real test images
(GAN-train accuracy). It is kept in the run's gan-train/, and the same command goes on with it.

Prints a table and adds to the run's evaluation.json.
"""

from apps.command.scoring import Scoring
from apps.scores.evaluating import configuration, evaluate

__all__ = ["configuration", "main"]


def main(config: Scoring) -> None:
    """Score, print and write."""
    evaluate(config)
