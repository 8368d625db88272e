"""The scores of a run in words, each with the protocol that it was made by."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from apps.command.console import counted
from apps.runs.result import evaluation_name, tested, validated


@dataclass(frozen=True)
class Score:
    """One number."""

    name: str
    value: str
    """Rounded, with its standard error where it has one; a share in per cent."""
    protocol: str
    """What it was measured on, and how."""


@dataclass(frozen=True)
class Group:
    """Numbers that belong together, such as one a class."""

    name: str
    values: tuple[tuple[str, str], ...]
    """Each one's name and value."""
    protocol: str


def evaluated(evaluations: Sequence[dict[str, Any]]) -> tuple[list[Score], list[Group]]:
    """The scores of `evaluation.json`, given its entries."""
    scores, groups = [], []
    for entry in evaluations:
        said = protocol(entry)
        for name, value in entry["scores"].items():
            if isinstance(value, dict) and "value" not in value:
                shown = tuple((key, rounded(f"{name} {key}", item)) for key, item in value.items())
                groups.append(Group(name, shown, said))
            else:
                scores.append(Score(name, rounded(name, value), said))
    return scores, groups


def trained(config: dict[str, Any], result: dict[str, Any], model: str) -> list[Score]:
    """The scores of `result.json`: on the test images, and on the images that the training was validated by.

    Of validations, only those of classifiers and HVAEs: what others have is not said there, and a score without its
    protocol is none.

    Args:
        config: settings of the training.
        result: what it came to.
        model: what the run holds, "classifier", "hvae" or another generator's name.
    """
    data, images = config.get("data"), result.get("test/images")
    count = f"{images:,} " if isinstance(images, int) else ""
    scores = [
        Score(name, rounded(name, value), f"{count}test images of {data}, after the training")
        for name, value in tested(result).items()
        if name != "images"
    ]
    chosen = validated(result) if model in ("classifier", "hvae") else {}
    for name, value in chosen.items():
        on_test = name.startswith("test ")
        if on_test and scores:
            continue  # the same, of the same weights
        how = f"test images of {data}, after the last step" if on_test else _held_out(config, result)
        scores.append(Score(evaluation_name(name.removeprefix("test "), chosen), rounded(name, value), how))
    return scores


def _held_out(config: dict[str, Any], result: dict[str, Any]) -> str:
    """What a validation was made on, and whether the weights were chosen by it."""
    count, data = config.get("validation"), config.get("data")
    if isinstance(count, int) and count:
        images = f"{counted(count, 'training image')} of {data}, held out"
    else:  # what its verb holds out where nothing is said
        images = f"a sixth of the training images of {data}, held out"
    chosen = f"; the weights were chosen by the validations (step {result.get('best step')})"
    return images + (chosen if result.get("best") else "; after the last step")


def protocol(entry: dict[str, Any]) -> str:
    """What an evaluation was made by, in words: everything that is stored with its scores."""
    rest = {name: value for name, value in entry.items() if name != "scores"}
    said = []
    if isinstance(rest.get("images"), int) and "protocol" not in rest:  # likelihoods and accuracies: of test images
        first = "the first " if rest.pop("first", None) else ""
        said.append(f"{first}{counted(rest.pop('images'), 'test image')} of {rest.pop('data', 'its data set')}")
        if "samples" in rest:
            said.append(f"K = {counted(str(rest.pop('samples')), 'importance sample')} an image")
    elif "protocol" in rest:
        said.append(str(rest.pop("protocol")))
    return ", ".join([*said, *_words(rest)])


def _words(settings: dict[str, Any]) -> list[str]:
    return [f"{name.replace('_', ' ')} {_plain(value)}" for name, value in settings.items()]


def _plain(value: Any) -> str:
    if isinstance(value, dict):
        return f"({', '.join(_words(value))})"
    if isinstance(value, list):
        return " ".join(map(_plain, value))
    return f"{value:,}" if isinstance(value, int) and value >= 10_000 else str(value)


def rounded(name: str, value: Any) -> str:
    """A score as it is shown: accuracies in per cent, others to what their error or their size lets one read.

    Example:
        >>> rounded("accuracy", 0.98180), rounded("KID", 0.0021344), rounded("ELBO", {"value": -94.087, "error": 0.294})
        ('98.18 %', '0.002134', '-94.09 ± 0.29')
    """
    if isinstance(value, dict) and _is_number(value.get("value")):
        number, error, deviation = (value.get(part) for part in ("value", "error", "deviation"))
        if _is_number(error) and error > 0:
            return " ± ".join(_to_two_digits(part, error) for part in (number, error))
        if _is_number(deviation) and deviation > 0:
            return f"{_to_two_digits(number, deviation)} (deviation {_to_two_digits(deviation, deviation)})"
        return rounded(name, number)
    if not _is_number(value):
        return _plain(value)
    if "accuracy" in name.lower() and 0 <= value <= 1:
        return f"{100 * value:.2f} %"
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.2f}" if abs(value) >= 1 else f"{value:.4g}"


def _to_two_digits(number: float, error: float) -> str:
    """A number to the second digit of its error, and to two decimals at least."""
    return f"{number:.{max(2, 1 - math.floor(math.log10(error)))}f}"


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
