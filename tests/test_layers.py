"""Which package may import what, read from the sources: the libraries stay libraries."""

import ast
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("priors", "distill", "analysis", "apps")
ALLOWED = {
    "priors": {"priors"},
    "distill": {"distill", "analysis", "priors"},
    "analysis": {"analysis", "priors"},
    "apps": {"apps", "priors", "distill", "analysis"},
}
ONLY_IN_APPS = {"accelerate", "tyro", "argparse", "tqdm", "rich", "matplotlib", "torch_fidelity", "sklearn", "PIL"}
NOT_IN_PRIORS = {"scipy", "mpmath", "pandas", "sklearn", "PIL"}
NOWHERE = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
FILES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))


def label(path: Path) -> str:
    return str(path.relative_to(ROOT))


def package(path: Path) -> str:
    return path.relative_to(ROOT).parts[0]


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def imported(path: Path) -> set[str]:
    """Top-level names of everything a file imports, also inside functions."""
    found = set()
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{label(path)}:{node.lineno}: a relative import"
            found.add(node.module)
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name | ast.Attribute):
            name = node.func.id if isinstance(node.func, ast.Name) else node.func.attr
            literal = node.args and isinstance(node.args[0], ast.Constant) and isinstance(node.args[0].value, str)
            if name in ("import_module", "__import__") and literal:
                found.add(node.args[0].value)
    return {name.partition(".")[0] for name in found}


def called(path: Path) -> set[str]:
    """Dotted names of everything a file calls, as they are written."""
    return {ast.unparse(node.func) for node in ast.walk(tree(path)) if isinstance(node, ast.Call)}


def test_there_are_files_to_read():
    assert {package(path) for path in FILES} == set(PACKAGES)
    assert len(FILES) > 40


@pytest.mark.parametrize("path", FILES, ids=label)
def test_packages_import_in_one_direction(path):
    other = imported(path) & set(PACKAGES)
    assert other <= ALLOWED[package(path)]


@pytest.mark.parametrize("path", [path for path in FILES if package(path) != "apps"], ids=label)
def test_only_apps_is_a_program(path):
    assert not imported(path) & ONLY_IN_APPS
    assert "print" not in called(path)
    assert not called(path) & {"input", "sys.exit", "exit", "quit"}


@pytest.mark.parametrize("path", [path for path in FILES if package(path) == "priors"], ids=label)
def test_priors_computes_with_torch_alone(path):
    assert not imported(path) & NOT_IN_PRIORS


@pytest.mark.parametrize("path", FILES, ids=label)
def test_nothing_is_unpickled_or_evaluated(path):
    assert not imported(path) & NOWHERE
    assert not called(path) & {"torch.load", "load_state_dict_from_file", "eval", "exec", "compile", "np.load"}
    for node in ast.walk(tree(path)):
        for keyword in node.keywords if isinstance(node, ast.Call) else ():
            if keyword.arg in ("allow_pickle", "weights_only"):
                safe = keyword.arg == "weights_only"
                assert isinstance(keyword.value, ast.Constant) and keyword.value.value is safe, label(path)


def test_a_file_is_one_concept():
    for path in FILES:
        lines = len(path.read_text(encoding="utf-8").splitlines())
        assert lines <= 400, f"{label(path)} has {lines} lines"
        assert path.stem.strip("_") not in ("utils", "util", "misc", "common", "helpers", "helper"), label(path)


def test_every_module_says_what_it_is():
    assert not [label(path) for path in FILES if not ast.get_docstring(tree(path))]
