"""Figures 1 and 2: exponents of CIFAR-100's images and of a WideResNet's maps."""

from apps.recipes.spectral.protocol import PUBLISHED, SHORT, Protocol
from apps.recipes.table import Table

_MAPS = {
    #         in spectrum.json  exponent
    "images": ("images", -2.203),
    "map-1": ("group1", -0.687),
    "map-2": ("group2", -1.572),
    "map-3": ("group3", -3.261),
}


def _figures(how: Protocol, arch: str, title: str, published: bool) -> Table:
    def run(row: str, column: str, seed: int) -> str:
        return how.teacher_run(column, seed)

    def commands(row: str, column: str, seed: int) -> tuple[str, ...]:
        return (
            how.teaching(column, seed),
            f"analyse spectrum {{runs}}/{run(row, column, seed)} --taps group1 group2 group3 --untrained "
            f"--convention paper --seed {seed}",
        )

    return Table(
        title=title if published else f"{title}; nothing of it is published",
        convention=(
            "exponents of the ring sum's power, by regression over all rings, weighted by their frequencies; whittle: "
            "of the power itself, about 1 lower, by maximum likelihood. The paper fits the high frequencies, and says "
            "neither which WideResNet nor which rings. Pictures are in the runs' folders: spectrum.png"
        ),
        rows=tuple(_MAPS),
        columns=(arch,),
        seeds=1,
        axes=("maps", "network"),
        metrics=("regression",),
        published={(row, arch): (value,) for row, (_, value) in _MAPS.items() if published},
        commands=commands,
        run=run,
        places=".3f",
        score=lambda row, column, metric: f"{_MAPS[row][0]} {metric}",
        extra=("whittle",),
    )


TABLES = {
    "figures": _figures(PUBLISHED, "wrn-28-4", "Figures 1 and 2: exponents on CIFAR-100", True),
    "figures-short": _figures(SHORT, "wrn-16-2", "Figures 1 and 2 at a size for a CPU", False),
}
