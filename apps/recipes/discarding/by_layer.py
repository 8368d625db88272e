"""Tables of networks by layers, of which one command measures all layers that there are."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from apps.recipes.discarding.protocol import ERROR, Protocol
from apps.recipes.table import Table

Subject = Callable[[int], tuple[str, tuple[str, ...]]]
"""By seed: a network's run, and the commands that make it, in order."""
_SCORES = {"sid": "SID", "ru": "RU", "concentration": "concentration"}
"""By metric, its score."""


@dataclass(frozen=True)
class Networks:
    """Networks that are measured by one command, on the same images, with the same noise.

    Attributes:
        how: they are trained and measured.
        name: of the study, and of these networks in it.
        subjects: by row.
        layers: by column, the layers that are measured; those whose features are maps first.
        metrics: of sid, ru and concentration, joined by commas.
        maps: how many of the layers have maps; of ru the others are measured by themselves and by sid alone, since the
            paper's decoder goes from maps to images, up to 16 times as large a side (section 4).
        more: flags of the measuring command.
    """

    how: Protocol
    name: str
    subjects: Mapping[str, Subject]
    layers: Mapping[str, str]
    metrics: str = "sid"
    maps: int = 0
    more: str = ""

    def run(self, row: str, column: str, seed: int) -> str:
        """The name of the folder of scores."""
        parts = (self.name, f"seed{seed}")
        if "ru" in self.metrics:
            parts = (self.name, "maps" if column in self._maps else "vectors", f"seed{seed}")
        return self.how.name(*parts)

    def commands(self, row: str, column: str, seed: int) -> tuple[str, ...]:
        """All trainings, then what measures."""
        made = [subject(seed) for subject in self.subjects.values()]
        layers, metrics = list(self.layers.values()), self.metrics
        if "ru" in metrics:
            own = column in self._maps
            layers = layers[: self.maps] if own else layers[self.maps :]
            metrics = metrics if own else "sid"
        name = self.run(row, column, seed)
        measure = self.how.measure([run for run, _ in made], layers, metrics, seed, name, self.more)
        return (*dict.fromkeys(line for _, lines in made for line in lines), measure)

    def score(self, row: str, column: str, metric: str) -> str:
        """What a score is called: by its layer, and by the number of its network from the second on."""
        number = list(self.subjects).index(row) + 1
        return f"{'' if number == 1 else f'{number}: '}{self.layers[column]} {metric}"

    @property
    def _maps(self) -> Sequence[str]:
        return list(self.layers)[: self.maps]


def trained(how: Protocol, arch: str) -> Subject:
    """A network that is trained as all are."""
    return lambda seed: (how.network(arch, seed), (how.training(arch, seed),))


def by_layer(title: str, convention: str, groups: Sequence[Networks], rows: str = "network") -> Table:
    """Rows of networks, columns of layers. Figures 3 to 5 have no printed numbers, so none are published.

    Args:
        title: what it shows.
        convention: what is to be known of it beside the units.
        groups: of networks, each measured by a command of its own.
        rows: what the rows are.
    """
    own = {row: group for group in groups for row in group.subjects}
    columns = tuple(dict.fromkeys(column for group in groups for column in group.layers))
    asked = [metric for metric in _SCORES if any(metric in group.metrics.split(",") for group in groups)]
    scores = tuple(_SCORES[metric] for metric in asked)
    how = groups[0].how.measuring
    return Table(
        title=title,
        convention=(
            f"nats a value of the image, the mean over {how.images} test images, and its standard error; alpha "
            f"{how.alpha:g} of the mean of delta_f^2, in squared {how.unit}s. {convention}"
        ),
        rows=tuple(own),
        columns=columns,
        seeds=1,
        axes=(rows, "layer"),
        metrics=scores,
        published={},
        commands=lambda row, column, seed: own[row].commands(row, column, seed),
        run=lambda row, column, seed: own[row].run(row, column, seed),
        score=lambda row, column, metric: own[row].score(row, column, metric),
        extra=tuple(f"{score}{ERROR}" for score in scores),
        places=".4f",
        gaps=frozenset((row, column) for row in own for column in columns if column not in own[row].layers),
        against={row: first for group in groups for first, *rest in [tuple(group.subjects)] for row in rest},
    )
