"""Names that packages give lazily: each comes from where it is said to, whatever was imported before it."""

import ast
import importlib
import json
import os
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest
from importing import imports_from

ROOT = Path(__file__).parents[1]
PACKAGES = ("priors", "distill", "analysis", "apps")
STUBS = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.pyi"))
HOMES = {
    ".".join(path.parent.relative_to(ROOT).parts): [
        (alias.name, node.module) for node in ast.parse(path.read_text()).body for alias in node.names
    ]
    for path in STUBS
}
"""By package, its public names and the modules that they are defined in."""

IN_FRESH_PROCESSES = """
import importlib, json, os, sys
import jaxtyping, numpy.polynomial, safetensors.torch, torch.distributions  # once: they take long
def take(package, name):
    taken = {}
    exec(f"from {package} import {name}", taken)
    return taken[name]
def check(package, names, home, before):
    assert not any(loaded.split(".")[0] in ("priors", "distill", "analysis", "apps") for loaded in sys.modules)
    if before:
        importlib.import_module(home)
    for name in names:
        first = take(package, name)
        defined = getattr(importlib.import_module(home), name)
        second = take(package, name)
        assert first is second is defined, f"{name}: {first}, {second}, {defined}"
failed = []
for package, names, home, before in json.load(sys.stdin):
    child = os.fork()
    if not child:
        try:
            check(package, names, home, before)
        except BaseException as error:
            print(f"from {package} import {names}: {type(error).__name__}: {error}", flush=True)
            os._exit(1)
        os._exit(0)
    failed.append(os.waitpid(child, 0)[1])
print(len(failed), "tried,", sum(map(bool, failed)), "failed")
"""


def test_packages_have_public_names():
    assert {"priors", "priors.vmf", "priors.zoo", "analysis", "distill", "apps"} <= HOMES.keys()
    for package, homes in HOMES.items():
        module = importlib.import_module(package)
        names = [name for name, _ in homes]
        assert module.__all__ == sorted(names) and len(names) == len(set(names)) and set(names) <= set(dir(module))
        with pytest.raises(AttributeError, match=f"module '{package}' has no attribute 'nothing'"):
            _ = module.nothing


def test_no_public_name_is_a_modules_too():
    """Importing the module would put it in the name's place."""
    for package, homes in HOMES.items():
        inside = {module.name for module in pkgutil.iter_modules(importlib.import_module(package).__path__)}
        assert not inside & {name for name, _ in homes}, package


@pytest.mark.skipif(not hasattr(os, "fork"), reason="fresh processes are forked, so that torch is loaded once")
def test_each_comes_from_its_home_in_a_fresh_process_before_and_after_it_is_imported():
    """Those of one home share a process: whichever of them is taken first, it is the home that is imported."""
    given = []
    for package, homes in HOMES.items():
        for home in sorted({home for _, home in homes}):
            names = [name for name, other in homes if other == home]
            given += [(package, names, home, before) for before in (False, True)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"} | imports_from(ROOT)
    found = subprocess.run(
        [sys.executable, "-c", IN_FRESH_PROCESSES],
        input=json.dumps(given),
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert found.stdout == f"{len(given)} tried, 0 failed\n", found.stdout + found.stderr


def test_what_lists_names_loads_no_torch():
    script = "import sys\n" + "".join(f"import {package}\ndir({package}); {package}.__all__\n" for package in HOMES)
    script += "from priors import InputError\nassert 'torch' not in sys.modules and 'numpy' not in sys.modules"
    environment = os.environ | imports_from(ROOT)
    subprocess.run([sys.executable, "-W", "error", "-c", script], env=environment, check=True)
