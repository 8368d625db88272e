"""How a network runs whose outputs are derived, and whose derivatives are trained: in full precision."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.overrides import TorchFunctionMode


class DerivedPass(TorchFunctionMode):
    """While it is entered, nothing is computed in half precision, whoever switches autocast on on the way.

    Wrappers for mixed precision switch it on within a network's `forward`, where no context outside of it reaches; so
    each function of torch is called without. The derivative of a derivative has a rounding error for each layer, twice.
    """

    def __torch_function__(self, function: Callable, types: Sequence[type], args: Any = (), kwargs: Any = None) -> Any:
        on = [kind for kind in ("cpu", "cuda") if torch.is_autocast_enabled(kind)]
        try:
            for kind in on:
                torch.set_autocast_enabled(kind, False)
            return function(*args, **(kwargs or {}))
        finally:
            for kind in on:
                torch.set_autocast_enabled(kind, True)
