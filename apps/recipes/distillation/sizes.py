"""The tables: methods on the pair of Tian, Krishnan and Isola (2020), and on one for two cores of a CPU."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from apps.recipes.choice import Choice
from apps.recipes.distillation.methods import METHODS, SHORT, TEACHER, WIDE
from apps.recipes.pair import Pair
from apps.recipes.penultimate.distillation import METHODS as PENULTIMATE
from apps.recipes.penultimate.distillation import PUBLISHED as PENULTIMATE_TABLES
from apps.recipes.penultimate.distillation import SHORT as PENULTIMATE_SHORT
from apps.recipes.penultimate.distillation import Compression
from apps.recipes.table import Choosing, Table, all_against

_SAID = (
    "Accuracy of the last weights on the test images; best: the highest after any epoch. The same images choose that "
    "epoch, so best is too high. One teacher, of seed 0, for all students."
)
_USERS = "Of dkd, whose paper has 76.24, users report 75.2 to 75.5 over seeds."


@dataclass(frozen=True)
class Size:
    """Methods on one pair of networks."""

    number: str
    """Of the table."""
    kin: Compression
    """The tables whose pair and protocol are the same; where a method is theirs too, so is its run."""
    pair: Pair
    """What is trained: that of `kin`, or what was chosen instead."""
    seeds: int
    """Students of each method."""
    objectives: Mapping[str, str]
    """By row, the terms with their flags."""
    against: str
    """The row that all others are compared with."""
    label: str = ""
    """What was chosen of the pair, for the names of runs."""
    names: Mapping[str, str] = field(default_factory=dict)
    """By row, its part of the names of runs; a known method's is its own."""

    @property
    def table(self) -> Table:
        """All of it as a table."""
        column = self.pair.data
        rows = (*(["teacher"] if self.pair.schooling else []), *self.objectives)
        published = {(row, column): (known,) for row in rows if (known := self._published(row)) is not None}
        title = f"Methods side by side: top-1 accuracy in % of {self.pair.size}"
        return Table(
            title=title if published else f"{title}; nothing of it is published",
            convention=f"{_SAID} {self._protocol}{f' {_USERS}' if 'dkd' in self.objectives and published else ''}",
            rows=rows,
            columns=(column,),
            seeds=self.seeds,
            axes=("method", "images"),
            metrics=("accuracy",),
            published=published,
            commands=self._commands,
            run=self._run,
            extra=("best accuracy",),
            against=all_against(tuple(self.objectives), self.against),
            ordered=True,
            choosing=Choosing({name: words for name, (words, _) in METHODS.items()}, self._chosen),
        )

    @property
    def _protocol(self) -> str:
        along = ", along a cosine" if "cosine" in self.pair.schedule else ""
        return (
            f"{self.pair.epochs:g} epochs of SGD by the protocol of Tian, Krishnan and Isola (2020){along}. "
            f"Priors: kappa {self.pair.concentration:g}."
        )

    def _published(self, row: str) -> float | None:
        """What was published of a row; nothing of pairs that were chosen, nor of shorter trainings."""
        if self.label or self.kin is not PENULTIMATE_TABLES:
            return None
        method = self._method(row)
        return TEACHER if row == "teacher" else None if method is None else METHODS[method][1]

    def _method(self, row: str) -> str | None:
        """The known method whose objective a row has; None where it is none."""
        own = self.objectives.get(row)
        return next((name for name, (words, _) in METHODS.items() if words == own), None)

    def _run(self, row: str, column: str, seed: int) -> str:
        if row == "teacher":
            return f"{self.pair.taught}-seed0"
        method = self._method(row)
        if method in PENULTIMATE and not self.label:
            return self.kin.run("2", method, "cifar100", seed)
        name = self.names.get(row) or _called(row)
        return "-".join(word for word in ("distillation", self.number, self.label, name, f"seed{seed}") if word)

    def _commands(self, row: str, column: str, seed: int) -> tuple[str, ...]:
        if row == "teacher":
            return (self.pair.teaching(0),)
        return self.pair.distilling(self.objectives[row], seed, self._run(row, column, seed))

    def _chosen(self, choice: Choice) -> Table:
        """The table of other objectives, or of another pair."""
        pair = self._pair(choice)
        said = {
            pair.student: self.pair.student,
            f"from {pair.teacher}": f"from {self.pair.teacher}",
            f"on {pair.data}": f"on {self.pair.data}",
            f"{pair.epochs:g} epochs": f"{self.pair.epochs:g} epochs",
        }
        label = "-".join(choice.named(word) for word, usual in said.items() if word != usual)
        methods = {name: self._published_words(name, pair, choice) for name in METHODS}
        objectives = {row: methods.get(row, words) for row, words in (choice.objectives or self.objectives).items()}
        called = {words: _called(name) for name, words in methods.items()}
        names = {row: called.get(words) or choice.named(words) for row, words in objectives.items()}
        first = next((row for row, words in objectives.items() if words == "ce"), next(iter(objectives)))
        against = choice.against or first
        return replace(self, pair=pair, objectives=objectives, against=against, label=label, names=names).table

    def _published_words(self, method: str, pair: Pair, choice: Choice) -> str:
        """A known method's objective, with what was published of it for the pair."""
        words = METHODS[method][0]
        if (pair.teacher, pair.student) == (self.pair.teacher, self.pair.student):
            return words
        terms = words.partition(" ")[0]
        kept = terms if method in WIDE and not choice.wide else words
        settings = choice.settings(terms, pair.teacher, pair.student)
        return kept if settings in kept else f"{kept} {settings}"

    def _pair(self, choice: Choice) -> Pair:
        """The pair that was chosen; a teacher on other images, or of another kind, has a run of its own."""
        usual = self.pair
        teacher, data = choice.teacher or usual.teacher, choice.data or usual.data
        taught = usual.taught
        if (teacher, data) != (usual.teacher, usual.data):
            taught = f"distillation-{self.number}-teacher-{choice.named(teacher)}-{choice.named(data)}"
        return replace(
            usual,
            teacher=teacher,
            schooling="" if choice.trained else usual.schooling,
            taught=taught,
            student=choice.student or usual.student,
            epochs=choice.epochs or usual.epochs,
            data=data,
        )


def _called(method: str) -> str:
    """A method in the name of a run.

    Example:
        >>> _called("crd+kd"), _called("kd++")
        ('crd-kd', 'kd-pp')
    """
    return method.replace("++", "-pp").replace("+", "-")


def _size(number: str, kin: Compression, methods: tuple[str, ...]) -> Size:
    return Size(number, kin, kin.pair, kin.seeds, {name: METHODS[name][0] for name in methods}, "student")


TABLES = {
    "cifar100": _size("cifar100", PENULTIMATE_TABLES, tuple(METHODS)).table,
    "short": _size("short", PENULTIMATE_SHORT, SHORT).table,
}
