"""What a training says of its scores in its result.json, by its names. Nothing here imports torch."""

from collections.abc import Mapping
from typing import Any

TESTED = "test/"
"""What the names of scores of test images begin with, taken when the training was done."""


_PLAIN = {"steps", "epochs", "seconds", "stopped early", "best step"}
"""Names of single numbers in every result; others may be objects of numbers."""


def tested(result: Mapping[str, Any]) -> dict[str, Any]:
    """The scores of the test images, by their names without what those begin with."""
    return {name.removeprefix(TESTED): value for name, value in result.items() if name.startswith(TESTED)}


def validated(result: Mapping[str, Any]) -> dict[str, Any]:
    """What was validated of the weights that were kept; nothing where nothing was."""
    chosen = result.get("best") or result.get("last")
    return chosen if isinstance(chosen, dict) else {}


def no_number(result: Mapping[str, Any]) -> str | None:
    """The name of something in a result that is neither a number nor an object of numbers; None where all is well.

    Example:
        >>> no_number({"steps": 9, "best": {"accuracy": 0.5}}), no_number({"best": {"accuracy": "x"}})
        (None, 'best: accuracy')
    """
    for name, value in result.items():
        if isinstance(value, dict) and name not in _PLAIN:
            if (within := no_number(value)) is not None:
                return f"{name}: {within}"
        elif not (value is None or isinstance(value, int | float)):
            return name
    return None


def evaluation_name(name: str, metrics: Mapping[str, Any]) -> str:
    """What evaluations call a validated metric.

    Args:
        name: of the metric.
        metrics: all that were validated with it: a bound that has log p(i) in it stands beside that.

    Example:
        >>> evaluation_name("elbo", {"elbo": -90.0, "log p(i)": -2.3}), evaluation_name("accuracy", {})
        ('ELBO with log p(i)', 'accuracy')
    """
    names = {"elbo": "ELBO with log p(i)" if "log p(i)" in metrics else "ELBO", "divergence": "KL"}
    return names.get(name, name)
