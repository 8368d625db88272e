"""Slopes of a loss: what automatic differentiation says beside the finite differences of another implementation."""

from collections.abc import Callable

import numpy as np
from torch import Tensor


def slopes(loss: Callable[[Tensor], Tensor], slow: Callable[[np.ndarray], float], x: Tensor, step: float = 1e-5):
    """Of `loss` at x along three random directions, and of `slow` in double precision."""
    x = x.detach().clone().requires_grad_()
    loss(x).backward()
    gradient, at = x.grad.double().numpy(), x.detach().double().numpy()
    directions = np.random.default_rng(0).normal(size=(3, *x.shape))
    ours = [float((gradient * direction).sum()) for direction in directions]
    theirs = [(slow(at + step * direction) - slow(at - step * direction)) / (2 * step) for direction in directions]
    return np.array(ours), np.array(theirs)


def double(tensor: Tensor) -> np.ndarray:
    """The same numbers for NumPy."""
    return tensor.detach().double().numpy()
