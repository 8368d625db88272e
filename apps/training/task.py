"""What the training loop asks of a task: its networks, its turns and its losses. A task knows nothing of accelerate."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import reduce
from operator import add
from pathlib import Path

from torch import Tensor, nn, optim

from apps.command.config import Optimisation
from apps.data.batches import Batch
from apps.runs.format import FORMAT
from apps.training.compiling import Compiled
from priors.files.json_files import write_json
from priors.files.tensors import write_tensors

Sweep = Callable[..., dict[str, Tensor]]
"""`sweep(images, function)`: `function(batch)` over a set, sharded over processes, gathered in the order of the set."""
MOMENTUM = 0.9
"""Of the optimisers sgd and momentum."""


@dataclass(frozen=True)
class Phase:
    """A stretch of training with optimisers of its own."""

    name: str
    """What it is called in the metrics."""
    share: float = 1.0
    """Part of all steps that it takes; the shares of a task's phases sum to 1."""
    constant: bool = False
    """Whether the learning rate stays at its peak, whatever the schedule of the others."""
    lr: float | None = None
    """That peak; None: the configured one."""

    def plan(self, config: Optimisation) -> Optimisation:
        """How the learning rate goes in this phase."""
        changes = {"schedule": "constant", "reset_momentum": False} if self.constant else {}
        return replace(config, **changes, lr=config.lr if self.lr is None else self.lr)


@dataclass(frozen=True)
class Criterion:
    """Which validation metric says that a checkpoint is better."""

    metric: str
    """Name in what `validate` returns."""
    larger: bool
    """Whether larger is better."""
    from_step: int = 0
    """First step at which patience counts (after a warm-up, say)."""


