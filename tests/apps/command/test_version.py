"""The version, of what is installed, of a checkout, and of neither."""

import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

from apps.command.version import NOT_INSTALLED, own_version, version_of

ROOT = Path(__file__).parents[3]
PROJECT = '[project]\nname = "penult"\nversion = "7.1"\n'


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (PROJECT, "7.1"),
        (PROJECT.replace("penult", "other"), "installed"),
        ("[project]\nname = ", "installed"),
        ("[tool.ruff]\n", "installed"),
        ("project = 3\n", "installed"),
        (None, "installed"),
    ],
)
def test_a_checkout_says_more_than_what_is_installed(tmp_path, monkeypatch, text, expected):
    monkeypatch.setattr("apps.command.version.version", lambda name: "installed")
    if text is not None:
        (tmp_path / "pyproject.toml").write_text(text)
    assert own_version(tmp_path) == expected


def test_what_is_nowhere_is_unknown_in_words(tmp_path, monkeypatch):
    def missing(name):
        raise metadata.PackageNotFoundError(name)

    assert version_of("torch") == metadata.version("torch") and version_of("no-such-thing") == NOT_INSTALLED
    monkeypatch.setattr("apps.command.version.version", missing)
    assert own_version(tmp_path) == NOT_INSTALLED


def test_a_checkout_that_is_not_installed_says_its_own(tmp_path):
    """By the program: no distribution is found, whatever this environment holds."""
    code = (
        "import importlib.metadata as m, sys\n"
        "def missing(name): raise m.PackageNotFoundError(name)\n"
        f"m.version = missing; sys.path.insert(0, {str(ROOT)!r})\n"
        "from apps.command.cli import main\nsys.exit(main(['--version']))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr, done.stdout) == (0, "", f"penult {own_version()}\n")


def test_other_metadata_is_asked_for_in_one_place():
    asking = [path for path in (ROOT / "apps").rglob("*.py") if "importlib.metadata import" in path.read_text()]
    assert {path.name for path in asking} == {"version.py", "__main__.py"}  # the latter asks whose a package is
