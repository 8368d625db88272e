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
        whole = {name: value for name, value in scores.items() if not isinstance(value, Mapping)}
        layers = scores.get("layers") or {}
        return whole | {f"{layer} {name}": value for layer, own in layers.items() for name, value in own.items()}


KIND = Coherency()
