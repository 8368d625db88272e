"""A sum of terms for a student, a teacher and a prior: one module, for any training loop.

This file is not called `objective.py`: once that had been imported, `from distill import objective` would give the
module, and no longer the function.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Literal

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from distill.combination import comparing, needs_of
from distill.followed import Followed, followed
from distill.stage_norms import norms_of
from distill.term import Setting, Term
from distill.terms import parse, terms
from distill.weighted_sum import Objective
from priors.errors import InputError
from priors.model.classifier_prior import ClassifierPrior


def objective(
    sum_of_terms: str | Mapping[str, Term],
    *,
    student: nn.Module,
    teacher: nn.Module | None = None,
    prior: ClassifierPrior | None = None,
    class_means: Callable[[float], Float[Tensor, "classes classes"]] | None = None,
    activation_means: Callable[[], Float[Tensor, "classes m"]] | None = None,
    image_shape: tuple[int, int, int] | None = None,
    labels: Int64[Tensor, " images"] | None = None,
    student_taps: Sequence[str] = (),
    teacher_taps: Sequence[str] = (),
    student_penultimate: str | None = None,
    teacher_penultimate: str | None = None,
    teacher_norms: Literal["running", "batch"] = "running",
    generator: torch.Generator | None = None,
) -> Objective:
    """A sum of terms as one module: its call on a batch gives the weighted sum and its parts.

    Networks are any modules that give logits for images. What is compared is found by `priors.tap`, by the names of
    modules; classifiers of the zoo name their own.

    Args:
        sum_of_terms: such as "ce+ckd+attention", with published settings; or configured terms by name, such as
            {"ce": CE(), "attention": Attention(weight=500.0)} from the files of `distill.terms`.
        student: to be trained.
        teacher: where a term needs it.
        prior: where a term needs it (ckd).
        class_means: where a term needs it (class-means): by a temperature, the teacher's mean posterior of each class's
            training images, a row a class.
        activation_means: where a term needs it (nd): a function that gives the teacher's mean penultimate activation of
            each class's training images, a row a class.
        image_shape: (channels, height, width); None: the student's own, where it is of the zoo.
        labels: of all training images, in their order, where a term remembers them (crd).
        student_taps: names of the student's modules that give its stages.
        teacher_taps: likewise, one for each of the student's.
        student_penultimate: name of the tap that gives the student's penultimate activations, such as "head:input";
            None: the input of its final linear layer.
        teacher_penultimate: likewise.
        teacher_norms: statistics of the teacher's batch norm: "running", those it was trained to, or each "batch"'s.
        generator: of what is initialised at random, on the CPU; None: torch's own.

    Raises:
        InputError: an unknown term, something missing that a term needs, a tap that does not exist, or shapes that do
            not fit.

    Example:
        >>> student = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
        >>> teacher = nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
        >>> both = objective("ce+hinton", student=student, teacher=teacher, image_shape=(1, 8, 8))
        >>> both.weights
        {'ce': 0.1, 'hinton': 0.9}
        >>> found = both(torch.rand(5, 1, 8, 8), torch.arange(5))
        >>> list(found.parts), found.total.requires_grad
        (['ce', 'hinton'], True)
    """
    if isinstance(sum_of_terms, str):
        chosen = {name: terms()[name]() for name in parse(sum_of_terms)}
    else:
        chosen = dict(sum_of_terms)
    needs, words = needs_of(chosen), "+".join(chosen)
    shape = image_shape or getattr(student, "image_shape", None)
    if shape is None:
        raise InputError("the student does not say what images it takes: give image_shape, (channels, height, width)")
    if needs.teacher_at_all and teacher is None:
        raise InputError(f"{words} looks at a teacher: give teacher, a module")
    if needs.prior and prior is None:
        raise InputError(f"{words} needs a prior: give prior, as ClassifierPrior.from_classifier makes one")
    if needs.class_means and not callable(class_means):
        raise InputError(f"{words} needs the teacher's mean posterior of each class: give class_means, a function")
    if needs.activation_means and not callable(activation_means):
        raise InputError(
            f"{words} needs the teacher's mean penultimate activations of each class: give activation_means, a function"
        )
    comparers = comparing(chosen)
    pupil = followed(student, shape, needs, "student", student_taps, student_penultimate, comparers)
    master = None
    if needs.teacher_at_all:
        master = followed(teacher, shape, needs, "teacher", teacher_taps, teacher_penultimate, comparers)
    setting = setting_for(pupil, master, labels, prior, generator, class_means, activation_means)
    return Objective(chosen, pupil, master, setting, teacher_norms)


def setting_for(
    student: Followed,
    teacher: Followed | None,
    labels: Int64[Tensor, " images"] | None = None,
    prior: ClassifierPrior | None = None,
    generator: torch.Generator | None = None,
    class_means: Callable[[float], Float[Tensor, "classes classes"]] | None = None,
    activation_means: Callable[[], Float[Tensor, "classes m"]] | None = None,
) -> Setting:
    """What terms are built for: two networks, and what is known beside them (see `Setting`)."""
    return Setting(
        student.shapes,
        None if teacher is None else teacher.shapes,
        None if labels is None else labels.cpu(),
        prior,
        generator,
        class_means=class_means,
        activation_means=activation_means,
        student_network=student.network,
        teacher_network=None if teacher is None else teacher.network,
        stage_norms=None if teacher is None else partial(norms_of, teacher),
    )
