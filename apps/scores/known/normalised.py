"""Accuracy with the norms of activations and weights taken out: `penult analyse normalised`, in normalised.json."""

from apps.scores.kind import Command, Kind


class Normalised(Kind):
    """Accuracies in per cent, and their drop rate."""

    verbs = ("analyse normalised",)

    def found(self, command: Command) -> dict[str, float] | None:
        """By the images and the model."""
        from apps.classifiers.normalised.results import scored

        return scored(command.config)


KIND = Normalised()
