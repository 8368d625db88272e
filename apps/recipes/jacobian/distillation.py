"""Tables 2 and 3: distillation from few images of CIFAR-100 and CIFAR-10, students of other sizes, and a short one."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from apps.recipes.jacobian.protocol import CLASSES, IMAGES, Schooling, blocks, compared, norms
from apps.recipes.table import Table, all_against

_METHODS = {
    "ce": "ce",
    "activation": "ce+activation",
    "jacobian": "ce+activation+jacobian",
    "attention": "ce+activation+attention",
    "jacobian+attention": "ce+activation+jacobian+attention",
    "full-jacobian": "ce+activation+full-jacobian",
    "full-jacobian+attention": "ce+activation+full-jacobian+attention",
}
"""Rows and their terms (section 7.1, 1 to 5 and ours): what is not the labels alone matches the logits as well."""
_TABLE_2 = {
    #                           images a class:
    #                           5           10           50           100           500
    "ce": ((7.45, 0.3), (11.83, 0.4), (40.88, 0.8), (51.19, 0.01), (69.95, 0.2)),
    "activation": ((23.72, 1.3), (37.22, 0.2), (59.43, 0.02), (63.91, 0.2), (66.99, 0.2)),
    "jacobian": ((27.27, 1.2), (41.47, 1.0), (61.83, 0.01), (65.43, 0.6), (66.92, 0.7)),
    "attention": ((38.18, 1.9), (46.39, 0.1), (60.27, 0.3), (64.28, 0.2), (66.53, 0.3)),
    "jacobian+attention": ((42.75, 1.7), (51.16, 0.6), (62.62, 0.6), (65.38, 0.2), (67.25, 0.8)),
    "full-jacobian": ((35.15, 0.5), (48.00, 0.4), (62.88, 0.1), (65.84, 0.1), (66.83, 0.1)),
    "full-jacobian+attention": ((47.11, 0.9), (54.59, 0.2), (63.20, 0.4), (65.49, 0.1), (66.65, 0.4)),
}
_TABLE_3 = {
    #                           images a class:
    #                           50           100           500           1000           5000
    "ce": ((49.29, 1.6), (59.93, 0.1), (79.36, 0.04), (83.87, 0.1), (91.95, 0.1)),
    "activation": ((55.43, 2.1), (65.33, 2.2), (85.44, 0.1), (88.77, 0.3), (92.47, 0.1)),
    "jacobian": ((55.73, 2.0), (67.22, 3.0), (85.84, 0.1), (89.30, 0.3), (92.04, 0.01)),
    "attention": ((68.11, 0.8), (74.44, 0.2), (85.88, 0.1), (88.61, 0.1), (91.20, 0.01)),
    "jacobian+attention": ((70.83, 1.0), (77.06, 0.2), (86.51, 0.3), (89.63, 0.1), (90.68, 0.04)),
    "full-jacobian": ((58.88, 0.2), (69.42, 1.4), (86.55, 0.1), (89.76, 0.1), (91.49, 0.05)),
    "full-jacobian+attention": ((72.75, 0.4), (78.71, 0.1), (87.31, 0.3), (89.87, 0.3), (90.68, 0.1)),
}


@dataclass(frozen=True)
class Distilling:
    """Students of one teacher.

    The teacher and what is drawn of the images are the same for all methods of a seed.
    """

    data: str
    teacher: str = "vgg-9"
    """By section 7.1 and both captions, "a VGG-9 network"."""
    student: str = "vgg-11"
    """By both captions; section 7.1 says "a larger 13-layer student". The captions have a name, and figure 3 and
    section 7.1.2 the same one; "three convolutional layers out of eleven" speaks for it too."""
    schooling: Schooling = field(default_factory=lambda: Schooling(updates=78_125, batch=128, rate=0.1))
    """Of the teacher: 200 epochs of all images, as is usual for such networks."""
    training: Schooling = field(default_factory=lambda: Schooling(updates=20_000))
    """Of students: 25 epochs of all images, and 2,560 of five a class."""
    weights: Mapping[str, float] = field(
        default_factory=lambda: {"activation": 0.1, "jacobian": 1.0, "full-jacobian": 1.0, "attention": 1000.0}
    )
    """By term: none is printed. They are the terms' own: attention as public codes weigh it, distances of unit tensors
    as they are, and squared distances of logits so that students do not diverge at this rate."""
    power: int = 1
    """Of activations in attention: "channel-wise absolute sum" (section 7.1)."""
    form: str = "normalised"
    """Of the distances of Jacobians, which are of l2 in the paper (section 7.1) without a word on their scale: over
    their norms, as in the authors' work before it (Srinivas and Fleuret 2018)."""
    statistics: str = "running"
    """Of the student's batch norms in its Jacobians: with those of a batch, images would hang on one another."""
    prefix: str = "jacobian"
    """Of the runs' names."""

    def teacher_run(self) -> str:
        """The name of the teacher's run."""
        return f"{self.prefix}-{self.data}-teacher-{self.teacher}"

    def teaching(self) -> str:
        """The training of the teacher, on all images."""
        return (
            f"train classifier --data {self.data} --arch {self.teacher} {self.schooling.flags(IMAGES)} --seed 0 "
            f"--name {self.teacher_run()}"
        )

    def run(self, row: str, column: str, seed: int, student: str = "") -> str:
        """The name of the run of a cell."""
        if row == "teacher":
            return self.teacher_run()
        method = row.replace("+", "-")
        return f"{self.prefix}-{self.data}-{method}-{student or self.student}-{column}-seed{seed}"

    def commands(self, row: str, column: str, seed: int, student: str = "") -> tuple[str, ...]:
        """The student's, after those of the teacher.

        Args:
            row: a method.
            column: images of each class.
            seed: of the student, and of which images it has.
            student: another one than usual.
        """
        if row == "teacher":
            return (self.teaching(),)
        terms, images = _METHODS[row], int(column) * CLASSES[self.data]
        few = f"--train-images {images} " if images < IMAGES else ""
        train = (
            f"distill {terms} --data {self.data} {few}--student {student or self.student} "
            f"{self.training.flags(images)} --seed {seed} --name {self.run(row, column, seed, student)}"
        )
        if terms == "ce":
            return (train,)
        train += f" --teacher {{runs}}/{self.teacher_run()}"
        return self.teaching(), " ".join((train, *self._options(terms.split("+"), student or self.student)))

    def _options(self, terms: list[str], student: str) -> list[str]:
        """Those of the terms: weights, and what is compared."""
        ours, theirs = compared(student, self.teacher)
        found = [f"--{term}.weight {self.weights[term]:g}" for term in terms if term in self.weights]
        for term in ("jacobian", "full-jacobian"):
            if term in terms:
                found.append(f"--{term}.form {self.form} --{term}.norms {self.statistics}")
        if "full-jacobian" in terms:
            found.append(f"--full-jacobian.student-layers {norms(student, ours)}")
            found.append(f"--full-jacobian.teacher-layers {norms(self.teacher, theirs)}")
        if not {"jacobian", "full-jacobian"} & set(terms):
            found.append("--jacobian-angle")  # which is measured anyway where a term trains by it
        if "attention" in terms:
            found.append(f"--attention.p {self.power}")
            found.append(f"--student-taps {blocks(student, ours)} --teacher-taps {blocks(self.teacher, theirs)}")
        return found


