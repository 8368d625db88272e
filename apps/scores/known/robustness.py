"""How far images are from a classifier's wrong classes: `penult analyse robustness`, in robustness.json."""

from collections.abc import Mapping
from typing import Any

from apps.scores.kind import Command, Kind


class Robustness(Kind):
    """Mean norms of the smallest changes, such as "L2", and their standard errors over images."""

    verbs = ("analyse robustness",)

    def found(self, command: Command) -> Mapping[str, Any] | None:
        """By all that the command says."""
        from apps.classifiers.robustness.results import scored

        scores = scored(command.config, command.config.out or command.folder)
        return scores and {name: value for name, value in scores.items() if not isinstance(value, Mapping)}


KIND = Robustness()
