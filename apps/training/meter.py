"""Losses as they come, kept on the device: read once an interval, so that no step waits for the accelerator."""

import torch
from torch import Tensor


class Meter:
    """A window of the last steps' losses by name.

    Args:
        length: steps between two reads.
        device: where the losses are.
    """

    def __init__(self, length: int, device: torch.device):
        self._length = length
        self._device = device
        self._values: dict[str, Tensor] = {}
        self._steps: dict[str, list[int]] = {}

    def add(self, step: int, losses: dict[str, Tensor]) -> None:
        """Keep each loss of a turn at `step`; nothing is read."""
        for name, loss in losses.items():
            if name not in self._values:
                self._values[name] = torch.zeros(self._length, device=self._device)
                self._steps[name] = []
            steps = self._steps[name]
            if len(steps) == len(self._values[name]):  # several turns or parts a step
                self._values[name] = torch.cat([self._values[name], torch.zeros_like(self._values[name])])
            self._values[name][len(steps)].copy_(loss.detach(), non_blocking=True)
            steps.append(step)

    def read(self) -> tuple[dict[str, float], tuple[int, str] | None]:
        """Mean of each loss since the last read, and where one first was not finite: step, name. Empties the window."""
        means: dict[str, float] = {}
        wrong: list[tuple[int, str]] = []
        for name, steps in self._steps.items():
            if not steps:
                continue
            values = self._values[name][: len(steps)].double().cpu()
            means[name] = float(values.mean())
            bad = (~values.isfinite()).nonzero()
            if len(bad):
                wrong.append((steps[int(bad[0])], name))
            steps.clear()
        return means, min(wrong, default=None)