def _methods(how: Distilling, title: str, note: str, columns: tuple[str, ...], rows: tuple[str, ...], **more) -> Table:
    """Rows of methods, columns of images a class."""
    return Table(
        title=title,
        convention=(
            "of the last weights, on the 10,000 test images, with the deviation over seeds; best: the highest at any "
            "validation; jacobian angle: of figures 2 and 3, in degrees between the input-Jacobians of student and "
            f"teacher on images to train on. {note} One teacher for all students; weights of the terms, rates and "
            "lengths are ours, the paper's are in a supplement that is not published."
        ),
        rows=rows,
        columns=columns,
        seeds=2,
        axes=("method", "a class"),
        metrics=("accuracy",),
        commands=how.commands,
        run=how.run,
        extra=("best accuracy", "jacobian angle"),
        against=all_against(rows[1:], "activation"),
        **more,
    )


def _published(table: dict, columns: tuple[str, ...], teacher: float) -> dict[str, dict]:
    """Means and deviations by cell. The teacher is the same in all columns."""
    cells = {(row, column): values for row, line in table.items() for column, values in zip(columns, line, strict=True)}
    means = {cell: (value,) for cell, (value, _) in cells.items()}
    return {
        "published": {("teacher", column): (teacher,) for column in columns} | means,
        "deviations": {cell: (deviation,) for cell, (_, deviation) in cells.items()},
    }


