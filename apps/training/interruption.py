"""Being asked to stop: Ctrl-C and SIGTERM let the step under way end, so that its state can be saved."""

import signal
from contextlib import contextmanager

import torch
from accelerate import Accelerator


class StopRequest:
    """Whether this process, or another that trains with it, was asked to stop.

    Attributes:
        asked: whether this one was.
    """

    def __init__(self, accelerator: Accelerator):
        self.asked = False
        self._accelerator = accelerator

    @contextmanager
    def listening(self):
        """Note the signals instead of dying of them; a second one stops at once.

        Not where there are several processes: their launcher passes on the Ctrl-C that they got already, and has a
        patience of its own. Where an error ends one of them, its launcher asks the others to stop as well; they note
        that until the command ends, or they could not say why it does.
        """

        def ask(number, frame):
            if self.asked and self._accelerator.num_processes == 1:
                raise KeyboardInterrupt
            self.asked = True

        try:
            before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
        except ValueError:  # not the main thread: whoever owns it decides
            before = {}
        ended = False
        try:
            yield
            ended = True
        finally:
            for number, handler in before.items() if ended or self._accelerator.num_processes == 1 else ():
                signal.signal(number, handler)

    @property
    def noticed_at_once(self) -> bool:
        """Whether this process may stop at any step, without asking the others whether they will."""
        return self.asked and self._accelerator.num_processes == 1

    def agreed(self) -> bool:
        """Whether any process was asked: all of them call this at the same step, and get the same answer."""
        if self._accelerator.num_processes == 1:
            return self.asked
        flag = torch.tensor([float(self.asked)], device=self._accelerator.device)
        return bool(self._accelerator.reduce(flag, reduction="sum").item() > 0)
