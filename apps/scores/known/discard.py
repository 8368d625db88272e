"""What a network's layers discard of images: `penult analyse discard`, in discard.json."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from apps.scores.kind import Command, Kind


class Discard(Kind):
    """By layer, such as "penultimate SID", in nats a value of the image.

    Those of the networks beside have the name of their folder before the layer, or all of their MODEL where two folders
    are called alike.
    """

    verbs = ("analyse discard",)

    def found(self, command: Command) -> Mapping[str, Any] | None:
        """By all that the command says."""
        from apps.discarding.results import scored

        config = command.config
        scores = scored(config, config.out or command.folder)
        if scores is None:
            return None
        return {
            f"{before}{layer} {name}": value
            for before, layers in zip(_before(config.against), scores.values(), strict=True)
            for layer, numbers in layers.items()
            for name, value in numbers.items()
        }


def _before(against: tuple[str, ...]) -> list[str]:
    """What stands before the layers of a network, and of those beside it."""
    ends = [Path(model).name for model in against]
    return ["", *(f"{end if ends.count(end) == 1 else model} " for end, model in zip(ends, against, strict=True))]


KIND = Discard()
