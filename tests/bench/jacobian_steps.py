"""Steps of training by slopes, which `bench_jacobians.py training` compares."""

from collections.abc import Callable

import torch
from torch import Tensor, nn, optim

from distill import objective
from distill.biased_layers import spread
from distill.jacobians import slopes
from distill.term import Given, Loss, Needs, Setting, Term
from distill.terms.ce import CE
from priors import zoo

TEACHER, STUDENT, LAYERS, CLASSES = "vgg-9", "vgg-11", 3, 100


def steps(batch: int, device: torch.device) -> dict[str, dict[str, Callable[[], None]]]:
    """Of a batch: with the student's own slopes, against labels alone; and of distillation, against `ce+hinton`."""
    images = torch.rand(batch, 3, 32, 32, device=device).contiguous(memory_format=torch.channels_last)
    labels = torch.arange(batch, device=device) % CLASSES
    layers = spread(LAYERS)
    named = network(STUDENT, device).named_modules()
    last = tuple(name for name, module in named if isinstance(module, nn.BatchNorm2d))[-LAYERS:]
    own = {
        "labels": {"ce": CE()},
        "bias-Jacobians of three layers": {"ce": CE(), "own": Own(False, layers)},
        "of the last three layers": {"ce": CE(), "own": Own(False, last)},
        "input-Jacobian": {"ce": CE(), "own": Own(True, ())},
        "both": {"ce": CE(), "own": Own(True, layers)},
    }
    words = ("ce+hinton", "ce+bias-jacobian", "ce+jacobian", "ce+full-jacobian")
    return {
        f"a step of {STUDENT}, {batch} images": {
            name: step_of(terms, images, labels, teacher=False) for name, terms in own.items()
        },
        f"and from {TEACHER}": {name: step_of(name, images, labels, teacher=True) for name in words},
    }


def network(name: str, device: torch.device) -> nn.Module:
    """Not trained, channels last."""
    torch.manual_seed(0)
    made = zoo.build(name, classes=CLASSES, image_shape=(3, 32, 32), mean=0.5, std=0.25)
    return made.to(device, memory_format=torch.channels_last)


def step_of(terms, images: Tensor, labels: Tensor, teacher: bool) -> Callable[[], None]:
    """Forward, backward and SGD."""
    student = network(STUDENT, images.device).train()
    total = objective(terms, student=student, teacher=network(TEACHER, images.device) if teacher else None)
    optimizer = optim.SGD(total.trainable(), 1e-3, 0.9, fused=True)

    def step() -> None:
        total(images, labels).total.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return step


class Own(Term):
    """The size of the student's own slopes: what a term of them costs without a teacher.

    Args:
        image: whether that in the image is one.
        layers: whose bias-Jacobians are.
    """

    paper = "none"

    def __init__(self, image: bool, layers: tuple[str, ...]):
        object.__setattr__(self, "weight", 1.0)
        object.__setattr__(self, "given", (image, layers))

    @property
    def needs(self) -> Needs:
        return Needs(running=True, student_biases=self.given[1])

    def build(self, setting: Setting) -> Loss:
        return _Own(*self.given)


class _Own(Loss):
    def __init__(self, image: bool, layers: tuple[str, ...]):
        super().__init__()
        self.image, self.layers = image, layers

    def loss(self, student, teacher, given: Given) -> Tensor:
        found = slopes(student.running, self.image, self.layers)
        parts = ([found.image] if self.image else []) + list(found.biases)
        return sum(part.square().sum() for part in parts) / len(student.logits)
