"""Traces of made-up networks, for terms of every kind."""

import math
from dataclasses import replace

import torch
from torch import nn

from distill.combination import needs_of
from distill.term import Given, Setting, Term
from distill.trace import Shapes, Trace
from priors import ClassifierPrior

IMAGES, CLASSES, IMAGE = 60, 5, (1, 4, 4)
STUDENT = Shapes(CLASSES, 16, ((8, 8, 8), (12, 4, 4), (16, 2, 2)))
TEACHER = Shapes(CLASSES, 20, ((10, 8, 8), (14, 4, 4), (20, 2, 2)))


def trace_of(shapes: Shapes, batch: int, seed: int, dtype=torch.float32) -> Trace:
    """Numbers of these shapes, on the graph."""
    seeded = torch.Generator().manual_seed(seed)

    def draw(*shape):
        return torch.randn(batch, *shape, generator=seeded, dtype=dtype).requires_grad_()

    penultimate = None if shapes.penultimate is None else draw(shapes.penultimate)
    return Trace(draw(shapes.classes), penultimate, tuple(draw(*stage) for stage in shapes.stages))


def chained_trace_of(shapes: Shapes, batch: int, seed: int, dtype=torch.float32) -> Trace:
    """Such numbers that hang a little on one another, as in a network: logits on activations, those on the images."""
    seeded = torch.Generator().manual_seed(seed)
    before = images = torch.rand(batch, *IMAGE, generator=seeded, dtype=dtype).requires_grad_()

    def draw(*shape):
        nonlocal before
        numbers = torch.randn(batch, *shape, generator=seeded, dtype=dtype)
        slopes = torch.randn(before[0].numel(), math.prod(shape), generator=seeded, dtype=dtype) / 100
        before = numbers + (before.flatten(1).tanh() @ slopes).view(numbers.shape)
        before.retain_grad()
        return before

    layers = {name: draw(*shape) for name, shape in shapes.layers.items()}
    stages = tuple(draw(*stage) for stage in shapes.stages)
    penultimate = None if shapes.penultimate is None else draw(shapes.penultimate)
    widths = {name: shapes.layers[name][0] for name in shapes.biased}
    biases = {name: torch.randn(width, generator=seeded, dtype=dtype) for name, width in widths.items()}
    found = Trace(draw(shapes.classes), penultimate, stages, layers, images, biases, given_of(batch).labels)
    return replace(found, running=found)


def shapes_for(term: Term) -> tuple[Shapes, Shapes]:
    """The shapes of student and teacher, with the layers that a term asks for."""
    needs = needs_of({"it": term})
    plain = needs.student_layers, needs.teacher_layers
    biased = needs.student_biases, needs.teacher_biases
    return tuple(
        replace(
            shapes,
            layers={name: (12,) for name in names} | {name: (6, side, side) for name in own},
            biased={name: name for name in own},
        )
        for shapes, names, own, side in zip((STUDENT, TEACHER), plain, biased, (8, 4), strict=True)
    )


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
        class_means=lambda temperature: torch.eye(student.classes).div(temperature).softmax(1),
        activation_means=lambda: torch.randn(student.classes, teacher.penultimate, generator=seeded),
        student_network=_normed(student),
        teacher_network=None if teacher is None else (network := _normed(teacher)),
        stage_norms=None if teacher is None else lambda: tuple(network),
    )


def _normed(shapes: Shapes) -> nn.Module:
    """A network with a batch norm for each of its stages; it is read and does not run."""
    return nn.Sequential(*(nn.BatchNorm2d(channels) for channels, *_ in shapes.stages))


class Built(nn.Module):
    """A term's loss with what it shares with others, as an objective holds them."""

    def __init__(self, term: Term, setting: Setting):
        super().__init__()
        self.loss = term.build(setting)
        self.requests, self.derivatives = term.needs.shared, needs_of({"it": term}).derives
        self.shared = nn.ModuleList(request.build(setting) for request in self.requests)

    @property
    def memory(self) -> nn.Module | None:
        return self.loss.memory

    def forward(self, student: Trace | None, teacher: Trace | None, given: Given):
        shared = {}
        with torch.set_grad_enabled(torch.is_grad_enabled() or self.derivatives):
            for request, module in zip(self.requests, self.shared, strict=True):
                seen = teacher if teacher is None or request.needs.derives else teacher.detach()
                shared[request] = module(student, seen)
            return self.loss(student, teacher, replace(given, shared=shared))


def given_of(batch: int, seed: int = 0, pretraining: bool = False) -> Given:
    """Some of the 60 images, with a generator of the step."""
    index = torch.randperm(IMAGES, generator=torch.Generator().manual_seed(seed))[:batch]
    return Given(index % CLASSES, index, torch.Generator().manual_seed(seed), pretraining, passed=torch.tensor(1.0))