class Task(ABC):
    """One thing to train. The loop fills `networks` with prepared modules and calls only their `forward` in training.

    Attributes:
        networks: by name, each with trainable parameters; the one called "model" is what the run is for and what
            `model.safetensors` holds.
        frozen: by name, networks that are only evaluated (teachers, priors); moved to the device and never trained.
        description: JSON-able, how to build "model" again: written to `model.json`.
        seed: of every stream the task draws from.
        averaged: names of the networks of which averages are kept, where the configuration asks for any; None: of all.
        validated: images that `validate` runs "model" on at a time, to tell the memory by; 0: on none.
        channels_last: whether images and weights are laid out channels last, which convolutions like.
        partial: whether a turn may leave parameters of the networks that it trains without a gradient, which several
            processes must know of to wait for no more than there is.
        phases: stretches of training with optimisers, learning rates and warm-ups of their own.
        phase: the one under way, set by the loop.
        criterion: what validation metric chooses the best checkpoint; None keeps the last.
        still: modules of the networks that stay in evaluation mode while the rest is trained: frozen parts.
        rank: this process's number among those training together, set by the loop.
        slice: number of the part of the global batch at hand, over processes and accumulated parts, set by the loop
            before `losses`: streams of noise name it, so that no two parts share one.
        compiled: what --compile makes of functions that `losses` calls through it; set by the loop.
        passed: the part of the phase's steps that has gone by, set by the loop before `losses`.
        format: of the run (see `apps.runs.format`), which arithmetic goes by, set by the loop before `start`.
    """

    networks: dict[str, nn.Module]
    frozen: dict[str, nn.Module]
    description: dict
    seed: int = 0
    averaged: tuple[str, ...] | None = None
    validated: int = 0
    channels_last: bool = False
    mixes: bool = False
    partial: bool = False
    still: tuple[nn.Module, ...] = ()
    rank: int = 0
    slice: int = 0
    passed: float = 0.0
    compiled: Compiled = Compiled()
    format: int = FORMAT
    phases: tuple[Phase, ...] = (Phase("train"),)
    phase: Phase = phases[0]
    criterion: Criterion | None = None

    def start(self, batch: Batch) -> None:
        """Initialise from data: once, before the networks are prepared, on the first process's first batch.

        Not on resuming. The other processes get the networks' weights from the first, and nothing else.
        """
        return None

    def example(self, image_shape: tuple[int, int, int]) -> dict[str, tuple[Tensor | None, ...]]:
        """What networks are called with for one image, on the meta device, to tell the memory of a batch by.

        Those that are left out count by their weights alone.
        """
        return {}

    def compiled_by_block(self) -> tuple[nn.Module, ...]:
        """The networks that --compile compiles, block by block."""
        return (*self.networks.values(), *self.frozen.values())

    def compiled_whole(self) -> tuple[nn.Module, ...]:
        """Modules that --compile compiles as wholes: losses, which are given all of what they compare."""
        return ()

    def while_compiled(self) -> AbstractContextManager:
        """What is open from before modules are compiled until they no longer are: taps in them."""
        return nullcontext()

    @property
    def not_compiled(self) -> str:
        """What --compile leaves as it is and why, for a line; nothing where that is nothing."""
        return ""

    def to_training(self, network: nn.Module) -> None:
        """Put one of the networks into training mode, but for what is to stay in evaluation mode."""
        network.train()
        for module in self.still:
            module.training = False

    def turns(self, step: int) -> tuple[str, ...]:
        """The turns of a step (they may depend on `phase`), in order; each draws a batch of its own."""
        return ("train",)

    def trained(self, turn: str) -> tuple[str, ...]:
        """Names of the networks that `turn` trains; the others are frozen during it."""
        return tuple(self.networks)

    def optimizer(self, turn: str, phase: Phase, config: Optimisation) -> optim.Optimizer:
        """The optimiser of a turn; by default what the configuration says, over the networks that the turn trains."""
        return build_optimizer((self.networks[name] for name in self.trained(turn)), config)

    @abstractmethod
    def losses(self, turn: str, batch: Batch, step: int) -> dict[str, Tensor]:
        """The terms whose sum is minimised, each a mean over this process's images, on the device."""

    def validate(self, model: nn.Module, sweep: Sweep, step: int) -> dict[str, float]:
        """Metrics of `model` (the averaged weights, where kept) in evaluation mode; the same on every process."""
        return {}

    def save(self, folder: Path, networks: dict[str, nn.Module]) -> None:
        """Write what the user gets: each network's weights as NAME.safetensors, and how to build "model" again."""
        for name, network in networks.items():
            write_tensors(folder / f"{name}.safetensors", network.state_dict())
        write_json(folder / "model.json", self.description)

    def state_dict(self) -> dict[str, Tensor]:
        """What else must survive: memory banks, running statistics. Tensors only."""
        return {}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Put back what `state_dict` gave."""
        return None


def total(losses: dict[str, Tensor], parts: int = 1) -> Tensor:
    """The sum that is minimised, over `parts` of a batch; nothing is added to zero or divided by one."""
    together = reduce(add, losses.values())
    return together if parts == 1 else together / parts


def build_optimizer(
    networks: Iterable[nn.Module],
    config: Optimisation,
    apart: Collection[nn.Parameter] = (),
    scale: float = 1.0,
    decayed: bool = True,
) -> optim.Optimizer:
    """The configured optimiser, fused: at small sizes an unfused one costs as much as the backward pass.

    Args:
        networks: what of them asks for gradients is trained.
        config: which optimiser, and how.
        apart: those of the parameters that are trained in another way; none: all are trained alike.
        scale: their learning rate, times that of the others, at each step.
        decayed: whether weight decay is for them too.
    """
    parameters = [parameter for network in networks for parameter in network.parameters() if parameter.requires_grad]
    if own := [one for one in parameters if any(one is other for other in apart)]:
        others = [one for one in parameters if all(one is not other for other in own)]
        group = {"params": own, "lr": config.lr * scale, "lr_scale": scale}
        group |= {} if decayed else {"weight_decay": 0.0}
        parameters = [*([{"params": others, "lr_scale": 1.0}] if others else []), group]
    if config.optimizer in ("sgd", "momentum"):
        nesterov = config.optimizer == "sgd"
        return optim.SGD(
            parameters, lr=config.lr, momentum=MOMENTUM, nesterov=nesterov, weight_decay=config.weight_decay, fused=True
        )
    kind = optim.AdamW if config.optimizer == "adamw" else optim.Adam
    return kind(parameters, lr=config.lr, weight_decay=config.weight_decay, fused=True)
