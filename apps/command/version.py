"""Which version of a program this is, also where it is run from a checkout that was never installed."""

import tomllib
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

NOT_INSTALLED = "unknown (not installed)"
_CHECKOUT = Path(__file__).resolve().parents[2]


def own_version(place: Path = _CHECKOUT) -> str:
    """The version of penult: the checkout's that runs, or else the installed one's.

    Args:
        place: the folder that the packages lie in. In a checkout pyproject.toml lies beside them, and says more than
            what is installed, which may be another copy.
    """
    try:
        project = tomllib.loads((place / "pyproject.toml").read_text(encoding="utf-8"))["project"]
        if project["name"] == "penult":
            return str(project["version"])
    except (OSError, ValueError, KeyError, TypeError):
        pass
    return version_of("penult")


def version_of(distribution: str) -> str:
    """The version of an installed distribution; in words where it is importable and none is installed."""
    try:
        return version(distribution)
    except PackageNotFoundError:
        return NOT_INSTALLED
