"""A weighted sum of terms as one module: what is learnt, remembered and shared, and which phase trains what."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from distill.combination import needs_of, not_mixable, weights_of
from distill.convolutions import Convolutions
from distill.derived_pass import ValuePass
from distill.followed import Followed, batch_statistics
from distill.processes import place
from distill.term import Given, Needs, Setting, Shared, Term
from distill.trace import Trace
from priors.errors import InputError, unknown

SHARED = "shared-"
"""What the name of a network that several terms share begins with, so that none is a term's."""
TRAIN = "train"
"""The phase in which the student is trained by all terms."""


@dataclass(frozen=True)
class WeightedSum:
    """What an objective is for a batch.

    Attributes:
        total: (), the sum that is minimised.
        parts: by term, its share of the sum: () each, weighted.
    """

    total: Float[Tensor, ""]
    parts: dict[str, Tensor]


class Objective(nn.Module):
    """A weighted sum of terms, as `distill.objective` makes it.

    Its parameters are the maps that are learnt beside the student, its state is those and all that terms remember.
    Student and teacher are not part of it: move, wrap and save them as you do anyway.

    Args:
        chosen: terms by name.
        student: with what is kept of its forward pass.
        teacher: likewise; it is put in evaluation mode and never trained. None where no term needs one.
        setting: what terms are built for.
        teacher_norms: "running" statistics in the teacher's batch norm, or those of each "batch".

    Attributes:
        terms: by name.
        weights: by term: numbers, also where a term's own is unset.
        losses: by term, what it was built as.
        shared: by name, what several terms read.
        memories: by name, what outlives a step without being trained.
        learnt: those of `pieces` that have parameters, by name.
        phases: names of the terms that have a phase of their own, then "train".

    Raises:
        InputError: shapes that do not fit, or a network that gives probabilities where a term looks at its logits.
    """

    def __init__(
        self,
        chosen: Mapping[str, Term],
        student: Followed,
        teacher: Followed | None,
        setting: Setting,
        teacher_norms: Literal["running", "batch"] = "running",
    ):
        super().__init__()
        _check_outputs(chosen, student, teacher)
        self.terms, self.student, self.teacher, self.teacher_norms = dict(chosen), student, teacher, teacher_norms
        self.weights = weights_of(chosen)
        self.losses = nn.ModuleDict({name: term.build(setting) for name, term in chosen.items()})
        self.shared = nn.ModuleDict({request.name: request.build(setting) for request in needs_of(chosen).shared})
        self.memories = nn.ModuleDict(
            {name: loss.memory for name, loss in self.losses.items() if loss.memory is not None}
        )
        self.learnt = {name: module for name, module in self.pieces.items() if any(True for _ in module.parameters())}
        self.phases = (*(name for name, term in chosen.items() if term.pretrains), TRAIN)
        self._needs: dict[tuple[str, ...], Needs] = {}
        if teacher is not None:
            for parameter in teacher.network.eval().parameters():  # its own requires_grad_ torch.jit lacks
                parameter.requires_grad_(False)

    @property
    def pieces(self) -> dict[str, nn.Module]:
        """Losses under their term's name and what they share under "shared-NAME", whether it learns or not."""
        return {**self.losses, **{f"{SHARED}{name}": module for name, module in self.shared.items()}}

    @property
    def remembered(self) -> dict[str, nn.Module]:
        """What outlives a step and is not in `learnt`: memories, and what is shared and has buffers alone."""
        fixed = {f"{SHARED}{name}": module for name, module in self.shared.items()}
        return {**self.memories, **{name: module for name, module in fixed.items() if name not in self.learnt}}

    def trained(self, phase: str = TRAIN) -> tuple[str, ...]:
        """Names of what a phase trains: "student", and names of `learnt`."""
        if phase == TRAIN:
            return ("student", *self.learnt)
        term = self.terms[phase]
        asked = (phase, *(f"{SHARED}{request.name}" for request in term.needs.shared))
        own = tuple(name for name in asked if name in self.learnt)
        return own if term.pretrains == "term" else ("student", *own)

    def trainable(self, phase: str = TRAIN) -> list[nn.Parameter]:
        """What an optimiser of a phase is given.

        In a phase that trains the student by its feature maps, all but its final layer: nothing would train that but
        weight decay, which would shrink it.
        """
        networks = {"student": self.student.network, **self.learnt}
        head = phase != TRAIN and self.terms[phase].pretrains == "student"
        left = {id(parameter) for parameter in self.student.head.parameters()} if head else set()
        every = (parameter for name in self.trained(phase) for parameter in networks[name].parameters())
        return [parameter for parameter in every if id(parameter) not in left]

    def needs(self, phase: str = TRAIN) -> Needs:
        """What the terms that take part in a phase are computed from."""
        names = self._active(phase)
        if names not in self._needs:
            self._needs[names] = needs_of({name: self.terms[name] for name in names})
        return self._needs[names]

    def forward(
        self,
        images: Float[Tensor, "batch channels height width"],
        labels: Int64[Tensor, " batch"],
        index: Int64[Tensor, " batch"] | None = None,
        *,
        phase: str = TRAIN,
        generator: torch.Generator | Callable[[str], torch.Generator] | None = None,
        part: int | None = None,
        parts: int | None = None,
        teacher_logits: Float[Tensor, "batch classes"] | None = None,
        prepared: Mapping[str, nn.Module] | None = None,
        mixed: tuple[Int64[Tensor, " batch"], Float[Tensor, ""]] | None = None,
        passed: float | None = None,
    ) -> WeightedSum:
        """The sum for a batch, on the graph of the student and of all that is learnt.

        Args:
            images: as the networks take them.
            labels: their classes.
            index: their positions in the training set, where a term remembers images.
            phase: one of `phases`: in a term's own, that term alone is computed.
            generator: of what terms draw in this step, the same on all processes; or such a one by a term's name. None:
                torch's own.
            part: which part of a larger batch this is, over processes and accumulated parts; None: the process's rank.
            parts: how many there are, all of one size; None: the number of processes.
            teacher_logits: the teacher's, where they are known already: then it does not run.
            prepared: student and members of `learnt` by their names, as they are wrapped for several processes.
            mixed: where each image has another one mixed in (mixup, CutMix), the classes of those, and the weight of
                the image's own class in the targets; None: images are whole.
            passed: the part of the phase's steps that has gone by, from 0 to 1, where a term's weight rises in the
                beginning (dkd, review).

        Raises:
            InputError: an argument is missing that a term needs, the batch is too small for one, or there is no such
                phase.
        """
        if phase not in self.phases:
            raise unknown("phase", phase, self.phases)
        needs = self.needs(phase)
        _check(needs, index, teacher_logits, passed)
        self.check_batch(len(images), phase)
        if mixed is not None:
            self.check_mixable()
        rank, processes = place()
        others, own = mixed or (None, None)
        given = Given(
            labels,
            index,
            others=others,
            own=own,
            pretraining=phase != TRAIN,
            part=rank if part is None else part,
            parts=processes if parts is None else parts,
            passed=torch.full((), passed, device=labels.device) if needs.passed else None,
        )
        networks = {"student": self.student.network, **self.learnt, **(prepared or {})}
        outside = torch.is_grad_enabled()
        with torch.set_grad_enabled(outside or needs.derives):
            teacher = self._teach(images, needs, teacher_logits, labels) if needs.teacher else None
            found = self._parts(images, phase, given, generator, networks, teacher)
        if not outside:
            found = {name: part.detach() for name, part in found.items()}
        return WeightedSum(sum(found.values()), found)

    def check_batch(self, images: int, phase: str = TRAIN) -> None:
        """Refuse a batch that a term cannot be trained by.

        Args:
            images: how many the batch has, or a process's part of it.
            phase: one of `phases`.

        Raises:
            InputError: a term brings activations to the teacher's width by batch norm, and there is one image.
        """
        for name in self._active(phase):
            loss = self.losses[name]
            if loss.training and images < loss.least:
                raise InputError(
                    f"{name} takes statistics of batch norm over the images of a batch: {loss.least} images or more, "
                    f"not {images}"
                )

    def check_mixable(self) -> None:
        """Refuse images that are mixed of two where a term is of single ones.

        Raises:
            InputError: a term remembers single images, or derives the output of their class.
        """
        for name, term in self.terms.items():
            if why := not_mixable(name, term):
                raise InputError(f"{name} {why}, and mixed images are of two: leave mixup and cutmix out, or {name}")

    def _parts(
        self,
        images: Tensor,
        phase: str,
        given: Given,
        generator: torch.Generator | Callable[[str], torch.Generator] | None,
        networks: Mapping[str, nn.Module],
        teacher: Trace | None,
    ) -> dict[str, Tensor]:
        """The weighted terms of a phase, from the student's one forward pass."""
        needs, alone = self.needs(phase), "" if phase == TRAIN else self.terms[phase].pretrains
        student = None if alone == "term" else self._study(networks["student"], images, needs, given.labels)
        given = replace(given, shared=self._shared(needs.shared, networks, student, teacher))
        teacher = None if teacher is None else teacher.detach()
        found = {}
        for name in self._active(phase):
            drawn = replace(given, generator=generator(name) if callable(generator) else generator)
            loss = networks.get(name, self.losses[name])
            found[name] = self.weights[name] * loss(student, teacher, drawn)
        if alone == "student":
            # Several processes wait for what the logits depend on: its gradient is 0 where nothing else is.
            found[phase] = found[phase] + 0.0 * student.logits.float().sum()
        return found

    def _active(self, phase: str) -> tuple[str, ...]:
        names = self.losses if phase == TRAIN else (phase,)
        return tuple(name for name in names if not self.losses[name].idle(phase != TRAIN))

    def _study(self, prepared: nn.Module, images: Tensor, needs: Needs, labels: Tensor) -> Trace:
        """The student's trace, with one more by running statistics where that is asked for and another."""
        again = needs.running and self.student.couples
        if not needs.derives:
            return self.student.run(prepared, images)
        convolutions = Convolutions()
        with ValuePass(convolutions):
            found = self.student.run(prepared, images, needs.derivatives or not again, convolutions)
        found = replace(found, labels=labels)
        if not needs.running:
            return found
        # After the pass that moves the running statistics on: what a graph holds must not change before its end.
        running = self.student.run_by_running_statistics(prepared, images, convolutions) if again else found
        return replace(found, running=replace(running, labels=labels))

    def _teach(self, images: Tensor, needs: Needs, known: Tensor | None, labels: Tensor) -> Trace:
        """The teacher's trace, which is on a graph only where a derivative is asked for."""
        if known is not None:
            return Trace(known)
        network = self.teacher.network
        norms = batch_statistics(network) if self.teacher_norms == "batch" else nullcontext()
        with norms, torch.no_grad():
            return replace(self.teacher.run(network, images, needs.derives), labels=labels)

    def _shared(
        self,
        requests: Sequence[Shared],
        networks: Mapping[str, nn.Module],
        student: Trace | None,
        teacher: Trace | None,
    ) -> dict[Shared, Any]:
        """What was asked for, each made once."""
        found = {}
        for request in requests:
            module = networks.get(f"{SHARED}{request.name}", self.shared[request.name])
            seen = teacher if teacher is None or request.needs.derives else teacher.detach()
            found[request] = module(student, seen)
        return found


