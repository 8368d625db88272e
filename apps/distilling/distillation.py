"""Training a student on a sum of terms: with the labels, a teacher, or a teacher's prior."""

from collections.abc import Callable, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn, optim

from apps.command.config import Optimisation
from apps.data.image_set import ImageSet
from apps.models.accuracy import scores
from apps.seeds import generator
from apps.training.task import Criterion, Phase, Task, build_optimizer
from distill.term import Given, Loss, Needs, Setting, Term
from distill.trace import Shapes, Trace, shapes, trace
from priors import zoo
from priors.errors import InputError
from priors.storage import write_tensors
from priors.zoo import Classifier

METRICS = ("accuracy", "cross-entropy")
"""Of the student, on each set of images."""
_NORMS = (nn.modules.batchnorm._BatchNorm,)


@dataclass(frozen=True)
class Followed:
    """A network and what is kept of its forward pass.

    Attributes:
        network: student or teacher.
        stages: names of the taps that give its feature maps.
        penultimate: name of the tap that gives its head's input; None: not kept.
        shapes: of all that.
    """

    network: Classifier
    stages: tuple[str, ...]
    penultimate: str | None
    shapes: Shapes

    def run(self, prepared: nn.Module, images: Tensor) -> Trace:
        """A trace by the network as it is prepared for training."""
        return trace(prepared, images, self.stages, self.penultimate)


def followed(
    network: Classifier, image_shape: tuple[int, int, int], needs: Needs, taps: tuple[str, ...], who: str
) -> Followed:
    """What of a network's forward pass the terms need, and its shapes, by one dry pass.

    Args:
        network: student or teacher.
        image_shape: of what it is given.
        needs: of all terms.
        taps: names of the stages; empty: the network's own.
        who: "student" or "teacher".

    Raises:
        InputError: a tap that does not exist (the nearest is offered) or gives no feature maps, no stages at all, or a
            network that cannot take such images.
    """
    stages = (taps or network.stages) if needs.stages else ()
    if needs.stages and not stages:
        raise InputError(
            f"the {who} has no stages of its own to compare: name modules that give feature maps by --{who}-taps"
        )
    penultimate = network.penultimate_tap if needs.penultimate else None
    try:
        found = shapes(network, image_shape, stages, penultimate)
    except InputError as error:
        raise InputError(f"the {who}: {error}") from None
    except (RuntimeError, TypeError, ValueError) as error:  # a module of the user's own
        shown, said = "x".join(map(str, image_shape)), str(error).partition("\n")[0]
        raise InputError(f"the {who} cannot take images of {shown} (channels x height x width): {said}") from None
    return Followed(network, stages, penultimate, found)


def needs_of(terms: Mapping[str, Term]) -> Needs:
    """What any of the terms is computed from."""
    every = [term.needs for term in terms.values()]
    return Needs(
        **{part: any(getattr(needs, part) for needs in every) for part in ("teacher", "penultimate", "stages", "prior")}
    )


def weights_of(terms: Mapping[str, Term]) -> dict[str, float]:
    """The weight of each term; unset, it is what the term's variant was published with.

    For the labels it is the largest that the others were published with.

    Example:
        >>> from distill.terms import terms
        >>> weights_of({name: terms()[name]() for name in ("ce", "hinton")})
        {'ce': 0.1, 'hinton': 0.9}
    """
    beside = max((term.beside for name, term in terms.items() if name != "ce"), default=1.0)
    unset = {name: beside if name == "ce" else term.published_weight for name, term in terms.items()}
    return {name: unset[name] if term.weight is None else term.weight for name, term in terms.items()}


