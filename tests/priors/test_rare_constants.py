"""Constants that torch reads for numbers of -0: they are loaded wherever functions are used that have some."""

import re
import sys
from pathlib import Path

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

sys.path.insert(0, str(Path(__file__).parents[1]))

import house

from priors.rare_constants import load_rare_constants

ROOT = Path(__file__).parents[2]
USED = re.compile(
    r"\b(torch|F)\.(log1p|expm1|softplus|logsigmoid|elu_?|logaddexp|binary_cross_entropy_with_logits)\b"
    r"|\.(log1p|expm1)_?\(\)|import logsigmoid"
)
USERS = [
    path
    for package in ("priors", "distill", "analysis", "apps")
    for path in sorted((ROOT / package).rglob("*.py"))
    if USED.search(path.read_text(encoding="utf-8")) and path.name != "rare_constants.py"
]
ARROWS = house.arrows(ROOT)


def test_a_number_of_minus_zero_is_taken_on_the_cpu():
    taken = []

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
            taken.append((operation.overloadpacket.__name__, args))
            return operation(*args, **(kwargs or {}))

    with Watch(), torch.device("meta"):
        load_rare_constants()
    ((number,),) = [args for name, args in taken if name == "log1p"]
    assert number.device.type == "cpu" and number.dtype == torch.float32
    assert number.eq(0).all() and number.signbit().all()


def test_users_are_found():
    assert {"hyperspherical_vae.py", "crd.py", "vid.py", "logistics.py", "bessel.py"} <= {path.name for path in USERS}


def reached(name: str) -> set[str]:
    """All files that importing one imports."""
    found, ahead = set(), {name}
    while ahead:
        found |= ahead
        ahead = set().union(*(ARROWS[one] for one in ahead)) - found
    return found


@pytest.mark.parametrize("path", USERS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_who_uses_such_a_function_loads_its_constants(path):
    """Itself, or by what it imports."""
    assert "priors.rare_constants" in reached(".".join(path.relative_to(ROOT).with_suffix("").parts))
