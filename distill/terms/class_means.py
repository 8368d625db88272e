"""Class-wise distillation by images: soft labels that are the teacher's own, averaged over the images of a class."""

from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from distill.class_rows import class_rows
from distill.term import Loss, Needs, Setting, Term
from distill.terms.ckd import SoftCrossEntropy
from priors.errors import InputError


@dataclass(frozen=True)
class ClassMeans(Term):
    """Cross-entropy of the student's softened posterior with the teacher's mean one for images of the class.

    What ckd approximates without images. The teacher sees each training image once, before the student is trained.
    """

    needs = Needs(class_means=True)
    paper = "a control for ckd, from Seo, Lee and Kwak 2021, equations 7 and 9, with images for draws from the prior"
    beside = 0.1

    weight: float = 0.9
    """Of the loss in the objective; as of ckd."""
    temperature: float = 4.0
    """T, of the student's posterior and of the teacher's; as of ckd."""
    others: Literal["own", "even"] = "own"
    """What a soft label gives to the other classes: to each its own share, or to all the same (label smoothing)."""

    def __post_init__(self):
        """Refuse what cannot be followed."""
        super().__post_init__()
        self.require("temperature", 0 < self.temperature < float("inf"), "a positive number")

    def build(self, setting: Setting) -> Loss:
        """The loss, with its table of targets.

        Raises:
            InputError: another number of classes, or soft labels that are none.
        """
        if setting.student.classes != setting.teacher.classes:
            raise InputError(
                f"the student has {setting.student.classes} classes and the teacher {setting.teacher.classes}: "
                "class-means compares them one by one"
            )
        classes = setting.student.classes
        table = class_rows("class_means", setting.class_means(self.temperature), classes, classes)
        _require_soft_labels(table)
        return SoftCrossEntropy(table, self.temperature, self.others)


def _require_soft_labels(table: Tensor) -> None:
    for row, total in enumerate(table.double().sum(1).tolist()):
        if not abs(total - 1) <= 1e-4:  # nor is NaN near one
            raise InputError(f"class_means gave class {row} soft labels that sum to {total:g}: 1 was expected")
