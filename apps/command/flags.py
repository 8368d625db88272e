"""How a verb's configuration becomes flags, and what its help looks like."""

import io
import re
import shutil
import textwrap
from collections.abc import Sequence
from contextlib import redirect_stderr
from dataclasses import replace
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin

import tyro
from tyro.constructors import ConstructorRegistry, PrimitiveConstructorSpec, PrimitiveTypeInfo

from apps.command.launch import is_first
from apps.command.options import bare, check_values
from apps.command.words import check_words
from priors.errors import InputError

Config = TypeVar("Config")

_METAVARS = {str: "STR", int: "INT", float: "FLOAT", Path: "PATH"}


def parse(kind: type[Config], verb: str, description: str, arguments: Sequence[str]) -> Config:
    """The configuration that a verb's arguments mean.

    Raises:
        InputError: no such option, one given twice, a word too many or missing, a value of another type or out of its
            range, or one that the configuration refuses.
        SystemExit: help was printed.
    """
    check_words(kind, verb, arguments)
    written = io.StringIO()
    try:
        with redirect_stderr(written):
            config = tyro.cli(
                kind,
                prog=f"penult {verb}",
                description=_wrapped(description),
                args=list(arguments),
                **parser_settings(),
                console_outputs=is_first(),
            )
    except SystemExit as stop:
        refused = _refusal(stop)
        if refused is not None:
            raise InputError(str(refused)) from None
        if stop.code:
            raise InputError(f"{_unframed(written.getvalue())}; see penult {verb} --help") from None
        raise
    check_values(config)
    return config


def parser_settings() -> dict[str, Any]:
    """What tyro is told of how options are typed and shown."""
    return {"config": (tyro.conf.PositionalMetavarFromFieldName,), "registry": _registry()}


def _refusal(stop: SystemExit) -> InputError | None:
    """The error behind an exit: the parser turns what a configuration raises into a message of its own."""
    error: BaseException | None = stop
    while error is not None and not isinstance(error, InputError):
        error = error.__context__
    return error


def _unframed(message: str) -> str:
    """What the parser says in a box, without the box: for what is found by the parser alone."""
    lines = (re.sub(r"[\u2500-\u257f|]|[-+]{3,}", " ", line).strip() for line in message.splitlines())
    kept = [line for line in lines if line and not line.startswith("For full helptext")]
    return " ".join(kept) or "the options were not understood"


def _wrapped(description: str) -> str:
    """Paragraphs folded to the terminal; indented, since the parser joins lines that begin with a letter."""
    width = min(100, shutil.get_terminal_size((100, 24)).columns)
    paragraphs = description.strip().split("\n\n")
    return "\n".join(
        "\n".join(textwrap.wrap(" ".join(paragraph.split()), width, initial_indent="  ", subsequent_indent="  "))
        for paragraph in paragraphs
    )


def _registry() -> ConstructorRegistry:
    """How values are typed and shown, beside the parser's own ways.

    What may be unset looks like the rest in help (`--patience INT`), and `--patience none` unsets it; so do several
    values.
    """
    registry = ConstructorRegistry()

    @registry.primitive_rule
    def optional(info: PrimitiveTypeInfo) -> PrimitiveConstructorSpec | None:
        kinds = get_args(info.type)
        if info.type_origin not in (Union, UnionType) or NoneType not in kinds or len(kinds) != 2:
            return None
        kind = bare(next(kind for kind in kinds if kind is not NoneType))[0]
        spec = _some(get_args(kind)) if get_origin(kind) is tuple else _spec(kind)
        return spec and replace(
            spec,
            nargs=spec.nargs if spec.nargs == 1 else (1, spec.nargs),
            instance_from_str=lambda words: None if words[0].lower() == "none" else spec.instance_from_str(words),
            is_instance=lambda value: value is None or spec.is_instance(value),
            str_from_instance=lambda value: ["none"] if value is None else spec.str_from_instance(value),
            choices=spec.choices and (*spec.choices, "none"),
        )

    @registry.primitive_rule
    def several(info: PrimitiveTypeInfo) -> PrimitiveConstructorSpec | None:
        inner = get_args(info.type)
        if info.type_origin is not tuple or inner[1:] != (Ellipsis,):
            return None
        spec = _spec(bare(inner[0])[0])
        return spec and PrimitiveConstructorSpec(
            nargs="*",
            metavar=f"[{spec.metavar} [{spec.metavar} ...]]",
            instance_from_str=lambda words: (
                () if words == ["none"] else tuple(spec.instance_from_str([word]) for word in words)
            ),
            is_instance=lambda value: isinstance(value, tuple) and all(map(spec.is_instance, value)),
            str_from_instance=lambda value: [str(one) for one in value] or ["none"],
            choices=spec.choices and (*spec.choices, "none"),
        )

    return registry


def _some(kinds: Sequence[Any]) -> PrimitiveConstructorSpec | None:
    """How a fixed number of values of one plain type is typed."""
    spec = None if Ellipsis in kinds else _spec(bare(kinds[0])[0])
    return spec and PrimitiveConstructorSpec(
        nargs=len(kinds),
        metavar=" ".join([spec.metavar] * len(kinds)),
        instance_from_str=lambda words: tuple(spec.instance_from_str([word]) for word in words),
        is_instance=lambda value: isinstance(value, tuple) and len(value) == len(kinds),
        str_from_instance=lambda value: [str(one) for one in value],
    )


def _spec(kind: Any) -> PrimitiveConstructorSpec | None:
    """How one value of a plain type is typed; None for other types, which the parser knows."""
    if get_origin(kind) is Literal:
        choices = get_args(kind)
        return PrimitiveConstructorSpec(
            nargs=1,
            metavar="{" + ",".join(choices) + "}",
            choices=choices,
            instance_from_str=lambda words: words[0],
            is_instance=lambda value: value in choices,
            str_from_instance=lambda value: [value],
        )
    if kind not in _METAVARS:
        return None
    return PrimitiveConstructorSpec(
        nargs=1,
        metavar=_METAVARS[kind],
        instance_from_str=lambda words: kind(words[0]),
        is_instance=lambda value: isinstance(value, kind) or (kind is float and isinstance(value, int)),
        str_from_instance=lambda value: [str(value)],
    )