_SECOND, _THIRD = Distilling("cifar100"), Distilling("cifar10")
_SHORT = Distilling(
    "cifar100",
    student="vgg-6",
    schooling=Schooling(updates=4688, batch=128, rate=0.1, validations=4),
    training=Schooling(updates=1000, validations=2),
    prefix="jacobian-short",
)
_STUDENTS = {
    #         accuracy at 50 images a class, of full-jacobian (section 7.1.2)
    "vgg-4": 50.87,
    "vgg-6": 58.08,
    "vgg-9": None,
    "vgg-11": 62.95,
}
_COLUMNS_2, _COLUMNS_3 = ("5", "10", "50", "100", "500"), ("50", "100", "500", "1000", "5000")

TABLES = {
    "2": _methods(
        _SECOND,
        "Table 2: top-1 accuracy in % of VGG-11 on CIFAR-100, distilled from VGG-9 with few images (section 7.1)",
        "The teacher is trained on all images.",
        _COLUMNS_2,
        ("teacher", *_METHODS),
        **_published(_TABLE_2, _COLUMNS_2, 66.82),
    ),
    "3": _methods(
        _THIRD,
        "Table 3: top-1 accuracy in % of VGG-11 on CIFAR-10, distilled from VGG-9 with few images (section 7.1)",
        "The teacher is trained on all images.",
        _COLUMNS_3,
        ("teacher", *_METHODS),
        **_published(_TABLE_3, _COLUMNS_3, 90.49),
    ),
    "students": Table(
        title="Section 7.1.2: top-1 accuracy in % of students of four sizes on CIFAR-100, by full-jacobian",
        convention=(
            "as in table 2, whose cells of VGG-11 these are. At 50 images a class VGG-9 is said to be as good as "
            "VGG-11, and at 5 VGG-4 and VGG-6 to be slightly better; no numbers are printed. VGG-4 has no maps of 4 "
            "pixels: it is compared at 32, 16 and 8, the others at 16, 8 and 4."
        ),
        rows=tuple(_STUDENTS),
        columns=("50", "5"),
        seeds=2,
        axes=("student", "a class"),
        metrics=("accuracy",),
        published={(row, "50"): (value,) for row, value in _STUDENTS.items() if value is not None},
        commands=lambda row, column, seed: _SECOND.commands("full-jacobian", column, seed, row),
        run=lambda row, column, seed: _SECOND.run("full-jacobian", column, seed, row),
        extra=("best accuracy", "jacobian angle"),
    ),
    "2-short": _methods(
        _SHORT,
        "Table 2 at a size for a CPU: top-1 accuracy in % of VGG-6 on CIFAR-100, distilled from VGG-9; nothing of it "
        "is published",
        "Students: 1,000 updates of 64 images; teacher: 12 epochs.",
        ("5", "10"),
        ("teacher", "ce", "activation", "attention", "jacobian", "full-jacobian", "full-jacobian+attention"),
        published={},
    ),
}
