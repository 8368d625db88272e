"""What the training of a classifier can be told of weights that are there already. Nothing here imports torch."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from apps.command.config import added
from apps.command.ranges import Range


@dataclass(frozen=True)
class Tuning:
    """Start from weights that are there."""

    init: str | None = added(None, before=None)
    """Start from the weights of a run or an export (its folder), or of a .safetensors file: all that fit by name and
    shape; the final layer is drawn anew where the classes differ; unset: all weights are the architecture's own."""
    freeze: str | None = added(None, before=None)
    """What is not trained: body, all before the final layer; or a stage or another module, and all that comes before
    its end. What --init has no weights for is trained in any case. Batch norm and dropout there are as in evaluation;
    unset: nothing."""
    head_lr: Annotated[float, Range(above=0, most=1e6)] | None = added(None, before=None)
    """Peak learning rate of the final layer, which follows the schedule as the others do; unset: --lr."""

    @property
    def words(self) -> tuple[str, ...]:
        """What the name of a run that is given none says of it."""
        told = {"from-": self.init and Path(self.init).stem, "frozen-": self.freeze, "head-lr": self.head_lr}
        return tuple(f"{word}{value}" for word, value in told.items() if value is not None)

    def head_scale(self, lr: float) -> float:
        """Times the learning rate of the others that the final layer has."""
        return 1.0 if self.head_lr is None else self.head_lr / lr
