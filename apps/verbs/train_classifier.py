"""Train a classifier from the zoo with cross-entropy; the same command again resumes it."""

from apps.classifiers.settings import ClassifierTraining as Config
from apps.models.like import like

__all__ = ["Config", "like", "main"]


def main(config: Config) -> None:
    """Train, or resume, or say that it is done and what to type next."""
    from apps.classifiers.training import train_classifier

    train_classifier(config)
