"""How the command starts where Python finds another package under the name of one of its own."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
OTHER = "raise RuntimeError('another package was run')"


def start(place: Path, *paths: Path, rank: int = 0) -> subprocess.CompletedProcess:
    """`python -m apps --help` in a folder, without what is installed."""
    environment = {"PYTHONPATH": os.pathsep.join(map(str, paths)), "RANK": str(rank)}
    command = [sys.executable, "-S", "-m", "apps", "--help"]
    return subprocess.run(command, cwd=place, env=environment, capture_output=True, text=True, timeout=60)


def beginnings(place: Path) -> None:
    """As much of the packages as the command looks at before it goes on."""
    for name in ("apps", "priors", "distill", "analysis"):
        (place / name).mkdir()
        shutil.copy(ROOT / name / "__init__.py", place / name)
    shutil.copy(ROOT / "apps" / "__main__.py", place / "apps")


def refused(found: subprocess.CompletedProcess) -> str:
    assert found.returncode == 2 and found.stdout == "" and len(found.stderr.splitlines()) == 1, found.stderr
    return found.stderr


def test_nothing_is_said_where_all_is_as_it_should_be(tmp_path):
    found = start(tmp_path, ROOT)
    assert found.returncode == 0 and found.stdout.startswith("usage: penult") and found.stderr == ""


@pytest.mark.parametrize("name", ["priors", "distill", "analysis"])
def test_a_package_that_comes_first(tmp_path, name):
    (tmp_path / name).mkdir()
    (tmp_path / name / "__init__.py").write_text(OTHER)
    line = refused(start(tmp_path, ROOT))
    assert line.startswith(
        f"penult: the package {name!r} that Python finds first, {tmp_path / name}, is not penult's: "
    )
    silent = start(tmp_path, ROOT, rank=1)
    assert (silent.returncode, silent.stderr) == (2, "")


def test_a_folder_that_is_no_package_yet(tmp_path):
    beginnings(tmp_path)
    (tmp_path / "analysis" / "__init__.py").unlink()
    assert f"that Python finds first, {tmp_path / 'analysis'}, is not penult's: rename it" in refused(start(tmp_path))


@pytest.mark.parametrize("over", [False, True], ids=["beside penult's own", "over penult's own"])
def test_another_distribution_is_named(tmp_path, over):
    place, metadata = tmp_path / "site-packages", tmp_path / "site-packages" / "kitchen-3.1.dist-info"
    metadata.mkdir(parents=True)
    if over:
        beginnings(place)
    (place / "analysis").mkdir(exist_ok=True)
    (place / "analysis" / "__init__.py").write_text(OTHER)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: kitchen\nVersion: 3.1\n")
    (metadata / "RECORD").write_text("analysis/__init__.py,,\nkitchen-3.1.dist-info/METADATA,,\n")
    assert refused(start(tmp_path, place, ROOT)) == (
        f"penult: the package 'analysis' in {place} is not penult's but that of kitchen 3.1, which has the same name: "
        "install penult into an environment of its own\n"
    )


def test_a_package_that_is_missing(tmp_path):
    beginnings(tmp_path)
    shutil.rmtree(tmp_path / "distill")
    assert refused(start(tmp_path)) == "penult: its package 'distill' is missing: install penult again\n"
