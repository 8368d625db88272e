"""Values of configurations and results as cells of tables, and JSON of any shape as tables."""

import json
from collections.abc import Iterable, Sequence
from typing import Any

from apps.report.markup import NOTHING, Html, html, joined, number, plain, table

_MOST_IN_A_CELL = 12
_SHARES = ("AUROC", "FPR95", "ECE")
"""Results that are read in per cent, beside accuracies."""
_DRAWN = ("reliability",)
"""Parts of results that are for pictures."""


def score(name: str, value: Any) -> Html:
    """A result by its name: a number, one with its standard error, or what else it is.

    Example:
        >>> print(score("test accuracy", 0.5))
        <data value="0.5">50.00 %</data>
    """
    if isinstance(value, dict) and _is_number(value.get("value")):
        error = value.get("error")
        return number(value["value"], error if _is_number(error) else None)
    if _is_number(value):
        shared = "accuracy" in name.lower() or name in _SHARES
        return number(value, share=shared and 0 <= value <= 1)
    return setting(value)


def setting(value: Any) -> Html:
    """A value as it was given, in words where JSON has signs for it."""
    if value is None:
        return html("unset")
    if isinstance(value, bool):
        return html("yes" if value else "no")
    if isinstance(value, list):
        if len(value) > _MOST_IN_A_CELL and all(_is_number(item) for item in value):
            return html(f"{len(value):,} numbers")
        if not any(isinstance(item, dict | list) for item in value):
            return html(", ".join("none" if item is None else str(item) for item in value) or NOTHING)
    if isinstance(value, dict | list):
        return html(json.dumps(value, ensure_ascii=False))
    return html(f"{value:g}" if isinstance(value, float) and float(f"{value:g}") == value else value)


def duration(seconds: Any) -> str:
    """A time in seconds, as one says it.

    Example:
        >>> duration(219.7), duration(7300), duration(12.3)
        ('3 min 40 s', '2 h 1 min', '12 s')
    """
    whole = round(seconds)
    if whole >= 3600:
        return f"{whole // 3600} h {whole % 3600 // 60} min"
    return f"{whole // 60} min {whole % 60} s" if whole >= 60 else f"{whole} s"


def flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested results under names of several words; a number with its error stays one.

    Example:
        >>> flat({"best": {"elbo": -3.0}, "test/accuracy": 1.0})
        {'best elbo': -3.0, 'test accuracy': 1.0}
    """
    found: dict[str, Any] = {}
    for key, value in values.items():
        name = f"{prefix}{key}".replace("/", " ")
        if isinstance(value, dict) and not _is_number(value.get("value")):
            found |= flat(value, f"{name} ")
        else:
            found[name] = value
    return found


def entries(found: Any) -> list[tuple[str, Html]]:
    """What `penult analyse` keeps: of each entry its protocol in words and its numbers as tables; other JSON too."""
    return [_entry(item) for item in (found if isinstance(found, list) and found else [found])]


def _entry(item: Any) -> tuple[str, Html]:
    if not isinstance(item, dict):
        return "", tables("value", item)
    said = {key: value for key, value in item.items() if not _is_table(value) and not key.endswith("digest")}
    parts = {key: value for key, value in item.items() if _is_table(value) and key not in _DRAWN}
    if not parts:
        return "", tables("values", said)
    words = ", ".join(f"{key} {plain(score(key, value))}" for key, value in said.items())
    return words, joined(tables(key, value) for key, value in parts.items())


def tables(title: str, value: Any) -> Html:
    """JSON as tables: an object of numbers by name, a list of objects with a row each, and so on inwards."""
    if isinstance(value, list) and value and all(isinstance(item, dict) for item in value):
        return _of_rows(title, [("", item) for item in value])
    if not isinstance(value, dict):
        return table(title, ("value",), [(setting(value),)])
    simple = {key: item for key, item in value.items() if not _is_table(item)}
    rest = {key: item for key, item in value.items() if _is_table(item)}
    parts = []
    if simple:
        parts.append(table(title, ("quantity", "value"), [(key, score(key, item)) for key, item in simple.items()]))
    flat_ones = {key: item for key, item in rest.items() if isinstance(item, dict) and not _nested(item)}
    if flat_ones and len({tuple(item) for item in flat_ones.values()}) == 1:
        parts.append(_of_rows(title, list(flat_ones.items())))
        rest = {key: item for key, item in rest.items() if key not in flat_ones}
    parts += [tables(f"{title}: {key}", item) for key, item in rest.items()]
    return joined(parts)


def _of_rows(title: str, rows: Sequence[tuple[str, dict[str, Any]]]) -> Html:
    """Objects with a row each, under the names of their values."""
    heads = list(dict.fromkeys(key for _, item in rows for key in item if not key.endswith("digest")))
    named = any(name for name, _ in rows)
    cells: Iterable = (
        [*([name] if named else []), *(score(head, item.get(head)) for head in heads)] for name, item in rows
    )
    return table(title, ([""] if named else []) + heads, cells)


def _is_table(value: Any) -> bool:
    """Whether a value is too much for a cell."""
    if isinstance(value, dict):
        return not _is_number(value.get("value"))
    return isinstance(value, list) and any(isinstance(item, dict) for item in value)


def _nested(value: dict) -> bool:
    return any(_is_table(item) for item in value.values())


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
