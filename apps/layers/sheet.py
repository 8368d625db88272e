"""All that one command finds, for tables, pictures and files."""

from collections.abc import Mapping
from dataclasses import dataclass

from apps.layers.agreeing import Pair
from apps.layers.lens import Layer, Lens
from apps.layers.looking import View


@dataclass(frozen=True)
class Sheet:
    """One network's layers through all lenses.

    Attributes:
        name: of the network, as on the command line.
        layers: in order.
        views: by lens.
    """

    name: str
    layers: tuple[Layer, ...]
    views: Mapping[str, View]

    def notes(self) -> list[str]:
        """What else is to be said of values, a line a lens."""
        found = []
        for lens, view in self.views.items():
            said = [f"{layer}: {one.note}" for layer, one in view.readings.items() if one.note]
            found += [f"{lens} ({', '.join(said)})"] if said else []
        return found

    def reasons(self) -> list[str]:
        """Why layers have no value, each reason once a lens."""
        found = []
        for lens, view in self.views.items():
            by_reason: dict[str, list[str]] = {}
            for layer, reason in view.gaps.items():
                by_reason.setdefault(reason, []).append(layer)
            for reason, layers in by_reason.items():
                at = "" if len(layers) == len(self.layers) else f" at {', '.join(layers)}"
                found.append(f"{lens}{at}: {reason}")
        return found


@dataclass(frozen=True)
class Found:
    """All networks of a command.

    Attributes:
        lenses: by name.
        sheets: the network that was asked for first.
        pairs: of lenses, over all networks.
        images: name of the set.
        count: of images.
    """

    lenses: Mapping[str, Lens]
    sheets: tuple[Sheet, ...]
    pairs: tuple[Pair, ...]
    images: str
    count: int
