"""Random draws that come out on a GPU as they do on the CPU, to compare what both make of them."""

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map, tree_unflatten

_RANDOM = {
    "bernoulli", "bernoulli_", "binomial", "cauchy", "cauchy_", "exponential", "exponential_", "geometric",
    "geometric_", "log_normal", "log_normal_", "multinomial", "native_dropout", "normal", "normal_",
    "normal_functional", "poisson", "rand", "rand_like", "randint", "randint_like", "randn", "randn_like", "random",
    "random_", "randperm", "rrelu_with_noise", "rrelu_with_noise_", "uniform", "uniform_", "_sample_dirichlet",
    "_standard_gamma",
}  # fmt: skip


class _Source(torch.Generator):
    """One of the CPU that says it is of the device that was asked for."""

    def __new__(cls, device="cpu"):
        made = super().__new__(cls, "cpu")
        made.on = torch.device(device)
        return made

    @property
    def device(self):
        """What was asked for."""
        return torch.device(self.on.type, self.on.index or 0) if self.on.type != "cpu" else self.on


class SameDraws(TorchDispatchMode):
    """While it is open, what is drawn on another device is drawn on the CPU, and brought there.

    Generators that are made meanwhile are the CPU's.
    """

    def __enter__(self):
        self._usual, torch.Generator = torch.Generator, _Source
        return super().__enter__()

    def __exit__(self, *error):
        torch.Generator = self._usual
        return super().__exit__(*error)

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        name = operation._schema.name.removeprefix("aten::")
        flat, structure = tree_flatten((args, kwargs))
        there = [one.device for one in flat if isinstance(one, Tensor)]
        if kwargs.get("device") is not None:
            there = [torch.device(kwargs["device"])]
        there = [one for one in there if one.type not in ("cpu", "meta")]
        if name not in _RANDOM or not there:
            return operation(*args, **kwargs)
        own, options = tree_unflatten([one.cpu() if isinstance(one, Tensor) else one for one in flat], structure)
        if options.get("device") is not None:
            options = {**options, "device": torch.device("cpu")}
        found = _dropped(*own) if name == "native_dropout" else operation(*own, **options)
        if operation._schema.is_mutable:
            return args[0].copy_(found)
        return tree_map(lambda one: one.to(there[0]) if isinstance(one, Tensor) else one, found)


def _dropped(values: Tensor, rate: float, train: bool | None) -> tuple[Tensor, Tensor]:
    """Dropout as the CPU draws it, which has no operation of its own for it; and what is kept."""
    if train is False:
        return values, torch.ones_like(values, dtype=torch.bool)
    kept = torch.empty_like(values).bernoulli_(1 - rate)
    return values * (kept / (1 - rate)), kept.bool()
