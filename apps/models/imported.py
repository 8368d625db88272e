"""Modules of the user's own: import:package.module:factory on the command line, never from a file."""

import importlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from priors.errors import InputError, unknown

_named: set[str] = set()
"""What this command line has named."""


def allow(given: str) -> None:
    """Let a run that was made with this code of the user's own be read: the command line names it."""
    _named.add(given)


def require(given: str, run: Path) -> None:
    """Whether code that a run's files name has been named on the command line as well.

    Raises:
        InputError: it has not: nothing is run because a file says so.
    """
    if given not in _named:
        raise InputError(f"{run} was made with {given}, which is code: name it as well, by --allow {given}, to run it")


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
    place, *extras = given.removeprefix("import:").split(",")
    module_name, _, factory_name = place.rpartition(":")
    if not module_name or not factory_name:
        more = "".join(f"[,{name}=FILE.safetensors]" for name in settings)
        raise InputError(f"{given}: expected import:package.module:factory{more}")
    found = dict(extra.partition("=")[::2] for extra in extras)
    for name in found:
        if name not in settings:
            raise unknown("setting", name, settings)
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        module = importlib.import_module(module_name)
    except Exception as error:  # the user's code may raise anything
        where = "it is looked for in the current folder and in the environment"
        raise InputError(f"{given}: {module_name} cannot be imported ({described(error)}); {where}") from error
    factory = getattr(module, factory_name, None)
    if not callable(factory):
        known = [name for name in vars(module) if callable(vars(module)[name])]
        raise unknown(f"factory of {module_name}", factory_name, known)
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


def described(error: Exception) -> str:
    """An error by its kind and its first line."""
    text = str(error).partition("\n")[0]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
