"""What a term of a distillation objective is: a frozen configuration that builds a loss for two networks."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from distill.processes import gather, gather_with_gradients
from distill.trace import Shapes, Trace
from priors.errors import InputError
from priors.model.classifier_prior import ClassifierPrior


@dataclass(frozen=True)
class Setting:
    """What a term is built for.

    Attributes:
        student: shapes of the student's trace.
        teacher: shapes of the teacher's; None where no term needs it.
        labels: of all training images, in their order, for memories.
        prior: of a classifier's penultimate activations, with the same classes; None where no term needs it.
        generator: of what is initialised at random; None: torch's own.
        gather: the rows of all processes under one another, for memories that all of them share.
        gather_with_gradients: the same on the graph, for terms that compare the images of a batch with one another: a
            loss of all rows, on every process, then has the gradient that one process would have.
        class_means: by a temperature, the teacher's mean posterior of each class's training images, (classes, classes),
            a row a class; None where no term needs it.
        activation_means: the teacher's mean penultimate activations of each class's training images, (classes, m), a
            row a class; None where no term needs it.
        student_network: the student itself, to read facts of its modules; not to be kept.
        teacher_network: likewise, such as the statistics of its batch norms; None where no term needs the teacher.
        stage_norms: by one pass of the teacher, the batch norm behind each of its stages (see `distill.stage_norms`);
            None where there is no teacher.
        keyed_draws: whether different images are drawn by a random number for each there is, however many, and no more
            of them than there are, as programs did before runs of format 2.
    """

    student: Shapes
    teacher: Shapes | None = None
    labels: Int64[Tensor, " images"] | None = None
    prior: ClassifierPrior | None = None
    generator: torch.Generator | None = None
    gather: Callable[[Tensor], Tensor] = gather
    gather_with_gradients: Callable[[Tensor], Tensor] = gather_with_gradients
    class_means: Callable[[float], Float[Tensor, "classes classes"]] | None = None
    activation_means: Callable[[], Float[Tensor, "classes m"]] | None = None
    student_network: nn.Module | None = None
    teacher_network: nn.Module | None = None
    stage_norms: Callable[[], tuple[nn.Module | None, ...]] | None = None
    keyed_draws: bool = False


class Shared(ABC):
    """Something that is made once a step and read by every term that asks for it: a request that a term's file defines.

    Subclasses are frozen dataclasses: requests that are equal are one. What `build` gives may be a map with parameters,
    which is trained and saved as one network however many terms read it; or hold facts of the teacher as buffers; or
    take derivatives and hold nothing.

    Attributes:
        needs: what it is computed from; its own `shared` is not looked at.
    """

    needs: ClassVar["Needs"]

    @property
    @abstractmethod
    def name(self) -> str:
        """What its weights are saved as; requests that differ differ in it. Letters, digits, dashes, underscores."""

    @abstractmethod
    def build(self, setting: Setting) -> nn.Module:
        """A module whose `forward(student, teacher)` gives tensors (one, or some in a tuple, dict or dataclass).

        It is called with the traces of a step; the student's is None in a phase that trains a term alone. The teacher's
        is off the graph unless `needs.derives`: then a derivative of it is taken, without a graph of its own.
        """


@dataclass(frozen=True)
class Needs:
    """What a term is computed from, beside the student's logits and the labels.

    Attributes:
        teacher: the teacher's forward pass; where no term needs it, the teacher never runs.
        penultimate: the heads' inputs, of the student and of the teacher where that runs.
        stages: feature maps, likewise.
        prior: a class prior, which stands for a teacher.
        index: each image's position in the training set.
        modules: the teacher's modules, whose facts are read when a term is built; the teacher need not run for that.
        class_means: the teacher's mean posterior of each class, taken once, when the term is built.
        activation_means: its mean penultimate activations of each class, likewise.
        passed: the part of the training that has gone by, for a weight that rises in the beginning.
        derivatives: traces on the graph of their images, so that outputs can be derived in images and layers.
        running: the same, but of the student as it is with running statistics in its batch norms, `Trace.running`:
            another pass where it trains by those of the batch, which make an image's derivatives hang on the others.
        student_layers: names of the student's modules (see `priors.tap`) whose outputs are kept, of any shape.
        teacher_layers: likewise, of the teacher.
        student_biases: names of the student's convolutions, linear layers or batch norms that are kept with their
            effective biases where there are derivatives; or such as `distill.biased_layers.spread` gives.
        teacher_biases: likewise, of the teacher.
        shared: what other terms may ask for as well, and is made once.
    """

    teacher: bool = False
    penultimate: bool = False
    stages: bool = False
    prior: bool = False
    index: bool = False
    modules: bool = False
    class_means: bool = False
    activation_means: bool = False
    passed: bool = False
    derivatives: bool = False
    running: bool = False
    student_layers: tuple[str, ...] = ()
    teacher_layers: tuple[str, ...] = ()
    student_biases: tuple[str, ...] = ()
    teacher_biases: tuple[str, ...] = ()
    shared: tuple[Shared, ...] = ()

    @property
    def teacher_at_all(self) -> bool:
        """Whether there must be a teacher, though it may never run."""
        return self.teacher or self.modules or self.class_means or self.activation_means

    @property
    def derives(self) -> bool:
        """Whether outputs are derived, so that networks are compiled by nobody."""
        return self.derivatives or self.running

    @property
    def more_than_logits(self) -> bool:
        """Whether the teacher has to run even where its logits are known."""
        return bool(self.penultimate or self.stages or self.teacher_layers or self.derives)

    def __or__(self, other: "Needs") -> "Needs":
        """What both ask for."""
        pairs = ((part.name, getattr(self, part.name), getattr(other, part.name)) for part in fields(Needs))
        return Needs(
            **{
                name: tuple(dict.fromkeys((*one, *two))) if isinstance(one, tuple) else one or two
                for name, one, two in pairs
            }
        )


@dataclass(frozen=True)
class Given:
    """What is known of a batch beside its traces.

    Attributes:
        labels: (batch,).
        index: (batch,), each image's position in the training set; None where no term needs it.
        generator: of what is drawn in this step, the same for all parts of a batch, each of which draws for the whole
            and takes its own; None: torch's own.
        part: which part of the batch this is, over processes and accumulated parts, all of one size.
        parts: how many there are.
        pretraining: whether this is the term's own phase, before the student is trained as a whole.
        shared: what was made for each request of `Needs.shared`.
        others: (batch,), the class of what was mixed into each image; None where images are not mixed.
        own: weight of the image's own class in the targets of mixed images.
        passed: (), the part of the phase's steps that has gone by, from 0 to 1; None where no term needs it.
    """

    labels: Int64[Tensor, " batch"]
    index: Int64[Tensor, " batch"] | None = None
    generator: torch.Generator | None = None
    pretraining: bool = False
    part: int = 0
    parts: int = 1
    shared: Mapping[Shared, Any] = field(default_factory=dict)
    others: Int64[Tensor, " batch"] | None = None
    own: Float[Tensor, ""] | None = None
    passed: Float[Tensor, ""] | None = None

    def risen(self, warmup: float) -> Float[Tensor, ""] | float:
        """What a weight is multiplied by that rises from 0 to 1 while a first part of the training goes by.

        Args:
            warmup: that part, in which it rises evenly; 0: it is 1 from the beginning.
        """
        return (self.passed / warmup).clamp(max=1.0) if warmup > 0 else 1.0

    def mean(self, loss: Callable[[Tensor], Tensor]) -> Tensor:
        """A loss of labels that is linear in their targets, for the targets of this batch, which may be mixed.

        Args:
            loss: of (batch,) classes.
        """
        if self.others is None:
            return loss(self.labels)
        return self.own * loss(self.labels) + (1 - self.own) * loss(self.others)


class Loss(nn.Module, ABC):
    """A term for one student and one teacher. Its parameters are trained along with the student.

    Attributes:
        memory: a module with what outlives a step without being trained, as buffers, which `forward` updates in place
            (banks, running constants); None for none. It is no submodule, since what wraps this module for several
            processes would copy its buffers at each step. Whoever trains moves it to the device and saves it.
        least: images that a batch must have in training: 2 where batch norm takes statistics of vectors over them.
    """

    least: int = 1

    memory: nn.Module | None

    def __init__(self, memory: nn.Module | None = None):
        super().__init__()
        object.__setattr__(self, "memory", memory)

    def forward(self, student: Trace | None, teacher: Trace | None, given: Given) -> Float[Tensor, ""]:
        """The unweighted loss, a mean over the batch; no gradient reaches the teacher.

        The student's trace is None in a phase that trains the term alone. Derivatives of the student may be taken here
        (see `distill.derivatives`), those of the teacher in what is `Shared`.
        """
        return self.loss(student, None if teacher is None else teacher.detach(), given)

    def idle(self, pretraining: bool) -> bool:
        """Whether the loss is 0 whatever the traces are, so that nothing need be computed for it."""
        return False

    @abstractmethod
    def loss(self, student: Trace | None, teacher: Trace | None, given: Given) -> Float[Tensor, ""]:
        """The same for a teacher's trace that is off the graph."""


