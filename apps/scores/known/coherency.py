"""Whether measures of layers change where a scale moves between them: `penult analyse coherency`, in coherency.json."""

from collections.abc import Mapping
from typing import Any

from apps.scores.kind import Command, Kind


class Coherency(Kind):
    """By features, such as "relu2 SID change"; and the largest over them, such as "SID change"."""

    verbs = ("analyse coherency",)

    def found(self, command: Command) -> Mapping[str, Any] | None:
        """By all that the command says."""
        from apps.discarding.coherency.results import scored

        config = command.config
        scores = scored(config, config.out or command.folder)
        if scores is None:
            return None
        layers = scores["layers"].items()
        of_layers = {f"{layer} {name}": value for layer, numbers in layers for name, value in numbers.items()}
        return {name: value for name, value in scores.items() if name != "layers"} | of_layers


KIND = Coherency()
