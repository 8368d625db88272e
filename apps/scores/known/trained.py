"""What a training found on the test images when it was done: scores of classifiers and students, in its result.json."""

from apps.runs.result import tested
from apps.scores.kind import Command, Kind


class Trained(Kind):
    """Accuracies in per cent: of a training's own domain, and of plain images where that is another."""

    verbs = ("train", "distill")

    def found(self, command: Command) -> dict[str, float] | None:
        """Of a finished training."""
        from apps.runs.run import Run

        if not (run := Run(command.folder)).finished:
            return None
        scores = tested(run.result())
        found = {
            "accuracy": scores.get("shifted accuracy", scores.get("accuracy")),
            "best accuracy": scores.get("best accuracy"),
            "clean accuracy": scores.get("accuracy"),
        }
        return {name: 100 * value for name, value in found.items() if isinstance(value, int | float)}


KIND = Trained()
