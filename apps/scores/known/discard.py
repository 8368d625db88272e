"""What a network's layers discard of images: `penult analyse discard`, in discard.json."""

from collections.abc import Mapping
from typing import Any

from apps.scores.kind import Command, Kind


class Discard(Kind):
    """By layer, such as "penultimate SID", in nats a value of the image.

    Those of networks beside have their number on the command line before the layer: "2: penultimate SID" is of the
    first of --against.
    """

    verbs = ("analyse discard",)

    def found(self, command: Command) -> Mapping[str, Any] | None:
        """By all that the command says."""
        from apps.discarding.results import scored

        scores = scored(command.config, command.config.out or command.folder)
        if scores is None:
            return None
        return {
            f"{'' if number == 1 else f'{number}: '}{layer} {name}": value
            for number, layers in enumerate(scores.values(), start=1)
            for layer, numbers in layers.items()
            for name, value in numbers.items()
        }


KIND = Discard()
