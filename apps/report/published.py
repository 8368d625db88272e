"""What a paper has published of a run: as a cell of one of its tables, or by what it is."""

from dataclasses import dataclass
from importlib import import_module
from typing import Any

from apps.recipes.table import Table, papers, tables


@dataclass(frozen=True)
class Published:
    """The cell of a table that a run stands beside.

    Attributes:
        paper: its key, as in `penult table PAPER NUMBER`.
        number: of the table.
        recipe: the table.
        row: the cell's.
        column: the cell's.
        own: whether the run is that cell, by its name; else it is like it in model and dimension.
    """

    paper: str
    number: str
    recipe: Table
    row: str
    column: str
    own: bool

    @property
    def source(self) -> str:
        """The paper, by its title, authors and year."""
        return str(import_module(f"apps.recipes.{self.paper}").__doc__).partition("\n")[0]

    @property
    def values(self) -> dict[str, float]:
        """The published numbers by metric."""
        return dict(zip(self.recipe.metrics, self.recipe.published[self.row, self.column], strict=True))

    def ours(self, metric: str, scores: dict[str, Any]) -> tuple[str, Any]:
        """The score that stands beside a published metric, with its own name; None where there is none."""
        name = self.recipe.named(self.row, self.column, metric, scores)
        return name, scores.get(name)


def published(name: str, config: dict[str, Any], dim: int | None) -> Published | None:
    """What has been published of a run, if anything.

    Args:
        name: of the run, which names its cell where it was trained by `penult table`.
        config: the run's.
        dim: m of the space around a generator's latent sphere S^(m-1); None for a classifier.
    """
    # A table may share runs with another paper's, whose name they have: the first is that one.
    for paper in sorted(papers(), key=lambda paper: not name.startswith(f"{paper}-")):
        for number, recipe in tables(paper).items():
            for row, column in recipe.published:
                if name in (recipe.run(row, column, seed) for seed in range(recipe.seeds)):
                    return Published(paper, number, recipe, row, column, own=True)
    # Table 4 of Seo, Lee and Kwak (2021) is of MNIST, its columns d of S^d.
    recipe = tables("penultimate")["4"]
    cell = str(config.get("variant")), str((dim or 0) - 1)
    if config.get("data") == "mnist" and cell in recipe.published:
        return Published("penultimate", "4", recipe, *cell, own=False)
    return None
