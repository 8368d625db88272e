"""What a network's layers discard of images: `penult analyse discard`, in discard.json."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from apps.scores.kind import Command, Kind

if TYPE_CHECKING:
    from apps.runs.by_image import ByImage


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

    def by_image(self, command: Command, scores: Mapping[str, Any]) -> "ByImage | None":
        """Mean entropies of each image."""
        from apps.discarding.results import entropies_by_image
        from apps.runs.by_image import ByImage

        kept = entropies_by_image(command.config, command.config.out or command.folder)
        if kept is None:
            return None
        by_layer, digest = kept
        found = {f"{'' if number == 1 else f'{number}: '}{name}": own for (number, name), own in by_layer.items()}
        same = {name: own for name, own in found.items() if _agrees(own, scores.get(name))}
        return ByImage(same, digest) if same else None


def _agrees(values: Any, score: Any) -> bool:
    """Whether the mean over images is the score: the maps are those of the last time, the score may be of another."""
    known = values[values.isfinite()]
    return isinstance(score, int | float) and bool(len(known)) and abs(float(known.mean()) - score) < 1e-4


KIND = Discard()
