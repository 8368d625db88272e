"""A run of a classifier at the moments of its training that are kept: its snapshots, and the network it came to."""

from dataclasses import dataclass
from pathlib import Path

from apps.runs.run import Run


@dataclass(frozen=True)
class Stage:
    """A network on the way, or at the end.

    Attributes:
        step: updates done; None where the run does not say.
        model: a MODEL, as on the command line.
        final: "best" or "last" where the run gives these weights, and nothing for a snapshot.
    """

    step: int | None
    model: str
    final: str = ""


def stages(model: str, run: Run) -> list[Stage]:
    """The snapshots of a finished run and its final network, by step; what is both comes once.

    Args:
        model: the run, as on the command line.
        run: the same.

    Raises:
        InputError: its result is damaged.
    """
    result = run.result()
    step, final = result.get("best step", result.get("steps")), "best" if "best step" in result else "last"
    kept = [Stage(int(path.name.removeprefix("step-")), str(path)) for path in run.snapshots()]
    if not isinstance(step, int):
        return [*kept, Stage(None, model, final)]
    others = (one for one in kept if one.step != step)
    return sorted([*others, Stage(step, model, final)], key=lambda one: one.step)


def called(folder: Path) -> str:
    """What a run is called among others: its folder, and of a snapshot also its run's."""
    folder = folder.resolve()
    return f"{folder.parents[1].name}, {folder.name}" if folder.parent.name == "snapshots" else folder.name
