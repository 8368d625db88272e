"""Whether a student and its teacher have what an objective needs, tried on networks that are not trained."""

from collections.abc import Mapping

import torch

from apps.distilling.settings import Config
from apps.models.named import classifier
from apps.models.trainable import is_own
from distill.combination import needs_of
from distill.objectives import objective
from distill.term import Term
from distill.terms import parse
from priors import ClassifierPrior, zoo
from priors.zoo.registry import trained_weights


def check_fit(config: Config, teacher: str | None, classes: int, image_shape: tuple[int, int, int]) -> None:
    """Build an objective for networks of the architectures that are asked for, and put it away.

    Networks of one's own, and those that start from trained weights, are left to their training.

    Args:
        config: of the distillation.
        teacher: the architecture of a teacher that is still to be trained; None: `config.teacher` is trained.
        classes: how many there are.
        image_shape: (channels, height, width) of the images that both see.

    Raises:
        InputError: a term needs what one of the networks lacks, or layers that do not fit.
    """
    if is_own(config.student) or trained_weights(config.student, {}) is not None:
        return
    terms: Mapping[str, Term] = {name: getattr(config, name.replace("-", "_")) for name in parse(config.terms)}
    needs = needs_of(terms)
    with torch.random.fork_rng():
        options = {} if config.penultimate is None else {"penultimate": config.penultimate}
        student = zoo.build(config.student, classes=classes, image_shape=image_shape, **options)
        if not needs.teacher_at_all and not needs.prior:
            return
        if teacher is None:
            other = classifier(config.teacher, config.foreign)
        else:
            other = zoo.build(teacher, classes=classes, image_shape=image_shape).eval()
        objective(
            terms,
            student=student,
            teacher=other if needs.teacher_at_all else None,
            prior=ClassifierPrior.from_classifier(other, 1.0) if needs.prior else None,
            class_means=lambda temperature: torch.full((classes, classes), 1 / classes),
            activation_means=lambda: torch.ones(classes, other.head.in_features),
            image_shape=image_shape,
            labels=torch.arange(classes),
            student_taps=config.student_taps,
            teacher_taps=config.teacher_taps,
            teacher_norms=config.teacher_norms,
        )
