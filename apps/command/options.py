"""The options that a configuration has on the command line: their names, and the rules of their values."""

from collections.abc import Iterator
from dataclasses import MISSING, dataclass, fields, is_dataclass
from functools import cache
from numbers import Integral, Real
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import tyro

from apps.command.ranges import ANY_FLOAT, ANY_INT, Choices, Range, Rule
from priors.errors import InputError

ONE_OR_MORE = tyro.conf.arg(help_behavior_hint="(one or more are required)")
"""Of words by their places that are at least one: the parser calls an empty list a default."""
REQUIRED = tyro.conf.arg(help_behavior_hint="(required)")
"""Of an option that has to be given: its configuration refuses the empty default."""

_FALLBACK = {int: ANY_INT, float: ANY_FLOAT}


@dataclass(frozen=True)
class Option:
    """One flag, or one word without a flag.

    Attributes:
        flag: as it is typed, such as --batch-size; RUN for a word by its place.
        path: names of the fields that lead to its value.
        rule: of the value, or of each value of several; None where all are fine that have its type.
        kind: the type of the value, or of each value of several; bool of a switch, which is turned on and off by
            --name and --no-name (--section.no-name).
        named: whether a flag is typed.
        count: how many values follow; None: any number.
        optional: whether none unsets it.
        required: whether it has to be given.
    """

    flag: str
    path: tuple[str, ...]
    rule: Rule | None
    kind: type
    named: bool
    count: int | None
    optional: bool
    required: bool

    @property
    def switch(self) -> bool:
        """Whether it has no value."""
        return self.kind is bool

    @property
    def several(self) -> bool:
        """Whether any number of values follows."""
        return self.count is None

    @property
    def expected(self) -> str:
        """What a value has to be, in words."""
        words = self.rule.words if isinstance(self.rule, Choices | Range) else ""
        if self.kind in (int, float):
            number = "a whole number" if self.kind is int else "a number"
            words = words if words.startswith(number) else f"{number}, {words}"
        words = words or ("a path" if self.kind is Path else "a text")
        return f"{words}, or none" if self.optional or (self.several and self.named) else words

    def unsets(self, value: str) -> bool:
        """Whether a value as it is typed says that there is none."""
        return self.optional and value.lower() == "none"

    def reads(self, value: str) -> bool:
        """Whether a value as it is typed is of its type."""
        if self.kind not in (int, float) or self.unsets(value) or (self.several and value == "none"):
            return True
        try:
            self.kind(value)
        except ValueError:
            return False
        return True

    def refuses(self, value: str) -> str | None:
        """What is expected instead of a number as it is typed that is out of its range; None where it is fine."""
        if self.kind not in (int, float) or value.lower() == "none" or not isinstance(self.rule, Range):
            return None
        return self.rule.refusal(self.kind(value))

    @property
    def spellings(self) -> tuple[str, ...]:
        """All that may be typed for it."""
        section, dot, name = self.flag[2:].rpartition(".")
        return (self.flag, f"--{section}{dot}no-{name}") if self.switch else (self.flag,)


@cache
def options_of(kind: type) -> tuple[Option, ...]:
    """The options of a configuration, in the order of their fields, those of its sections among them."""
    return tuple(_options(kind, (), ""))


def check_values(config: Any, stored: bool = False) -> None:
    """Hold the values of a configuration to the rules of its flags.

    Args:
        config: of a verb, or a section of it.
        stored: whether it is of a run that is there already.

    Raises:
        InputError: one is out of its range, or no name that there is: the flag, the value and what is expected.
    """
    for option in options_of(type(config)):
        value = config
        for name in option.path:
            value = getattr(value, name)
        values = value if isinstance(value, tuple) else (value,)
        for one in values:
            said = _other_kind(option, one) or _refusal(option.rule, one, stored)
            if said:
                raise InputError(f"{option.flag} {' '.join(map(str, values))}: {said}{_each(values)}")


def _refusal(rule: Rule | None, value: Any, stored: bool) -> str | None:
    if rule is None or value is None or isinstance(value, bool) or (stored and getattr(rule, "lenient", False)):
        return None
    return rule.refusal(value)


def _other_kind(option: Option, value: Any) -> str | None:
    """What is expected instead of a value of another type, which only Python can give: no parser was asked."""
    if option.kind not in (int, float, str) or (value is None and (option.optional or option.several)):
        return None
    kind = {int: Integral, float: Real, str: str}[option.kind]
    return None if isinstance(value, kind) and not isinstance(value, bool) else f"expected {option.expected}"


def _each(values: tuple) -> str:
    return ", of each" if len(values) > 1 else ""


def _options(kind: type, path: tuple[str, ...], prefix: str) -> Iterator[Option]:
    for part in fields(kind):
        hint, marks = bare(_hints(kind)[part.name])
        if tyro.conf.Suppress[int].__metadata__[0] in marks:
            continue
        name = next(
            (mark.name for mark in marks if isinstance(mark, type(tyro.conf.arg(name="x"))) and mark.name), part.name
        ).replace("_", "-")
        if is_dataclass(hint):
            inner = prefix if tyro.conf.OmitArgPrefixes[int].__metadata__[0] in marks else f"{prefix}{name}."
            yield from _options(hint, (*path, part.name), inner)
            continue
        named = tyro.conf.Positional[int].__metadata__[0] not in marks
        flag = f"--{prefix}{name}" if named else part.name.upper()
        one, count, optional = _plain(hint)
        required = part.default is MISSING and part.default_factory is MISSING
        yield Option(flag, (*path, part.name), _rule(kind, part.name), one, named, count, optional, required)


def _plain(hint: Any) -> tuple[type, int | None, bool]:
    """The plain type of one value, how many there are (None: any number), and whether there may be none."""
    inner = get_args(hint)
    if get_origin(hint) in (Union, UnionType) and NoneType in inner:
        one, count, _ = _plain(bare(next(kind for kind in inner if kind is not NoneType))[0])
        return one, count, True
    if get_origin(hint) is tuple:
        return _plain(bare(inner[0])[0])[0], None if inner[1:] == (Ellipsis,) else len(inner), False
    return (str if get_origin(hint) is Literal else hint), 1, False


@cache
def _hints(kind: type) -> dict[str, Any]:
    return get_type_hints(kind, include_extras=True)


def bare(hint: Any) -> tuple[Any, tuple]:
    """A type without the annotations around it, and those."""
    if get_origin(hint) is Annotated:
        return hint.__origin__, hint.__metadata__
    return hint, ()


def _rule(kind: type, name: str) -> Rule | None:
    """The rule of a field. A section that gives another default need not say it again: that of its base holds."""
    for base in kind.__mro__:
        if is_dataclass(base) and name in _hints(base):
            found = next((part for part in _parts(_hints(base)[name]) if isinstance(part, Rule)), None)
            if found is not None:
                return found
    parts = list(_parts(_hints(kind)[name]))
    names = next((get_args(part) for part in parts if get_origin(part) is Literal), None)
    return Choices(names) if names else next((_FALLBACK[part] for part in parts if part in (int, float)), None)


def _parts(hint: Any) -> Iterator[Any]:
    """All types and annotations that a type is made of."""
    yield from bare(hint)[1]
    inner = bare(hint)[0]
    if get_origin(inner) in (Union, UnionType, tuple):
        for part in get_args(inner):
            yield from _parts(part)
    else:
        yield inner
