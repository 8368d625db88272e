"""Modules of the user's own: import:package.module:factory on the command line, never from a file."""

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from apps.command.own_code import allow, described, factory_of
from priors.errors import InputError
from priors.remarks import remark


def made(
    given: str, *arguments: object, settings: Sequence[str] = (), offered: Mapping[str, object] | None = None
) -> tuple[torch.nn.Module, dict[str, str]]:
    """What a factory gives, which is looked for in the current folder and in the environment.

    Args:
        given: import:package.module:factory[,SETTING=VALUE...].
        arguments: what the factory is called with.
        settings: names that may be set.
        offered: by name, what it is called with where it takes an argument of that name.

    Returns:
        the module, and what was set.

    Raises:
        InputError: no such module or factory, one that raises or gives no torch.nn.Module, or another setting.
    """
    allow(given)
    factory, factory_name, found = factory_of(given, settings)
    named = _taken(factory, offered or {})
    shown = ", ".join([*map(str, arguments), *(f"{name}={_short(value)}" for name, value in named.items())])
    try:
        network = factory(*arguments, **named)
    except (torch.OutOfMemoryError, MemoryError):
        raise
    except (Exception, SystemExit) as error:
        called = f"it is called with {shown}" if shown else "it is called without arguments"
        raise InputError(f"{given}: {factory_name}({shown}) raised {described(error)}; {called}") from error
    if not isinstance(network, torch.nn.Module):
        raise InputError(
            f"{given}: {factory_name}({shown}) gave a {type(network).__name__}, expected a torch.nn.Module"
        )
    return network, found


def in_single_precision(network: torch.nn.Module, model: str) -> None:
    """Bring weights of fewer digits to single precision, in which images and all that is measured are.

    They keep their values; a CPU takes half precision twenty times as long. Double precision stays as it is.
    """
    weights = (weight.dtype for weight in network.parameters() if weight.is_floating_point())
    short = {dtype for dtype in weights if torch.finfo(dtype).bits < 32}
    if short:
        named = " and ".join(sorted(str(dtype).removeprefix("torch.") for dtype in short))
        remark(f"The weights of {model} are {named}: they are read, and the network is run, in float32.")
        network.float()


def _taken(factory: Any, offered: Mapping[str, object]) -> dict[str, object]:
    """Those of the arguments that a factory names."""
    try:
        parameters = inspect.signature(factory).parameters.values()
    except (TypeError, ValueError):  # what is not written in Python may not say
        return {}
    named = {one.name for one in parameters if one.kind in (one.POSITIONAL_OR_KEYWORD, one.KEYWORD_ONLY)}
    return {name: value for name, value in offered.items() if name in named}


def _short(value: object) -> str:
    """A value for a message, of long lists the first few."""
    if isinstance(value, tuple) and len(value) > 4:
        return f"({', '.join(map(repr, value[:3]))}, ... {len(value)} in all)"
    return repr(value)
