"""The wheel: built, installed, and used where the checkout is not; and where others have packages of the same names."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from importing import imports_from

ROOT = Path(__file__).parents[1]
PACKAGES = ("apps", "priors", "distill", "analysis")


def run(*command: str, cwd: Path, path: Path | str) -> subprocess.CompletedProcess:
    """A command in another folder, with one place to import from before what is installed."""
    environment = os.environ | {"PYTHONDONTWRITEBYTECODE": "1"} | imports_from(path, but=ROOT)
    return subprocess.run([*command], cwd=cwd, env=environment, capture_output=True, text=True, timeout=120)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """Built without a network, from a copy, so that the checkout stays as it is."""
    pytest.importorskip(
        "setuptools", minversion="77", reason="the wheel is built with what is installed: pip install -e '.[test]'"
    )
    pytest.importorskip("pip", reason="the wheel is installed by pip: pip install -e '.[test]'")
    source, built = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("built")
    for package in (*PACKAGES, "tests"):
        shutil.copytree(ROOT / package, source / package, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    made = [*pip, "wheel", "--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir", str(built), str(source)]
    subprocess.run(made, check=True, timeout=300)
    return next(built.glob("penult-*.whl"))


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory) -> Path:
    place = tmp_path_factory.mktemp("installed")
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "install", "--no-deps", "--no-index", "--target", str(place), str(wheel)], check=True)
    return place


def test_it_holds_the_packages_and_nothing_else(wheel):
    names = [name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name]
    files = (path for package in PACKAGES for path in (ROOT / package).rglob("*") if "__pycache__" not in path.parts)
    kept, of_models = (".py", ".pyi", ".typed"), (".json", ".safetensors", ".png", ".md")
    own = {
        path.relative_to(ROOT).as_posix()
        for path in files
        if path.suffix in kept
        or path.name == "RESULTS.md"
        or ("pretrained_models" in path.parts and path.suffix in of_models)
    }
    assert set(names) == own and {f"{package}/py.typed" for package in PACKAGES} <= own
    shipped = [one for one in zipfile.ZipFile(wheel).infolist() if one.filename.startswith("apps/pretrained_models/")]
    assert "apps/pretrained_models/mnist-mlp/model.safetensors" in {one.filename for one in shipped}
    assert sum(one.file_size for one in shipped) < 5e6


def test_the_command_runs_elsewhere(installed, tmp_path):
    penult = str(installed / "bin" / "penult")
    assert "usage: penult VERB" in run(sys.executable, "-m", "apps", "--help", cwd=tmp_path, path=installed).stdout
    version = next(installed.glob("penult-*.dist-info")).name.removeprefix("penult-").removesuffix(".dist-info")
    assert run(penult, "--version", cwd=tmp_path, path=installed).stdout == f"penult {version}\n"
    listed = run(penult, "ls", "classifiers", cwd=tmp_path, path=installed)
    assert listed.returncode == 0 and "wrn-16-2" in listed.stdout, listed.stderr


def test_the_libraries_are_imported_from_it(installed, tmp_path):
    """Also what is found by reading the packages' folders: public names, classifiers and terms."""
    script = """
import analysis, apps, distill, priors
from analysis import PixelCNN
from distill.terms import terms
from priors import ClassifierPrior
from priors.zoo import build
prior = ClassifierPrior.from_classifier(build("mlp", classes=10, image_shape=(1, 8, 8)), concentration=20)
assert prior.sample([3]).shape == (1, prior.dim) and "ckd" in terms()
import torch
digits = apps.from_pretrained("mnist-hvae-l").generate(torch.arange(10))
assert apps.from_pretrained("mnist-mlp")(digits).shape == (10, 10)
print(*{module.__file__.rsplit("/", 2)[0] for module in (analysis, apps, distill, priors)})
"""
    found = run(sys.executable, "-W", "error", "-c", script, cwd=tmp_path, path=installed)
    assert found.stdout == f"{installed}\n", found.stderr


def test_another_package_of_the_same_name_is_named_in_one_line(installed, tmp_path):
    (tmp_path / "distill").mkdir()
    (tmp_path / "distill" / "__init__.py").write_text("raise RuntimeError('another package was run')")
    found = run(str(installed / "bin" / "penult"), "ls", cwd=tmp_path, path=f"{tmp_path}{os.pathsep}{installed}")
    assert found.returncode == 2 and found.stdout == ""
    assert (
        found.stderr.startswith("penult: the package 'distill' that Python finds first")
        and found.stderr.count("\n") == 1
    )
