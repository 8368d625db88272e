"""Which version of a program this is, also where it is run from a checkout that was never installed."""

import subprocess
import tomllib
from functools import cache
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


@cache
def own_commit(place: Path = _CHECKOUT) -> str | None:
    """The commit of the checkout that runs, with a + where files differ from it; None where it is none, or git is not.

    Args:
        place: the folder that the packages lie in.
    """
    if not (place / ".git").exists():
        return None
    ask = ["git", "-C", str(place), "describe", "--always", "--abbrev=10", "--dirty=+", "--exclude=*"]
    try:
        said = subprocess.run(ask, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return said.stdout.strip() or None
