"""Code of the user's own, import:package.module:factory: it is run where the command line names it, never from a file.

Networks, densities and data sets may be of one's own. A run that was made with one names it in its files, which are
data: they run nothing. So each command that is to run such code says its name again.
"""

import importlib
import os
import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from apps.command.given import runs
from priors.errors import InputError, shown, unknown

_named: set[str] = set()
"""What this command line has named."""


def allow(given: str) -> None:
    """Let a run that was made with this code of the user's own be read: the command line names it.

    It is named whatever is set behind a comma, such as the weights of a network.
    """
    _named.update((given, code_of(given)))


def allow_in_python(given: str) -> None:
    """Do as `allow` does for a program of the user's own, whose text no command line has looked at.

    Raises:
        InputError: it is no name of code.
    """
    if not isinstance(given, str) or not given.startswith("import:"):
        raise InputError(f"allow={shown(given)}: expected import:package.module:factory, as the run was given it")
    allow(given)


def code_of(given: str) -> str:
    """The code that import:package.module:factory[,SETTING=VALUE...] runs, without what is set."""
    return given.partition(",")[0]


def allowing(*given: str) -> str:
    """What a command has to say after a run that was made with all of `given`, after a space; empty where nothing.

    Example:
        >>> allowing("import:mine:net,weights=net.safetensors"), allowing("wrn-16-2")
        (' --allow import:mine:net', '')
        >>> allowing("import:mine:net", "import:mysets:birds")
        ' --allow import:mine:net import:mysets:birds'
    """
    named = dict.fromkeys(shlex.quote(code_of(each)) for each in given if each.startswith("import:"))
    return " ".join([" --allow", *named]) if named else ""


def allow_named(words: Sequence[str]) -> None:
    """Let all code of the user's own that the words of a command line name be run: `import:...` or `--flag=import:...`.

    Example:
        >>> allow_named(["train", "classifier", "--data=import:mine:images"])
        >>> require("import:mine:images", "runs/a")
    """
    for word in words:
        value = word.partition("=")[2] if word.startswith("-") else word
        if value.startswith("import:"):
            allow(value)


def is_named(given: str) -> bool:
    """Whether this command line has named code of the user's own."""
    return given in _named


def require(given: str, made: str | Path) -> None:
    """Refuse code that a run's files name where the command line, or a Python program, has not named it as well.

    Args:
        given: the code.
        made: what was made with it, such as a run's folder.

    Raises:
        InputError: it has not: nothing is run because a file says so.
    """
    if given not in _named:
        how = f"--allow {given}" if runs() else f"allow={given!r}"
        raise InputError(f"{made} was made with {given}, which is code: name it as well, by {how}, to run it")


def factory_of(given: str, settings: Sequence[str] = ()) -> tuple[Callable, str, dict[str, str]]:
    """The factory that is named, which is looked for in the current folder and in the environment; it is not called.

    Args:
        given: import:package.module:factory[,SETTING=VALUE...].
        settings: names that may be set.

    Returns:
        the factory, its name, and what was set.

    Raises:
        InputError: no such module or factory, or another setting.
    """
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
    except (Exception, SystemExit) as error:  # the user's code may raise anything, and be a program that ends
        where = "it is looked for in the current folder and in the environment"
        raise InputError(f"{given}: {module_name} cannot be imported ({described(error)}); {where}") from error
    factory = getattr(module, factory_name, None)
    if not callable(factory):
        known = [name for name in vars(module) if callable(vars(module)[name])]
        raise unknown(f"factory of {module_name}", factory_name, known)
    return factory, factory_name, found


def described(error: BaseException) -> str:
    """An error by its kind and its first line."""
    text = str(error).partition("\n")[0]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
