"""What a file gives for the fields of a dataclass, held to their types."""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from priors.errors import shown


def check_types(kind: type, values: Mapping[str, Any]) -> None:
    """Make sure that values have the types that the fields of a dataclass say.

    A whole number may stand for a float, and a text for a path. Truth values are no numbers.

    Args:
        kind: the dataclass; of its fields, those without a value are left out.
        values: by field, with tuples for JSON's lists.

    Raises:
        TypeError: one has another type.
    """
    hints = _hints(kind)
    for name, value in values.items():
        if name in hints and not _fits(value, hints[name]):
            expected = hints[name].__name__ if type(hints[name]) is type else "another type"
            raise TypeError(f"{name!r} is {shown(value)}, {expected} was expected")


@cache
def _hints(kind: type) -> dict[str, Any]:
    return get_type_hints(kind)


def _fits(value: Any, hint: Any) -> bool:
    origin, parts = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return _fits(value, parts[0])
    if origin in (Union, UnionType):
        return any(_fits(value, part) for part in parts)
    if origin is Literal:
        return any(value is one or (type(value) is type(one) and value == one) for one in parts)
    if origin is tuple:
        if not isinstance(value, tuple):
            return False
        if parts[-1:] == (Ellipsis,):
            return all(_fits(one, parts[0]) for one in value)
        return len(value) == len(parts) and all(map(_fits, value, parts))
    if hint in (None, NoneType):
        return value is None
    if hint in (int, float):
        return isinstance(value, int if hint is int else int | float) and not isinstance(value, bool)
    if hint is Path:
        return isinstance(value, str | Path)
    return not isinstance(hint, type) or isinstance(value, hint)
