"""What a training found on the test images when it was done: scores of classifiers and students, in its result.json."""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from apps.runs.result import tested
from apps.scores.kind import Command, Kind

_APART = frozenset({"seed", "data", "teacher", "prior", "cache_logits", "model"})
"""What may differ: the seed, which a run's name says, and paths, which elsewhere are others of the same numbers."""


class Trained(Kind):
    """Accuracies in per cent: of a training's own domain, of plain images where that is another, of held-out ones.

    In degrees, a student's angle to its teacher, where that was measured. In per cent of all parameters, what a pruned
    network has left.
    """

    verbs = ("train", "distill", "prune")

    def found(self, command: Command) -> dict[str, float] | None:
        """Of a finished training that was told what the command tells."""
        from apps.runs.run import Run

        run = Run(command.folder)
        if not run.finished or not _follows(run.config()["config"], command):
            return None
        result = run.result()
        scores = tested(result)
        found = {
            "accuracy": scores.get("shifted accuracy", scores.get("accuracy")),
            "best accuracy": scores.get("best accuracy"),
            "clean accuracy": scores.get("accuracy"),
            "held-out accuracy": (result.get("best") or {}).get("accuracy"),
            "top-5 accuracy": scores.get("shifted top-5 accuracy", scores.get("top-5 accuracy")),
        }
        found = {name: 100 * value for name, value in found.items() if isinstance(value, int | float)}
        if isinstance(left := result.get("share left"), int | float):
            found["parameters left"] = 100 * left
        angle = (result.get("last") or {}).get("jacobian angle")
        return found if angle is None else found | {"jacobian angle": angle}

    def by_image(self, command: Command, scores: Mapping[str, Any]) -> "ByImage | None":
        """In per cent: 0 or 100."""
        from apps.runs.by_image import ByImage, by_image

        kept = by_image(command.folder)
        if kept is None:
            return None
        found = {name: 100.0 * values for name, values in kept.scores.items()}
        if "shifted accuracy" in found:
            found = {"accuracy": found["shifted accuracy"], "clean accuracy": found.get("accuracy")}
        same = {name: values for name, values in found.items() if _agrees(values, scores.get(name))}
        return ByImage(same, kept.digest) if same else None


def _agrees(values: Any, score: Any) -> bool:
    """Whether the mean of what is kept of each image is the score: another evaluation may have written it."""
    return values is not None and isinstance(score, int | float) and abs(float(values.mean()) - score) < 1e-3


def _follows(stored: Mapping[str, Any], command: Command) -> bool:
    """Whether a run was made by what a command tells: else it is one of a recipe of before, under the same name."""
    words = list(command.words)
    for flag in ("--seed", "--name"):  # what tells repetitions apart: one parse is enough for all
        if flag in words:
            del words[words.index(flag) : words.index(flag) + 2]
    now, before = _told(tuple(words))
    made = before | stored
    return all(made.get(key) == value for key, value in now.items() if key in made and key not in _APART)


@cache
def _told(words: tuple[str, ...]) -> tuple[dict[str, Any], dict[str, Any]]:
    """What a command tells, as a run stores it, and what a run without a key stands for; empty for other verbs."""
    command = Command(words, Path())
    if words[0] == "distill":
        from apps.distilling.settings import older, told

        return told(command.config), older(command.config)
    if words[:2] == ("train", "classifier") or words[0] == "prune":
        from apps.command.config import identity, older_values

        return identity(command.config), older_values(command.config)
    return {}, {}


KIND = Trained()
