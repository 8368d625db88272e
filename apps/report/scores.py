"""How a run was scored, and what its training came to."""

from typing import Any

from apps.report.cells import flat
from apps.report.contents import Contents
from apps.runs.public import public
from apps.runs.result import evaluation_name
from apps.scores.kind import images_said
from apps.scores.known import kind_of_entry

FACTS = ("steps", "epochs", "seconds", "stopped early", "best step")
"""Parts of a result that are said in words, and are no scores."""


def headline(run: Contents) -> dict[str, Any] | None:
    """The evaluation that stands for a run: on its own data, of the most images with the most samples.

    Of those of generated images, one by Inception goes before one by another extractor.
    """
    standing = [(entry.get("data") == run.config.get("data"), *_standing(entry)) for entry in run.evaluations]
    return run.evaluations[standing.index(max(standing))] if standing else None


def _standing(entry: dict[str, Any]) -> tuple[int, int, bool]:
    """What an entry ranks by, as its kind has it."""
    kind = kind_of_entry(entry)
    return kind.standing(entry) if kind else (0, 0, False)


def protocol(run: Contents, entry: dict[str, Any]) -> str:
    """What an evaluation was made by, in words; of paths only the last part."""
    kind, data, entry = kind_of_entry(entry), public(run.config.get("data")), public(entry)
    return kind.said(entry, data) if kind else images_said(entry, data)


def note(run: Contents, entry: dict[str, Any]) -> str:
    """What the scores of an evaluation mean, and in which unit."""
    kind = kind_of_entry(entry)
    return kind.note(entry, run.protocol) if kind else run.protocol


def outcome(run: Contents) -> tuple[dict[str, Any], dict[str, Any]]:
    """What a training found of the weights it kept, and of the last ones, by the images it was found on."""
    result = {name: value for name, value in run.result.items() if name not in FACTS}
    found = (result.pop(part, None) for part in ("best", "last"))
    best, last = (_on_images(part) if isinstance(part, dict) else {} for part in found)
    return (best or last) | flat(result), last


def _on_images(metrics: dict[str, Any]) -> dict[str, Any]:
    """Validated metrics by the images they are of, with the names that evaluations have."""
    named = {evaluation_name(name, metrics): value for name, value in metrics.items()}
    return {name if name.startswith("test ") else f"validation {name}": value for name, value in named.items()}


def plain_scores(scores: dict[str, Any]) -> dict[str, Any]:
    """Scores without those by class, which stand with the classes."""
    return {name: value for name, value in scores.items() if not isinstance(value, dict) or "value" in value}
