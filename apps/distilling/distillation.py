"""Training a student on a sum of terms: with the labels, a teacher, or a teacher's prior."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import torch
from torch import Tensor, nn, optim

from apps.command.config import Optimisation
from apps.data.batches import Batch
from apps.data.image_set import ImageSet
from apps.data.mixing import Mixing
from apps.data.sweep import AT_A_TIME
from apps.distilling.device_logits import DeviceLogits
from apps.distilling.jacobian_angle import NAME as ANGLE
from apps.distilling.jacobian_angle import JacobianAngle
from apps.distilling.teacher_logits import TeacherLogits
from apps.models.accuracy import FOLLOWED, means, scores
from apps.models.layout import channels_last
from apps.seeds import generator
from apps.training.task import Criterion, Phase, Task, build_optimizer
from distill.terms.ckd import SoftCrossEntropy
from distill.weighted_sum import Objective
from priors import zoo
from priors.files.tensors import write_tensors
from priors.zoo.wrapped import Wrapped


class Distillation(Task):
    """Train a student on a sum of terms.

    The terms that learn are networks of their own names; what they remember is saved with the state.

    Args:
        objective: what is minimised, with the student and the teacher.
        seed: of what terms draw.
        images: what is scored at each validation, by what it is called: "" for held-out images, "test"; "shifted" and
            "test shifted" where the student's domain is another, and then first.
        pretraining: part of all steps that each term with a phase of its own takes before the student is trained.
        teacher_logits: gives the teacher's logits for a batch instead of running it; None: it runs.
        batch_size: of a whole batch, over all processes and parts; None: that of each batch that comes.
        angle: what measures the angle between both networks' input-Jacobians at each validation; None: nothing.
        still: modules of the student that stay in evaluation mode.
        head_scale: times the learning rate of the others that the student's final layer has.
        mixing: of images, and of targets alike; the teacher sees the mixed images. None: they are not mixed.
    """

    def __init__(
        self,
        objective: Objective,
        seed: int,
        images: Mapping[str, ImageSet],
        *,
        pretraining: float = 0.0,
        teacher_logits: TeacherLogits | DeviceLogits | None = None,
        batch_size: int | None = None,
        angle: JacobianAngle | None = None,
        still: tuple[nn.Module, ...] = (),
        head_scale: float = 1.0,
        mixing: Mixing | None = None,
    ):
        self.objective, self.still, self._head_scale = objective, still, head_scale
        student = objective.student.network
        self.networks = {"model": student, **objective.learnt}
        self.frozen = self._frozen()
        self.seed, self._images = seed, dict(images)
        self.validated = max((min(AT_A_TIME, len(one)) for one in self._images.values()), default=0)
        self.description = {}
        self.averaged = ("model",)
        teacher = () if objective.teacher is None else (objective.teacher.network,)
        self.channels_last = channels_last(student, *teacher)
        own = objective.phases[:-1] if pretraining else ()
        self.phases = (
            *(Phase(name, pretraining, constant=True, lr=objective.terms[name].pretraining_lr) for name in own),
            Phase("train", 1 - pretraining * len(own)),
        )  # fmt: skip
        self.phase = self.phases[0]
        # What a phase trains, another may not; the user's own may have layers that take no part.
        self.partial = len(objective.phases) > 1 or isinstance(student, Wrapped)
        held_out = next((name for name in images if not name.startswith("test")), None)
        self.criterion = None if held_out is None else Criterion(f"{held_out} accuracy".strip(), larger=True)
        self._teacher_logits, self._batch_size, self._angle = teacher_logits, batch_size, angle
        self._mixing, self.mixes = mixing, mixing is not None

    def _frozen(self) -> dict[str, nn.Module]:
        """What is never trained, and moves to the device all the same."""
        objective = self.objective
        teacher = {} if objective.teacher is None else {"teacher": objective.teacher.network}
        memories = {f"memory of {name}": memory for name, memory in objective.memories.items()}
        fixed = {name: piece for name, piece in objective.pieces.items() if name not in objective.learnt}
        return teacher | memories | fixed

    def compiled_by_block(self) -> tuple[nn.Module, ...]:
        """Student and teacher, unless a term trains by derivatives of theirs."""
        if self._derives:
            return ()
        teacher = self.objective.teacher
        return (self.objective.student.network, *(() if teacher is None else (teacher.network,)))

    def compiled_whole(self) -> tuple[nn.Module, ...]:
        """The terms, and what they share."""
        return tuple(self.objective.pieces.values())

    @contextmanager
    def while_compiled(self) -> Iterator[None]:
        """Taps of student and teacher."""
        with ExitStack() as stack:
            for network in (self.objective.student, self.objective.teacher):
                if network is not None and not self._derives:
                    stack.enter_context(network.tapped())
            yield

    @property
    def not_compiled(self) -> str:
        """Both networks, where a term trains by derivatives of theirs."""
        why = "a term trains by derivatives, and compiled networks have none of their derivatives"
        return f"student and teacher go on as they are: {why}" if self._derives else ""

    @property
    def _derives(self) -> bool:
        return any(self.objective.needs(phase).derives for phase in self.objective.phases)

    def trained(self, turn: str) -> tuple[str, ...]:
        """In a term's own phase, what that trains; else the student and all that learns beside it."""
        return tuple("model" if name == "student" else name for name in self.objective.trained(self.phase.name))

    def optimizer(self, turn: str, phase: Phase, config: Optimisation) -> optim.Optimizer:
        """The configured one; in a phase that trains the student by its feature maps, without its final layer."""
        head = () if self._head_scale == 1 else tuple(self.objective.student.head.parameters())
        return build_optimizer([nn.ParameterList(self.objective.trainable(phase.name))], config, head, self._head_scale)

    @property
    def soft_labels(self) -> dict[str, Tensor]:
        """Targets of the terms whose soft labels hang on the class alone, by name: (classes, classes), a row each."""
        losses = self.objective.losses.items()
        return {name: loss.posterior for name, loss in losses if isinstance(loss, SoftCrossEntropy)}

    def losses(self, turn: str, batch: Batch, step: int) -> dict[str, Tensor]:
        """The weighted terms of a batch; in a term's own phase that one alone."""
        phase = self.phase.name
        known = None
        if self._teacher_logits is not None and self.objective.needs(phase).teacher:
            with torch.no_grad():
                known = self._teacher_logits(self.objective.teacher.network, batch)
        shown = None if self._mixing is None else self._mixing.of(batch, step)
        found = self.objective(
            batch.images if shown is None else shown.images,
            batch.labels,
            batch.index,
            phase=phase,
            generator=lambda name: generator(batch.images.device, self.seed, name, step),
            part=self.slice,
            parts=max(1, (self._batch_size or len(batch)) // len(batch)),
            teacher_logits=known,
            prepared={**self.networks, "student": self.networks["model"]},
            passed=self.passed,
            mixed=None if shown is None else (shown.others, torch.full((), shown.weight, device=batch.labels.device)),
        )
        return found.parts

    def validate(self, model, sweep, step) -> dict[str, float]:
        """Accuracy and cross-entropy on held-out, test and shifted test images, and the angle of Jacobians."""
        if self._teacher_logits is not None:  # before a state: what it went through is kept
            self._teacher_logits.settle()
        found = self.scored(model, sweep, FOLLOWED)
        return found if self._angle is None else found | {ANGLE: self._angle.of(model, sweep)}

    def scored(self, model, sweep, names: Sequence[str]) -> dict[str, float]:
        """The named scores on each set of images, see `apps.models.accuracy`."""
        return named_means(self.by_image(model, sweep), names)

    def by_image(self, model, sweep) -> dict[str, dict[str, Tensor]]:
        """By set of images, what is found of each of them, see `apps.models.accuracy`."""
        return {kind: scores(model, sweep, images) for kind, images in self._images.items()}

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
            for name, memory in self.objective.remembered.items()
            for key, tensor in memory.state_dict().items()
        }

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Put back what `state_dict` gave."""
        for name, memory in self.objective.remembered.items():
            memory.load_state_dict(
                {key.removeprefix(f"{name}."): tensor for key, tensor in state.items() if key.startswith(f"{name}.")}
            )


def named_means(rows: Mapping[str, dict[str, Tensor]], names: Sequence[str]) -> dict[str, float]:
    """The means of the named scores, after what the images of each set are called.

    Args:
        rows: by set of images, as `Distillation.by_image` has it.
        names: of scores.
    """
    return {f"{kind} {name}".strip(): value for kind, own in rows.items() for name, value in means(own, names).items()}
