"""What a kind of score is. Nothing here imports torch, so that help is instant.

A kind is one file of `apps.scores.known`. It says which commands make its scores, where they keep them, and whether
what is kept is what a command would make, so that `penult table` does not give that command again.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from apps.command.console import counted
from apps.command.scoring import Scoring

if TYPE_CHECKING:
    from apps.runs.by_image import ByImage

Entry = Mapping[str, Any]
"""One evaluation of a run's evaluation.json: its scores, under "scores", and what they were made by."""


@dataclass(frozen=True)
class Command:
    """A command line that makes scores.

    Attributes:
        words: after `penult`.
        folder: the run that they are of, or the folder that they are in.
    """

    words: tuple[str, ...]
    folder: Path

    @cached_property
    def config(self) -> Any:
        """What the words mean, by their own verb.

        Raises:
            InputError: no such verb, or a value that it refuses.
        """
        from apps.command.cli import configured, verb_of

        return configured(*verb_of(self.words))[1]


class Kind(ABC):
    """A kind of score."""

    verbs: ClassVar[tuple[str, ...]]
    """First words of the commands that make it, such as "train" or "analyse normalised"."""

    def made_by(self, command: Command) -> bool:
        """Whether a command is one of those that make this kind."""
        starts = (tuple(verb.split()) for verb in self.verbs)
        return any(command.words[: len(start)] == start for start in starts)

    def asked(self, config: Any) -> str:
        """The flag that asks for this kind where a verb makes several, with its value where that matters.

        Empty where none does: a verb makes such a kind where no flag asks for another.
        """
        return ""

    @abstractmethod
    def found(self, command: Command) -> Mapping[str, Any] | None:
        """The scores that a command has left, by name; None where it is not done.

        A score is a number, or a mapping with one under "value".

        Raises:
            InputError: what is kept is damaged.
        """

    def by_image(self, command: Command, scores: Mapping[str, Any]) -> "ByImage | None":
        """What is kept of each test image, by the names of scores; None where nothing is, or not of these scores.

        Args:
            command: that has made the scores.
            scores: that it has left, by name.
        """
        return None


class Evaluation(Kind):
    """A kind that `penult evaluate` makes, and keeps in a run's evaluation.json by what it was made by."""

    verbs = ("evaluate",)
    flags: ClassVar[type[Scoring]] = Scoring
    """What it can be told, beside what every evaluation can."""
    holds: ClassVar[str | None] = None
    """What runs hold (see `apps.models.registry`) that are scored by it where no flag asks for another kind."""

    @abstractmethod
    def evaluate(self, config: Any) -> None:
        """Score, print and keep: the program.

        Raises:
            InputError: what was asked for cannot be scored; it is found before the work.
        """

    @abstractmethod
    def made(self, entry: Entry) -> bool:
        """Whether an entry is of this kind."""

    @abstractmethod
    def follows(self, entry: Entry, config: Any) -> bool:
        """Whether an entry of this kind was made as `config` asks, which names its data."""

    def found(self, command: Command) -> Mapping[str, Any] | None:
        """The scores of a run by what `penult evaluate` was told."""
        from apps.models.named import trained_on
        from apps.runs.evaluations import read_evaluations
        from apps.runs.run import Run

        kept, wanted = read_evaluations(command.folder), command.config
        if not kept:
            return None
        wanted = replace(wanted, data=wanted.data or trained_on(Run(command.folder)).data)
        return next((entry["scores"] for entry in kept if self.made(entry) and self.follows(entry, wanted)), None)

    def said(self, entry: Entry, data: Any) -> str:
        """What an entry was made by, in words that go on from "on the ".

        Args:
            entry: of this kind.
            data: what the run was trained on, for entries that do not say what they are of.
        """
        return images_said(entry, data)

    def note(self, entry: Entry, convention: str) -> str:
        """What the scores of an entry mean, and in which unit; empty where their names say it.

        Args:
            entry: of this kind.
            convention: of the latents of a generator, for its numbers; empty for other runs.
        """
        return convention

    def standing(self, entry: Entry) -> tuple[int, int, bool]:
        """What an entry ranks by among those of a run on the same data: the highest one stands for the run.

        Returns:
            The images and the importance samples that it is of, and whether its scores are by the usual network.
        """
        return 0, 0, False


def count(value: Any) -> int:
    """A number of an entry; 0 where it is none."""
    return value if isinstance(value, int) else 0


def images_said(entry: Entry, data: Any) -> str:
    """The test images that an entry is of, in words."""
    images = entry.get("images")
    number = counted(images, "test image") if isinstance(images, int) else "the test images"
    first = "first " if entry.get("first") else ""
    return f"{first}{number} of {entry.get('data', data)}"
