"""The command `penult`, also as `python -m apps`."""

import os
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

_PACKAGES = ("apps", "priors", "distill", "analysis")
_MARK = "penult"
"""A word that stands in the `__init__.py` of each of ours."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit status, as `apps.command.cli.main` does.

    The names of penult's packages are common words. Where Python finds another package under one of them, that is said
    in one line, and the status is 2.
    """
    for name in _PACKAGES:
        if stranger := _stranger(name):
            if os.environ.get("RANK", "0") == "0":
                print(f"penult: {stranger}", file=sys.stderr)
            return 2
    from apps.command.cli import main as run  # not before: it imports the other packages
    from apps.command.memory import keep_freed_memory

    keep_freed_memory()
    return run(arguments)


def _stranger(name: str) -> str | None:
    """What is wrong with the package that Python finds under this name, in a line; None where it is ours."""
    own, spec = Path(__file__).resolve().parents[1] / name, find_spec(name)
    if spec is None:
        return f"its package {name!r} is missing: install penult again"
    found = Path(spec.origin).parent if spec.origin else Path(next(iter(spec.submodule_search_locations)))
    if found.resolve() == own and spec.origin and _MARK in Path(spec.origin).read_text(encoding="utf-8"):
        return None
    owner = _owner(found, name)
    if owner:
        return (
            f"the package {name!r} in {found.parent} is not penult's but that of {owner}, which has the same name: "
            "install penult into an environment of its own"
        )
    return (
        f"the package {name!r} that Python finds first, {found}, is not penult's: rename it, start from another folder "
        "or take its folder off PYTHONPATH"
    )


def _owner(folder: Path, name: str) -> str | None:
    """The installed distribution, other than penult, that a package's folder belongs to."""
    from importlib.metadata import distributions  # slow to import, and only asked where something is wrong

    for distribution in distributions(path=[str(folder.parent)]):
        listed = (distribution.read_text("RECORD") or "").splitlines()
        if distribution.name != "penult" and any(line.startswith(f"{name}/") for line in listed):
            return f"{distribution.name} {distribution.version}"
    return None


if __name__ == "__main__":
    sys.exit(main())
