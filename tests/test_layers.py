"""Which package may import what, read from the sources: the libraries stay libraries."""

import ast
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import house
from house import tree

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


def imported(path: Path) -> set[str]:
    """Top-level names of everything a file imports, also inside functions."""
    return {name.partition(".")[0] for name in house.named(path)}


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


FLOORS = (
    ("seeds", "figures", "command", "data", "recipes", "pretrained_models"),
    ("runs",),
    ("training",),
    ("models",),
    ("classifiers",),
    ("fidelity",),
    ("distilling", "generators", "autoencoders", "inverting", "spectra", "jacobians", "discarding"),
    ("scores", "layers", "report", "sharing"),
    ("pretrained", "from_python", "completion", "tables", "tour"),
    ("verbs",),
)
"""The rooms of apps from below: each may import what is on the floors below it, and none on its own.

Every method trains, tests or reads a classifier, so what trains one stands below the others; GAN-train trains one too,
and a generator's training watches its FID, so fidelity stands between. What is on the lowest floor is in order as well:
see `LOWEST`.
"""
LOWEST = {
    "data": {"seeds", "command"},
    "command": set(),
    "figures": {"command"},
    "recipes": {"command"},
    "seeds": set(),
    "pretrained_models": set(),
}
"""By room of the lowest floor, what it may import of that floor."""
PEERS = {"report": {"scores"}, "sharing": {"scores"}, "discarding": {"jacobians"}, "tour": {"tables"}}
"""By room, what it may import of its own floor."""
FILES_OF_APPS = [path for path in FILES if package(path) == "apps"]


def rooms_below(room: str) -> set[str]:
    """The rooms that a room of apps may import."""
    height = next(height for height, rooms in enumerate(FLOORS) if room in rooms)
    below = {other for rooms in FLOORS[:height] for other in rooms}
    return below | {room} | LOWEST.get(room, set()) | PEERS.get(room, set())


def strings(path: Path) -> set[str]:
    """All texts in a file but docstrings, which may point at anything."""
    found = {
        node.value for node in ast.walk(tree(path)) if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    return found - {
        node.value.value
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }


def test_every_room_of_apps_has_its_floor():
    rooms = {path.relative_to(ROOT).parts[1].removesuffix(".py") for path in FILES_OF_APPS}
    assert rooms - {"__init__", "__main__"} == {room for rooms in FLOORS for room in rooms}


@pytest.mark.parametrize("path", FILES_OF_APPS, ids=label)
def test_rooms_of_apps_import_what_is_below(path):
    own = path.relative_to(ROOT).parts[1].removesuffix(".py")
    if own in ("__init__", "__main__"):
        return
    given = {name.split(".")[1] for name in house.named(path) if name.startswith("apps.")}
    assert given & {room for rooms in FLOORS for room in rooms} <= rooms_below(own)


@pytest.mark.parametrize("path", FILES_OF_APPS, ids=label)
def test_verbs_are_imported_by_the_command_line_alone(path):
    """A method that names a verb, be it in a string, and a verb that imports another, would be two places for one."""
    parts = path.relative_to(ROOT).parts
    if parts[1:] == ("command", "cli.py"):
        return
    assert not {name for name in house.named(path) if name.startswith("apps.verbs")}
    assert not {text for text in strings(path) if "apps.verbs" in text}


def test_nothing_imports_in_a_circle():
    files = house.arrows(ROOT)
    assert house.circles(files) == []
    assert house.circles(house.between_rooms(files)) == []


def test_circles_and_floors_are_found():
    """By hand: b, c and d import one another; e stands on all of them."""
    arrows = {"a": (), "b": ("a", "c"), "c": ("d",), "d": ("b",), "e": ("d", "a")}
    arrows = {name: frozenset(others) for name, others in arrows.items()}
    assert house.circles(arrows) == [("b", "c", "d")]
    assert house.floors(arrows) == {"a": 0, "b": 1, "c": 1, "d": 1, "e": 2}


@pytest.mark.parametrize("path", sorted((ROOT / "apps" / "verbs").glob("[!_]*.py")), ids=label)
def test_a_verb_is_its_flags_its_help_and_one_call(path):
    """It has no function but `main`, which imports what it calls, and calls it."""
    (main,) = [node for node in tree(path).body if isinstance(node, ast.FunctionDef)]
    assert main.name == "main"
    said, *rest = main.body
    assert ast.get_docstring(main) and isinstance(said, ast.Expr)
    done = [node for node in rest if not isinstance(node, ast.ImportFrom)]
    assert len(done) == 1 and isinstance(done[0].value, ast.Call), "one call"


def given(path: Path) -> set[str]:
    """The names that a module defines, and those that its stub says a package exports."""
    found, stub = set(), path.with_suffix(".pyi")
    for node in tree(path).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            found |= {name.id for target in targets for name in ast.walk(target) if isinstance(name, ast.Name)}
    exported = [node for node in tree(stub).body if isinstance(node, ast.ImportFrom)] if stub.exists() else []
    return found | {alias.name for node in exported for alias in node.names}


@pytest.mark.parametrize("path", FILES, ids=label)
def test_names_are_imported_from_where_they_are_defined(path):
    """A name that a module happens to have imported is taken from its own place, or moving it leaves a shim behind."""
    known = house.modules(ROOT)
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.ImportFrom) and node.module in known:
            names = {alias.name for alias in node.names if f"{node.module}.{alias.name}" not in known}
            assert names <= given(known[node.module]), f"{label(path)}:{node.lineno}"
