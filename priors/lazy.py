"""Public names of a package that are imported when first used, so that the command line can answer without torch.

A package lists them in the `__init__.pyi` beside its `__init__.py`, where type checkers look for them as well, a line
for each:

    from priors.reading.taps import tap as tap
"""

import ast
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path


def public_names(package: str) -> tuple[Callable[[str], object], Callable[[], list[str]], list[str]]:
    """What a package's `__init__.py` takes for its `__getattr__`, `__dir__` and `__all__`.

    Args:
        package: its dotted name, that is `__name__` there.

    Example:
        >>> give, _, names = public_names("priors")
        >>> "tap" in names, give("tap").__module__
        (True, 'priors.reading.taps')
    """
    module = sys.modules[package]
    homes = _homes(Path(module.__file__).with_suffix(".pyi"))

    def give(name: str) -> object:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(import_module(homes[name]), name)

    def listed() -> list[str]:
        return sorted({*vars(module), *homes})

    return give, listed, sorted(homes)


def _homes(path: Path) -> dict[str, str]:
    """By public name, the module that it is defined in."""
    imports = (node for node in ast.parse(path.read_text(encoding="utf-8")).body if isinstance(node, ast.ImportFrom))
    return {alias.name: node.module for node in imports for alias in node.names}
