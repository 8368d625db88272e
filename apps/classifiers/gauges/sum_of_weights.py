"""What becomes of the sum of a final layer's weights while it is trained.

The gradient of the cross-entropy by the rows w_i is the mean of (p_i - y_i) a over images of activations a. Both
probabilities p and targets y sum to one over the classes, so the gradients of all rows sum to zero: stochastic gradient
descent, with momentum or without, never changes the sum of the rows. Weight decay by lambda adds lambda w_i to each
gradient, and the sum shrinks: in plain descent by the product of (1 - lr_t lambda), with momentum .9 by about
exp(-lambda sum_t lr_t / (1 - .9)). Adam divides each entry by the size of its own gradients, and has no such law.
"""

import numpy as np
from jaxtyping import Float

from apps.command.config import Optimisation
from apps.training.schedule import learning_rate, resets_momentum
from apps.training.task import MOMENTUM


def has_law(config: Optimisation) -> bool:
    """Whether the sum of the weights that a run keeps follows from its settings alone."""
    return config.optimizer in ("sgd", "momentum") and config.ema is None


def kept(config: Optimisation, steps: int) -> Float[np.ndarray, " moments"]:
    """The sum of the weights after each update over that before the first, by the optimiser's own recursion.

    The first number is 1, and there are steps + 1.

    Args:
        config: for which there is a law.
        steps: planned updates of the training.

    Example:
        >>> [round(float(value), 3) for value in kept(Optimisation(optimizer="momentum", lr=0.1, weight_decay=1.0), 3)]
        [1.0, 0.9, 0.72, 0.486]
    """
    warmup = round(config.warmup * steps / config.epochs)
    values = np.ones(steps + 1)
    moving = 0.0
    for step in range(steps):
        slope = config.weight_decay * values[step]
        moving = (0.0 if resets_momentum(config, step, steps) else MOMENTUM * moving) + slope
        change = slope + MOMENTUM * moving if config.optimizer == "sgd" else moving  # sgd is Nesterov's
        values[step + 1] = values[step] - learning_rate(config, step, steps, warmup) * change
    return values