class Distillation(Task):
    """Train a student on a sum of terms.

    The terms that learn are networks of their own names; what they remember is saved with the state.

    Args:
        student: trained in place.
        teacher: frozen; None where no term needs one.
        terms: by name, as they are built by `setting`.
        setting: what they are built for; its shapes are those of `student` and `teacher`.
        seed: of what terms draw.
        images: what is scored at each validation, by what it is called: "" for held-out images, "test"; "shifted" and
            "test shifted" where the student's domain is another, and then first.
        pretraining: part of all steps that each term with a phase of its own takes before the student is trained.
        teacher_norms: "running" statistics in the teacher's batch norm, or those of each "batch".
        teacher_logits: gives the teacher's logits for a batch instead of running it; None: it runs.
        batch_size: of a whole batch, over all processes and parts; None: that of each batch that comes.

    Raises:
        InputError: shapes that do not fit.
    """

    def __init__(
        self,
        student: Followed,
        teacher: Followed | None,
        terms: Mapping[str, Term],
        setting: Setting,
        seed: int,
        images: Mapping[str, ImageSet],
        *,
        pretraining: float = 0.0,
        teacher_norms: str = "running",
        teacher_logits: Callable[[nn.Module, object], Tensor] | None = None,
        batch_size: int | None = None,
    ):
        self._student, self._teacher, self._terms = student, teacher, dict(terms)
        self._weights = weights_of(terms)
        self._losses: dict[str, Loss] = {name: term.build(setting) for name, term in terms.items()}
        self._memories = {name: loss.memory for name, loss in self._losses.items() if loss.memory is not None}
        learning = {name: loss for name, loss in self._losses.items() if any(True for _ in loss.parameters())}
        self.networks = {"model": student.network, **learning}
        self.frozen = {
            **({} if teacher is None else {"teacher": teacher.network}),
            **{f"memory of {name}": memory for name, memory in self._memories.items()},
            **{name: loss for name, loss in self._losses.items() if name not in learning},
        }
        self.seed, self._images = seed, dict(images)
        self.description = {}
        self.averaged = ("model",)
        self.channels_last = any(isinstance(module, nn.Conv2d) for module in student.network.modules())
        own = [name for name, term in terms.items() if term.pretrains] if pretraining else []
        self.phases = (
            *(Phase(name, pretraining, constant=True) for name in own), Phase("train", 1 - pretraining * len(own))
        )  # fmt: skip
        self.phase = self.phases[0]
        self.partial = any(term.pretrains for term in terms.values())  # what a phase trains, another may not
        held_out = next((name for name in images if not name.startswith("test")), None)
        self.criterion = None if held_out is None else Criterion(f"{held_out} accuracy".strip(), larger=True)
        self._norms, self._teacher_logits, self._batch_size = teacher_norms, teacher_logits, batch_size

    def trained(self, turn: str) -> tuple[str, ...]:
        """In a term's own phase, what that trains; else the student and all that learns beside it."""
        name = self.phase.name
        if name == "train":
            return tuple(self.networks)
        return (
            (name,) if self._terms[name].pretrains == "term" else ("model", *((name,) if name in self.networks else ()))
        )

    def optimizer(self, turn: str, phase: Phase, config: Optimisation) -> optim.Optimizer:
        """The configured one; in a phase that trains the student by its feature maps, without its final layer.

        Nothing would train that but weight decay, which would shrink it.
        """
        if phase.name == "train" or self._terms[phase.name].pretrains != "student":
            return super().optimizer(turn, phase, config)
        head = {id(parameter) for parameter in self._student.network.head.parameters()}
        others = [
            parameter
            for name in self.trained(turn)
            for parameter in self.networks[name].parameters()
            if id(parameter) not in head
        ]
        return build_optimizer([nn.ParameterList(others)], config)

    @property
    def soft_labels(self) -> Tensor | None:
        """The targets of ckd, (classes, classes), a row a class; None without it."""
        found = (loss.posterior for loss in self._losses.values() if hasattr(loss, "posterior"))
        return next(found, None)

    def losses(self, turn: str, batch, step: int) -> dict[str, Tensor]:
        """The weighted terms of a batch; in a term's own phase that one alone."""
        alone = None if self.phase.name == "train" else self.phase.name
        names = tuple(self._losses) if alone is None else (alone,)
        names = tuple(name for name in names if not self._losses[name].idle(alone is not None))
        teacher = self._teach(batch) if any(self._terms[name].needs.teacher for name in names) else None
        untouched = alone is not None and self._terms[alone].pretrains == "term"
        student = None if untouched else self._student.run(self.networks["model"], batch.images)
        found = {}
        for name in names:
            given = Given(
                batch.labels,
                batch.index,
                generator(batch.images.device, self.seed, name, step),
                pretraining=alone is not None,
                part=self.slice,
                parts=max(1, (self._batch_size or len(batch)) // len(batch)),
            )
            loss = self.networks[name] if name in self.networks else self._losses[name]
            found[name] = self._weights[name] * loss(student, teacher, given)
        if alone is not None and self._terms[alone].pretrains == "student":
            # Several processes wait for what the logits depend on: its gradient is 0 where nothing else is.
            found[alone] = found[alone] + 0.0 * student.logits.float().sum()
        return found

    @torch.no_grad()
    def _teach(self, batch) -> Trace:
        network = self._teacher.network
        if self._teacher_logits is not None:
            return Trace(self._teacher_logits(network, batch))
        if self._norms == "running":
            return self._teacher.run(network, batch.images)
        with batch_statistics(network):
            return self._teacher.run(network, batch.images)

    def validate(self, model, sweep, step) -> dict[str, float]:
        """Accuracy and cross-entropy on held-out, test and shifted test images."""
        found = {}
        for name, images in self._images.items():
            scored = scores(model, sweep, images)
            found |= {f"{name} {metric}".strip(): float(scored[metric].mean()) for metric in METRICS}
        return found

    def save(self, folder: Path, networks: dict[str, nn.Module]) -> None:
        """Write the student as the zoo saves classifiers, and the terms that learned beside it."""
        zoo.save(networks["model"], folder)
        for name, network in networks.items():
            if name != "model":
                write_tensors(folder / f"{name}.safetensors", network.state_dict())

    def state_dict(self) -> dict[str, Tensor]:
        """What the terms remember."""
        return {
            f"{name}.{key}": tensor
            for name, memory in self._memories.items()
            for key, tensor in memory.state_dict().items()
        }

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Put back what `state_dict` gave."""
        for name, memory in self._memories.items():
            memory.load_state_dict(
                {key.removeprefix(f"{name}."): tensor for key, tensor in state.items() if key.startswith(f"{name}.")}
            )


@contextmanager
def batch_statistics(network: nn.Module):
    """Batch norm by the batch's own statistics while the context is open; the running ones stay as they are."""
    norms = [module for module in network.modules() if isinstance(module, _NORMS)]
    kept = [(module, module.training, module.track_running_stats) for module in norms]
    try:
        for module in norms:
            module.training, module.track_running_stats = True, False
        yield
    finally:
        for module, training, tracking in kept:
            module.training, module.track_running_stats = training, tracking
