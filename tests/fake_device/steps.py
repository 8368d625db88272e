"""The steps of a training on the fake device, as the loop takes them: what each logged."""

from collections import Counter
from contextlib import suppress
from dataclasses import dataclass

import fake_cuda
from accelerate.state import AcceleratorState, PartialState
from device_log import OFFENCES, Log

from apps.command.cli import main
from apps.training import loop, session

TAKEN = 2
"""Steps of each phase that are taken; the last is looked at, when nothing is for the first time."""


@dataclass(frozen=True)
class Step:
    """What a step did."""

    phase: str
    log: Log

    @property
    def offences(self) -> list[str]:
        """What no step may do."""
        return self.log.kinds(*OFFENCES)

    @property
    def launches(self) -> int:
        """Of kernels."""
        return sum(self.log.launches.values())


class _Enough(BaseException):
    """All steps that are looked at are taken."""


class Watched:
    """Trains on the fake device, each training until its last phase has had its steps.

    Args:
        patch: pytest's monkeypatch.
        fake: the device.
    """

    def __init__(self, patch, fake):
        self.fake, self._steps, self._on = fake, [], False
        taken, accelerator = loop.Fit.one_step, session.Accelerator

        def one_step(fit, meter):
            fake.log.clear()
            taken(fit, meter)
            phase = fit.task.phase
            self._steps.append(Step(phase.name, Log(Counter(fake.log.found), Counter(fake.log.launches))))
            here = [step for step in self._steps if step.phase == phase.name]
            if phase == fit.task.phases[-1] and len(here) == TAKEN:
                raise _Enough

        def started(**options):
            found = accelerator(**options)
            for state in (PartialState, AcceleratorState) if self._on else ():
                state._shared_state["device"] = fake_cuda.DEVICE
            return found

        patch.setattr(loop.Fit, "one_step", one_step)
        patch.setattr(session, "Accelerator", started)

    def last_steps(self, train) -> dict[str, Step]:
        """By phase the last step of a training, which `train()` begins on the device.

        Args:
            train: what trains, or the words of a command that does.
        """
        self._steps.clear()
        self._on = True
        try:
            with self.fake:
                found = train() if callable(train) else main([str(word) for word in train])
                raise AssertionError(f"ended with {found!r} after {len(self._steps)} steps")
        except _Enough:
            pass
        finally:
            self._on = False
            AcceleratorState._reset_state(reset_partial_state=True)
        return {step.phase: step for step in self._steps}

    def of_several(self, patch, module, name: str, count: int, words) -> dict[str, Step]:
        """By the folder of the run, the last steps of the first trainings of a command that has several.

        Args:
            patch: pytest's monkeypatch.
            module: that has each of them trained by its `name`.
            name: see there.
            count: of the trainings.
            words: of the command.
        """
        train, found = getattr(module, name), {}

        def one(**options):
            with suppress(_Enough):
                self._steps.clear()
                train(**options)
            found[options["run"].folder.name] = self._steps[-1]
            if len(found) == count:
                raise _Enough

        patch.setattr(module, name, one)
        self.last_steps(words)
        return found
