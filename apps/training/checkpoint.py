"""The state of a training as tensors and JSON: optimisers, random-number generators, and the files of one state folder.

Nothing here is pickled: an optimiser's tensors go to safetensors under `index.key`, its numbers and groups to JSON.
"""

from typing import Any

import torch
from torch import Tensor

from priors.errors import InputError


def optimizer_state(optimizer: torch.optim.Optimizer) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Split an optimiser's state into tensors, named `index.key`, and a JSON-able rest.

    Returns:
        The tensors, and `{"groups": [...], "numbers": {"index.key": number}}`.
    """
    state = optimizer.state_dict()
    tensors: dict[str, Tensor] = {}
    numbers: dict[str, Any] = {}
    for index, entries in state["state"].items():
        for key, value in entries.items():
            if isinstance(value, Tensor):
                tensors[f"{index}.{key}"] = value
            else:
                numbers[f"{index}.{key}"] = value
    groups = [
        {key: (float(value) if isinstance(value, Tensor) else value) for key, value in group.items()}
        for group in state["param_groups"]
    ]
    return tensors, {"groups": groups, "numbers": numbers}


def load_optimizer_state(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor], rest: dict[str, Any]) -> None:
    """Put back what `optimizer_state` took out, laid out in memory as the parameters are.

    A file knows no strides, and fused optimisers read parameter and state side by side as they lie in memory: a state
    that lies otherwise (beside a channels-last weight) would be applied to the wrong elements, without a word.

    Raises:
        InputError: the state is of an optimiser over other parameters.
    """
    state: dict[int, dict[str, Any]] = {}
    for name, value in (*tensors.items(), *rest["numbers"].items()):
        index, key = name.split(".", 1)
        state.setdefault(int(index), {})[key] = value
    groups = [
        {**group, "betas": tuple(group["betas"])} if "betas" in group else dict(group) for group in rest["groups"]
    ]
    try:
        optimizer.load_state_dict({"state": state, "param_groups": groups})
    except (ValueError, KeyError) as error:
        raise InputError(f"the optimiser state does not fit this run's networks ({error})") from None
    for parameter, entries in optimizer.state.items():
        for key, value in entries.items():
            if isinstance(value, Tensor) and value.shape == parameter.shape:
                entries[key] = torch.empty_like(parameter, dtype=value.dtype, device=value.device).copy_(value)


def random_state(device: torch.device) -> dict[str, Tensor]:
    """The state of torch's global generators, which networks with dropout draw from."""
    states = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        states["cuda"] = torch.cuda.get_rng_state(device)
    return states


def load_random_state(states: dict[str, Tensor], device: torch.device) -> None:
    """Put back what `random_state` took; a generator that this machine lacks is left out."""
    torch.set_rng_state(states["cpu"])
    if device.type == "cuda" and "cuda" in states:
        torch.cuda.set_rng_state(states["cuda"], device)
