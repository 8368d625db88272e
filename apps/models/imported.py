"""Modules of the user's own: import:package.module:factory on the command line, never from a file."""

from collections.abc import Sequence

import torch

from apps.command.own_code import allow, described, factory_of
from priors.errors import InputError


def made(given: str, *arguments: object, settings: Sequence[str] = ()) -> tuple[torch.nn.Module, dict[str, str]]:
    """What a factory gives, which is looked for in the current folder and in the environment.

    Args:
        given: import:package.module:factory[,SETTING=VALUE...].
        arguments: what the factory is called with.
        settings: names that may be set.

    Returns:
        the module, and what was set.

    Raises:
        InputError: no such module or factory, one that raises or gives no torch.nn.Module, or another setting.
    """
    allow(given)
    factory, factory_name, found = factory_of(given, settings)
    shown = ", ".join(map(str, arguments))
    try:
        network = factory(*arguments)
    except Exception as error:
        called = f"it is called with {shown}" if arguments else "it is called without arguments"
        raise InputError(f"{given}: {factory_name}({shown}) raised {described(error)}; {called}") from error
    if not isinstance(network, torch.nn.Module):
        raise InputError(
            f"{given}: {factory_name}({shown}) gave a {type(network).__name__}, expected a torch.nn.Module"
        )
    return network, found
