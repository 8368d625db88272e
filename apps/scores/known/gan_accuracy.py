"""GAN-test and GAN-train accuracy of a conditional generator: `penult evaluate --classify-by`."""

from apps.command.console import counted
from apps.fidelity.settings import GanScoring
from apps.scores.kind import Entry, Evaluation, count


class GanAccuracy(Evaluation):
    """How a classifier does on generated images, or trained on them."""

    flags = GanScoring

    def asked(self, config: GanScoring) -> str:
        """By --classify-by."""
        return "" if config.classify_by is None else "--classify-by"

    def evaluate(self, config: GanScoring) -> None:
        """Draw, train, classify, print and keep."""
        from apps.fidelity.gan_evaluation import evaluate

        evaluate(config)

    def made(self, entry: Entry) -> bool:
        """By its classifier."""
        return "classifier" in entry

    def follows(self, entry: Entry, config: GanScoring) -> bool:
        """By classifier, test images and seed; GAN-train and GAN-test are two entries."""
        made = tuple(entry.get(name) for name in ("classifier", "data", "first", "seed"))
        same = made == (config.classify_by, config.data, config.images, config.seed)
        return same and ("trained_in" in entry) == config.gan_train

    def said(self, entry: Entry, data: str) -> str:
        """How many images, and by which classifier."""
        return (
            f"{counted(count(entry.get('drawn')), 'generated image')}, "
            f"{counted(count(entry.get('reals')), 'test image')} of "
            f"{entry.get('data')}, classifier {entry['classifier']}, seed {entry.get('seed')}"
        )


KIND = GanAccuracy()
