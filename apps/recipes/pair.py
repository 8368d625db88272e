"""A teacher and a student of it: the commands that train both. Imports no torch."""

from dataclasses import dataclass

_SPELT = {"cifar100": "CIFAR-100"}
"""Data sets as papers spell them."""


@dataclass(frozen=True)
class Pair:
    """Two networks; students are trained by the defaults of penult distill but for what is said here."""

    teacher: str
    """Its architecture; or a MODEL that is trained already."""
    schooling: str
    """How it is trained, as flags, beside its weight decay of 5e-4; empty: it is trained already."""
    taught: str
    """The name of its runs, but for their seed."""
    student: str
    """Its architecture."""
    epochs: float
    """Of the student."""
    data: str = "cifar100"
    """What both are trained on."""
    schedule: str = ""
    """Of the student's learning rate, as flags."""
    concentration: float = 80.0
    """Of the teacher's prior, where a term takes one (Seo, Lee and Kwak 2021, section 4.1.1)."""

    def teaching(self, seed: int) -> str:
        """The training of a teacher."""
        return (
            f"train classifier --data {self.data} --arch {self.teacher} {self.schooling} --weight-decay 5e-4 "
            f"--seed {seed} --name {self.taught}-seed{seed}"
        )

    def distilling(self, objective: str, seed: int, run: str) -> tuple[str, ...]:
        """The commands of a student, with those of the one teacher that all students have.

        Args:
            objective: terms joined by +, then their flags, such as "ce+ckd --ckd.weight 0.5".
            seed: of the student.
            run: its name.
        """
        terms, _, flags = objective.partition(" ")
        train = f"distill {terms} --data {self.data} --student {self.student} --epochs {self.epochs:g}{self.schedule}"
        train += f" --seed {seed} --name {run}"
        if terms == "ce":
            return (f"{train} {flags}".rstrip(),)
        train += " --teacher " + (f"{{runs}}/{self.taught}-seed0" if self.schooling else self.teacher)
        if "ckd" in terms.split("+") and "--concentration" not in flags.split():
            train += f" --concentration {self.concentration:g}"
        train = f"{train} {flags}".rstrip()
        return (self.teaching(0), train) if self.schooling else (train,)

    @property
    def size(self) -> str:
        """Both networks and the images, in words."""
        student = self.student if ":" in self.student else self.student.upper()
        teacher = self.teacher.upper() if self.schooling else self.teacher
        return f"{student} on {_SPELT.get(self.data, self.data)}, distilled from {teacher}"