def _check_outputs(chosen: Mapping[str, Term], student: Followed, teacher: Followed | None) -> None:
    """Refuse probabilities where terms take logits: they would go through a softmax a second time."""
    for name, term in chosen.items():
        if term.needs.more_than_logits:
            continue
        for who, network in (("student", student), ("teacher", teacher if term.needs.teacher else None)):
            if network is not None and network.shapes.outputs == "probabilities":
                raise InputError(
                    f"the {who} gives probabilities (for an image they sum to one), and {name} takes logits: leave the "
                    "softmax out of its forward pass"
                )


def _check(needs: Needs, index: Tensor | None, teacher_logits: Tensor | None, passed: float | None) -> None:
    """Refuse a batch that lacks something, or whose teacher is said not to run and must."""
    if needs.passed and (passed is None or not 0 <= passed <= 1):
        raise InputError(
            f"passed is {passed}: a term's weight rises in the beginning, so the part of the training that has gone by "
            "is expected, from 0 to 1, such as step / steps; or set its warmup to 0"
        )
    if needs.index and index is None:
        raise InputError("a term remembers training images: give index, the positions of these among them")
    if teacher_logits is not None and needs.more_than_logits:
        raise InputError("teacher_logits: a term looks at more of the teacher, which has to run; leave them out")
