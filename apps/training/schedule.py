"""The learning rate as a function of the step, so that resuming needs no scheduler's state."""

import math

from apps.command.config import Optimisation


def learning_rate(config: Optimisation, step: int, steps: int, warmup_steps: int) -> float:
    """The learning rate of the update number `step` (from 0) of `steps`.

    It rises linearly over `warmup_steps`, then is constant, falls along a half cosine or a line to `final_lr` times the
    peak at the last step, or is multiplied by `decay` at each of the `milestones` (by default the wide residual
    networks' schedule, arXiv 1605.07146: divided by 5 after 30, 60 and 80 % of the steps), or after each update
    ("exponential").

    Example:
        >>> config = Optimisation(lr=1.0, schedule="cosine")
        >>> [round(learning_rate(config, step, 11, 0), 3) for step in (0, 5, 10)]
        [1.0, 0.5, 0.0]
    """
    if step < warmup_steps:
        return config.lr * (step + 1) / (warmup_steps + 1)
    done = (step - warmup_steps) / max(1, steps - 1 - warmup_steps)
    if config.schedule == "cosine":
        return config.lr * (config.final_lr + (1 - config.final_lr) * (1 + math.cos(math.pi * min(done, 1.0))) / 2)
    if config.schedule == "linear":
        return config.lr * (1 - (1 - config.final_lr) * min(done, 1.0))
    if config.schedule == "step":
        return config.lr * config.decay ** _passed(config, step, steps)
    if config.schedule == "exponential":
        return config.lr * config.decay ** (step - warmup_steps)
    return config.lr


def resets_momentum(config: Optimisation, step: int, steps: int) -> bool:
    """Whether the update number `step` (from 0) of `steps` begins with fresh momentum.

    That is the first update after each milestone, where `config` asks for it. The public code of Heo et al. (2019,
    arXiv 1904.01866) makes a new optimiser there.

    Example:
        >>> config = Optimisation(optimizer="sgd", schedule="step", milestones=(0.5,), reset_momentum=True)
        >>> [resets_momentum(config, step, 5) for step in range(5)]
        [False, False, False, True, False]
    """
    return config.reset_momentum and _passed(config, step, steps) > _passed(config, step - 1, steps)


def _passed(config: Optimisation, step: int, steps: int) -> int:
    """How many of the milestones an update comes after."""
    return sum(step >= share * steps for share in config.milestones)
