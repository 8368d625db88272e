"""Traces of made-up networks, for terms of every kind."""

import torch

from distill.term import Given, Setting
from distill.trace import Shapes, Trace
from priors import ClassifierPrior

IMAGES, CLASSES = 60, 5
STUDENT = Shapes(CLASSES, 16, ((8, 8, 8), (12, 4, 4), (16, 2, 2)))
TEACHER = Shapes(CLASSES, 20, ((10, 8, 8), (14, 4, 4), (20, 2, 2)))


def trace_of(shapes: Shapes, batch: int, seed: int, dtype=torch.float32) -> Trace:
    """Numbers of these shapes, on the graph."""
    seeded = torch.Generator().manual_seed(seed)

    def draw(*shape):
        return torch.randn(batch, *shape, generator=seeded, dtype=dtype).requires_grad_()

    penultimate = None if shapes.penultimate is None else draw(shapes.penultimate)
    return Trace(draw(shapes.classes), penultimate, tuple(draw(*stage) for stage in shapes.stages))


def setting_of(student: Shapes = STUDENT, teacher: Shapes | None = TEACHER) -> Setting:
    """For 60 training images of 5 classes, twelve of each."""
    seeded = torch.Generator().manual_seed(0)
    weight = torch.randn(student.classes, 12, generator=seeded)
    return Setting(
        student,
        teacher,
        torch.arange(IMAGES) % student.classes,
        ClassifierPrior.from_weight(weight, 20),
        torch.Generator().manual_seed(1),
    )


def given_of(batch: int, seed: int = 0, pretraining: bool = False) -> Given:
    """Some of the 60 images, with a generator of the step."""
    index = torch.randperm(IMAGES, generator=torch.Generator().manual_seed(seed))[:batch]
    return Given(index % CLASSES, index, torch.Generator().manual_seed(seed), pretraining)