@dataclass(frozen=True)
class Term(ABC):
    """A part of a distillation objective, with its published settings as defaults.

    Final classes, one a file of `distill.terms`, under the name of the file with dashes for underscores.

    Attributes:
        weight: of the loss in the objective.
        needs: what it is computed from; a property where that hangs on the options.
        paper: where it comes from.
        beside: the published weight of cross-entropy beside it.
        beside_terms: by name, weights of other terms that are published beside it, where they differ from their own.
        pretrains: what its own phase before the others trains: "" where it has none, "student" or "term".
        pairs: by the names of teacher and student, published options that differ from the defaults.
        zero: whether the loss is 0 where the student's trace is the teacher's.
        couples: whether it compares the images of a batch with one another, so that parts of a batch are not the whole.
    """

    needs: ClassVar[Needs]
    paper: ClassVar[str]
    beside: ClassVar[float] = 1.0
    beside_terms: ClassVar[Mapping[str, float]] = {}
    pretrains: ClassVar[str] = ""
    pairs: ClassVar[Mapping[tuple[str, str], Mapping[str, float]]] = {}
    zero: ClassVar[bool] = False
    couples: ClassVar[bool] = False

    weight: float = 1.0
    """Of the loss in the objective."""

    def __post_init__(self):
        """Refuse a weight that is none."""
        self.require("weight", 0 <= self.weight < float("inf"), "a number of 0 or more")

    def require(self, field: str, fine: bool, expected: str) -> None:
        """Refuse the value of a field.

        Raises:
            InputError: it is not `fine`.
        """
        if not fine:
            flag = f"--{self.name()}.{field.replace('_', '-')}"
            raise InputError(f"{flag} {getattr(self, field)}: expected {expected}")

    @classmethod
    def name(cls) -> str:
        """What it is called on the command line."""
        return cls.__module__.rpartition(".")[2].replace("_", "-")

    @classmethod
    def for_pair(cls, teacher: str, student: str) -> "Term":
        """The term as it was published for two networks; for others, its defaults.

        Args:
            teacher: its name in the zoo, such as "wrn-40-2".
            student: likewise.

        Example:
            >>> from distill.terms.dkd import DKD
            >>> DKD.for_pair("wrn-40-2", "wrn-16-2").beta, DKD.for_pair("wrn-16-2", "wrn-16-1").beta
            (6.0, 8.0)
        """
        return cls(**cls.pairs.get((teacher, student), {}))

    @property
    def pretraining_lr(self) -> float | None:
        """Learning rate of its own phase; None: that of the training."""
        return None

    @property
    def published_weight(self) -> float:
        """What stands for a weight that is unset."""
        return type(self).weight

    @abstractmethod
    def build(self, setting: Setting) -> Loss:
        """The loss for these two networks.

        Raises:
            InputError: shapes that do not fit; both are named.
        """


def paired(term: Term, setting: Setting, count: int | None = None) -> tuple[tuple[tuple, tuple], ...]:
    """The stages of student and teacher, pair by pair.

    Args:
        term: for the message.
        setting: with the shapes of both.
        count: how many a term takes at least; None: one.

    Raises:
        InputError: they have none, too few or another number of them.
    """
    student, teacher = setting.student.stages, setting.teacher.stages
    if len(student) != len(teacher) or len(student) < (count or 1):
        raise InputError(
            f"{term.name()} compares stages one by one ({count or 1} or more), and the student has {len(student)}, the "
            f"teacher {len(teacher)}: name as many of each, by student_taps and teacher_taps (--student-taps and "
            "--teacher-taps)"
        )
    return tuple(zip(student, teacher, strict=True))
