"""What stands in a file for a field has its type, or is refused."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import pytest

from priors.files.typed import check_types


@dataclass
class Kind:
    """Some fields."""

    count: Annotated[int, "a rule"] = 1
    rate: float | None = None
    name: Literal["a", "b"] = "a"
    widths: tuple[int, ...] = ()
    pair: tuple[int, str] = (1, "x")
    place: Path = Path()
    on: bool = True


FINE = {"count": 3, "rate": 2, "name": "b", "widths": (1, 2), "pair": (2, "y"), "place": "here", "on": False}


def test_what_is_fine_passes():
    check_types(Kind, FINE | {"another program's": object()})
    check_types(Kind, {"rate": None, "widths": ()})


WRONG = ("x", None, [1], {"a": 1}, True, 0.37)


@pytest.mark.parametrize("name", FINE)
def test_another_type_is_refused(name):
    fitting = {"rate": (None, 0.37), "place": ("x",), "on": (True,)}.get(name, ())
    for value in WRONG:
        if not any(value is one or value == one and type(value) is type(one) for one in fitting):
            with pytest.raises(TypeError, match=f"'{name}' is"):
                check_types(Kind, {name: value})
