"""How a verb's configuration becomes flags, and what its help looks like."""

import io
import os
import shutil
import sys
import textwrap
from collections.abc import Sequence
from contextlib import redirect_stderr
from pathlib import Path
from types import NoneType, UnionType
from typing import TypeVar, Union, get_args

import tyro
from tyro.constructors import ConstructorRegistry, PrimitiveConstructorSpec, PrimitiveTypeInfo

from priors.errors import InputError

Config = TypeVar("Config")

_METAVARS = {str: "STR", int: "INT", float: "FLOAT", Path: "PATH"}


def parse(kind: type[Config], verb: str, description: str, arguments: Sequence[str]) -> Config:
    """The configuration that a verb's arguments mean.

    Raises:
        InputError: a value that the configuration refuses.
        SystemExit: help was printed (0), or the arguments are no flags of this verb (2, explained on standard error).
    """
    written = io.StringIO()
    try:
        with redirect_stderr(written):
            return tyro.cli(
                kind,
                prog=f"penult {verb}",
                description=_wrapped(description),
                args=list(arguments),
                config=(tyro.conf.PositionalMetavarFromFieldName,),
                registry=_registry(),
                console_outputs=os.environ.get("RANK", "0") == "0",
            )
    except SystemExit as stop:
        refused = _refusal(stop)
        if refused is not None:
            raise InputError(str(refused)) from None
        sys.stderr.write(written.getvalue())
        raise


def _refusal(stop: SystemExit) -> InputError | None:
    """The error behind an exit: the parser turns what a configuration raises into a message of its own."""
    error: BaseException | None = stop
    while error is not None and not isinstance(error, InputError):
        error = error.__context__
    return error


def _wrapped(description: str) -> str:
    """Paragraphs folded to the terminal; indented, since the parser joins lines that begin with a letter."""
    width = min(100, shutil.get_terminal_size((100, 24)).columns)
    paragraphs = description.strip().split("\n\n")
    return "\n".join(
        "\n".join(textwrap.wrap(" ".join(paragraph.split()), width, initial_indent="  ", subsequent_indent="  "))
        for paragraph in paragraphs
    )


def _registry() -> ConstructorRegistry:
    """Values that may be unset look like others in help: `--patience INT`, and `--patience none` unsets one."""
    registry = ConstructorRegistry()

    @registry.primitive_rule
    def optional(info: PrimitiveTypeInfo) -> PrimitiveConstructorSpec | None:
        kinds = get_args(info.type)
        if info.type_origin not in (Union, UnionType) or NoneType not in kinds or len(kinds) != 2:
            return None
        kind = next(kind for kind in kinds if kind is not NoneType)
        if kind not in _METAVARS:
            return None
        return PrimitiveConstructorSpec(
            nargs=1,
            metavar=_METAVARS[kind],
            instance_from_str=lambda words: None if words[0].lower() == "none" else kind(words[0]),
            is_instance=lambda value: (
                value is None or isinstance(value, kind) or (kind is float and isinstance(value, int))
            ),
            str_from_instance=lambda value: ["none" if value is None else str(value)],
        )

    return registry
