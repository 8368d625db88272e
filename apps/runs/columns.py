"""Columns by name: what Python gets of a run's metrics, and of all runs."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from priors.errors import InputError, unknown

if TYPE_CHECKING:
    import numpy as np
    import pandas


class Columns(Mapping[str, "np.ndarray | list"]):
    """A table by its columns, all as long.

    A column whose values are all numbers, or missing, is an array of float64, with NaN where one is missing; of int64
    where all are whole numbers and none is missing. Any other column is a list, with None where a value is missing.

    Args:
        rows: one mapping a row; where one lacks a name, its value is missing.
        names: of the columns, in order; None: those of the rows, in the order that they come in.

    Example:
        >>> found = Columns([{"step": 1, "loss": 0.5}, {"step": 2}])
        >>> list(found), found["step"], found["loss"], len(found.rows)
        (['step', 'loss'], array([1, 2]), array([0.5, nan]), 2)
    """

    def __init__(self, rows: Sequence[Mapping[str, Any]], names: Sequence[str] | None = None):
        self.rows = [dict(row) for row in rows]
        known = names if names is not None else dict.fromkeys(name for row in self.rows for name in row)
        self._columns = {name: _column([row.get(name) for row in self.rows]) for name in known}

    def __getitem__(self, name: str) -> "np.ndarray | list":
        """A column.

        Raises:
            KeyError: there is none of that name; the message has the nearest.
        """
        if name not in self._columns:
            raise KeyError(str(unknown("column", name, self._columns)))
        return self._columns[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._columns)

    def __len__(self) -> int:
        return len(self._columns)

    def __repr__(self) -> str:
        return f"Columns({', '.join(self._columns)}; {len(self.rows)} rows)"

    def frame(self) -> "pandas.DataFrame":
        """The same as a DataFrame.

        Raises:
            InputError: pandas is not installed.
        """
        try:
            import pandas
        except ModuleNotFoundError:
            raise InputError(
                "a DataFrame needs pandas, which is not installed: pip install pandas, or take the columns by name"
            ) from None
        return pandas.DataFrame(self._columns, index=range(len(self.rows)))


def _column(values: list[Any]) -> "np.ndarray | list":
    """An array of numbers, where they are such; else the values."""
    there = [value for value in values if value is not None]
    if not there or any(type(value) not in (int, float) for value in there):
        return values
    import numpy as np  # not before: listing runs is instant

    if len(there) == len(values) and all(type(value) is int and abs(value) < 2**63 for value in values):
        return np.array(values, dtype=np.int64)
    return np.array([np.nan if value is None else value for value in values], dtype=np.float64)


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Objects within an object as names with slashes.

    Example:
        >>> flat({"steps": 9, "last": {"accuracy": 0.5}})
        {'steps': 9, 'last/accuracy': 0.5}
    """
    found: dict[str, Any] = {}
    for name, value in values.items():
        found |= flat(value, f"{prefix}{name}/") if isinstance(value, Mapping) else {f"{prefix}{name}": value}
    return found
