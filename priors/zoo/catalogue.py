"""What the zoo holds, read from its source without importing torch: a listing answers at once.

A family file declares its classifiers as literals in one decorator, for people, for this reader and for the registry
alike:

    @classifier(
        presets=(
            # name      options                       penultimate  parameters
            ("wrn-16-1", {"depth": 16, "width": 1}, 64, 180_916),
        ),
        stages=("body.group1", ...),
        paper="Zagoruyko and Komodakis, Wide Residual Networks, 2016",
    )
    def wide_resnet(wanted: Wanted, *, depth: int, width: int, dropout: float = 0.0) -> Parts:
        \"\"\"What a listing says of it.\"\"\"

`parameters` is the count with 100 classes of 3 x 32 x 32 images, which is the published one where there is one; None
where a name stands for several networks.
"""

import ast
import sys
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Entry:
    """One classifier that can be built by name.

    Attributes:
        name: what `build` takes; `torchvision:NAME` stands for any name that torchvision knows.
        family: the function that builds it.
        options: names of the options that `build` accepts for it beyond the common ones.
        stages: names of the modules whose outputs are its stages, first to last; empty where they depend on the
            variant.
        penultimate: width of the penultimate activations where none is asked for; None where it depends on the variant.
        parameters: count of trainable parameters with 100 classes of 3 x 32 x 32 images; None of several variants.
        paper: where it comes from.
        summary: the first line of the function's docstring.
    """

    name: str
    family: str
    options: tuple[str, ...]
    stages: tuple[str, ...]
    penultimate: int | None
    parameters: int | None
    paper: str
    summary: str


def catalogue() -> tuple[Entry, ...]:
    """All classifiers declared in the family files, in the order of their files and of their declaration.

    Example:
        >>> [entry.penultimate for entry in catalogue() if entry.name == "wrn-40-2"]
        [128]
    """
    entries: list[Entry] = []
    for path in sorted(source for folder in sys.modules["priors.zoo"].__path__ for source in Path(folder).glob("*.py")):
        for node in ast.parse(path.read_text(encoding="utf-8"), str(path)).body:
            if isinstance(node, ast.FunctionDef):
                entries += [entry for call in node.decorator_list for entry in _declared(node, call)]
    return tuple(entries)


def entries_of(
    family: str,
    options: tuple[str, ...],
    summary: str,
    *,
    presets: tuple[tuple[str, dict[str, object], int | None, int | None], ...],
    stages: tuple[str, ...] = (),
    paper: str = "",
) -> tuple[Entry, ...]:
    """The entries that one declaration gives; the registry and the source's reader both use it."""
    return tuple(
        Entry(
            name, family, tuple(o for o in options if o not in preset), stages, penultimate, parameters, paper, summary
        )
        for name, preset, penultimate, parameters in presets
    )


def _declared(node: ast.FunctionDef, decorator: ast.expr) -> tuple[Entry, ...]:
    if not (
        isinstance(decorator, ast.Call) and isinstance(decorator.func, ast.Name) and decorator.func.id == "classifier"
    ):
        return ()
    declaration = {keyword.arg: ast.literal_eval(keyword.value) for keyword in decorator.keywords}
    options = tuple(argument.arg for argument in node.args.kwonlyargs)
    summary = (ast.get_docstring(node) or "").partition("\n")[0]
    return entries_of(node.name, options, summary, **declaration)
