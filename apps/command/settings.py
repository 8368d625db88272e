"""Settings from elsewhere: those of another run (--like), and those of a file (--config).

They become words of the command line, where it does not say the same itself, so that one parser reads them all. The
command line goes before the file, the file before the run, and the run before what is usual.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, Field, dataclass, fields
from pathlib import Path
from typing import Any

from apps.command.config import Where, plain
from apps.command.options import Option, options_of
from apps.command.own_code import is_named
from apps.command.spelling import unknown_option
from apps.command.words import Given, check_given, read_words
from priors.errors import InputError, reason, shown
from priors.files.json_files import read_json
from priors.files.regular import read_bytes

ENDINGS = (".yaml", ".yml", ".json")
_DEEPEST = 5
"""Mappings within mappings that a file may have; names of flags have one."""
OWN = {part.name for part in fields(Where)} - {"snapshots"} | {"out", "overwrite", "allow"}
"""Names of fields that are a run's own: where it is, what computes it, and how it is shown. --like takes none."""


_FLAG = re.compile(r"(?<![\w-])--[a-z][\w.-]*\w")


@dataclass(frozen=True)
class Settings:
    """Where else settings come from."""

    like: Path | None = None
    """A finished run of this verb, whose settings are taken where neither the command line nor --config says otherwise;
    its name, its place, its device and your own code (import:...) are not."""
    config: Path | None = None
    """File of settings, .yaml or .json, by the names of the flags; what the command line says goes before it."""


@dataclass(frozen=True)
class Source:
    """Settings from one place.

    Attributes:
        said: the place, for messages.
        values: by the name of the flag, without its dashes, or of the word by its place in small letters.
        strict: whether a name that there is not is refused; else it is passed over.
    """

    said: str
    values: Mapping[str, Any]
    strict: bool


def name_of(option: Option) -> str:
    """What an option is called in a file: its flag without the dashes, or the word's name in small letters."""
    return option.flag[2:] if option.named else option.flag.lower()


def split(words: Sequence[str]) -> tuple[dict[str, Path], list[str]]:
    """What --like and --config are given, and the other words.

    Raises:
        InputError: one of them has no value, or is given twice.
    """
    found: dict[str, Path] = {}
    rest = list(words)
    flags = {f"--{part.name}": part.name for part in fields(Settings)}
    place = 0
    while place < len(rest) and rest[place] != "--":
        flag, equals, value = rest[place].partition("=")
        if flag not in flags:
            place += 1
            continue
        if flags[flag] in found:
            raise InputError(f"{flag} is given twice: leave one out")
        taken = 1 if equals else 2
        value = value if equals else next(iter(rest[place + 1 : place + 2]), "")
        if not value or value.startswith("--"):
            what = "a run's folder" if flag == "--like" else f"a file that ends in {', '.join(ENDINGS)}"
            raise InputError(f"{flag} has no value: expected {what}")
        found[flags[flag]] = Path(value)
        del rest[place : place + taken]
    return found, rest


def file_of_settings(path: Path) -> Source:
    """The settings of a file: a mapping by the names of the flags; a mapping within it is a name with a dot.

    Raises:
        InputError: it is missing, is no YAML or JSON, or no mapping; or a name stands twice.
    """
    if path.suffix.lower() not in ENDINGS:
        raise InputError(f"--config {path}: expected a file of settings that ends in {', '.join(ENDINGS)}")
    said = f"--config {path}"
    found = _json(path, said) if path.suffix.lower() == ".json" else _yaml(path, said)
    if not isinstance(found, dict):
        held = "nothing" if found is None else shown(found)
        raise InputError(f"{said}: expected names of flags with their values, as in epochs: 5; it holds {held}")
    return Source(said, _flat(found, said), strict=True)


def _json(path: Path, said: str) -> Any:
    found = read_json(path, "file of settings")
    # A reader of JSON takes the last of two that have one name.
    text = read_bytes(path, "file of settings").decode()
    json.loads(text, object_pairs_hook=lambda pairs: _check_once([name for name, _ in pairs], said))
    return found


def _yaml(path: Path, said: str) -> Any:
    import yaml  # not before: help is instant

    class Loader(yaml.SafeLoader):
        """As YAML has it, whose names are each there once; this reader takes the last."""

        def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
            _check_once([key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)], said)
            return super().construct_mapping(node, deep)

    text = read_bytes(path, "file of settings")
    try:
        return yaml.load(text.decode(), Loader)  # noqa: S506 (a safe one)
    except InputError:
        raise
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        line = "" if mark is None else f" at line {mark.line + 1}"
        said = getattr(error, "problem", None) or reason(error)
        raise InputError(f"--config {path} is no readable YAML{line}: {said}") from None


def _check_once(names: Sequence[str], said: str) -> None:
    """Refuse a name that is there twice."""
    twice = next((name for number, name in enumerate(names) if name in names[:number]), None)
    if twice is not None:
        raise InputError(f"{said}: {twice} stands there twice: leave one out")


def _flat(values: Mapping[Any, Any], said: str, prefix: str = "") -> dict[str, Any]:
    if prefix.count(".") > _DEEPEST:  # an anchor of YAML may hold itself
        raise InputError(f"{said}: {shown(prefix)}... is nested too deeply for the name of a flag")
    found: dict[str, Any] = {}
    for key, value in values.items():
        if not isinstance(key, str):
            raise InputError(f"{said}: {shown(key)} is no name of a flag")
        name = f"{prefix}{key.removeprefix('--').replace('_', '-')}"
        for inner, one in (_flat(value, said, f"{name}.") if isinstance(value, dict) else {name: value}).items():
            if inner in found:
                raise InputError(f"{said}: {inner} stands there twice: leave one out")
            found[inner] = one
    return found


def completed(
    verb: str, base: type, kind: Callable[[Sequence[str]], type] | None, words: Sequence[str], sources: Sequence[Source]
) -> list[str]:
    """A command's words, and those that settings from elsewhere add.

    Args:
        verb: its name.
        base: its configuration.
        kind: its configuration by the words, where the first one says which options there are; None where none does.
        words: after the verb, without --like and --config.
        sources: the first goes before the others.

    Raises:
        InputError: a name that the verb has not, a value that cannot be, or code of the user's own that the command
            line does not name; and as for `apps.command.words.check_words`.
    """
    words = list(words)
    if kind is not None and (not words or words[0].startswith("-")):
        words = _first_word(base, sources) + words
    own = base if kind is None else kind(words)
    options = options_of(own)
    given = {one.option.flag for one in read_words(words, verb, options)}
    places, flags = [], []
    known = {name_of(option): option for option in options}
    for source in sources:
        for name, value in source.values.items():
            option = known.get(name)
            if option is None:
                if source.strict:
                    _refuse(name, verb, options, source.said)
                continue
            if option.flag in given or not _counts(source, own, option, value):
                continue
            given.add(option.flag)
            said = _said(option, value, verb, source.said)
            (flags if option.named else places).append(said)
    end = words.index("--") if "--" in words else len(words)
    added = [word for said in flags for word in said]
    return [word for said in places for word in said] + words[:end] + added + words[end:]


def _counts(source: Source, own: type, option: Option, value: Any) -> bool:
    """Whether a value from elsewhere becomes words: of a run, what is usual need not be said."""
    return source.strict or option.required or value != usual(own, option)


def origins(verb: str, own: type, words: Sequence[str], sources: Sequence[Source], message: str) -> str:
    """Where those settings are from that a message speaks of and the command line does not give.

    Args:
        verb: its name.
        own: its configuration, by all its words.
        words: after the verb, without --like and --config.
        sources: the first goes before the others.
        message: what is wrong.

    Returns:
        what to add to the message; empty where there is nothing to say.
    """
    if any(source.said in message for source in sources):
        return ""
    options = options_of(own)
    given = {one.option.flag for one in read_words(words, verb, options)}
    named = set(_FLAG.findall(message)) - given
    found = []
    for option in (option for option in options if option.flag in named):
        name = name_of(option)
        where = next(
            (one for one in sources if name in one.values and _counts(one, own, option, one.values[name])), None
        )
        if where is not None and where.values[name] is not None:
            undone = f", and {option.flag} none leaves it out" if option.optional else ""
            found.append(f"{option.flag} is from {where.said}{undone}")
    return f" ({'; '.join(found)})" if found else ""


def _first_word(base: type, sources: Sequence[Source]) -> list[str]:
    name = name_of(next(option for option in options_of(base) if not option.named))
    value = next((source.values[name] for source in sources if name in source.values), None)
    return [value] if isinstance(value, str) and value and not value.startswith("-") else []


def _refuse(name: str, verb: str, options: Sequence[Option], said: str) -> None:
    """Say which name was meant."""
    if any(name == name_of(option) for option in options):
        return
    flags = [spelling for option in options if option.named for spelling in option.spellings]
    places = [f"--{name_of(option)}" for option in options if not option.named]
    raise InputError(f"{said}: {unknown_option(f'--{name}', verb, [*flags, *places])}")


def _said(option: Option, value: Any, verb: str, source: str) -> list[str]:
    """A value as it is typed.

    Raises:
        InputError: it cannot be.
    """
    try:
        words = typed(option, value)
        check_given(Given(option, option.flag, words), f"see penult {verb} --help")
    except InputError as error:
        raise InputError(f"{source}: {error}") from None
    code = next((word for word in words if word.startswith("import:") and not is_named(word)), None)
    if code is not None:
        flag = f"{option.flag} {code}" if option.named else code
        raise InputError(f"{source} names {code}, which is code: give {flag} as well, to run it")
    return spelt(option, value)


def spelt(option: Option, value: Any) -> list[str]:
    """An option with its value as it is typed, for a value as JSON has it.

    Raises:
        InputError: it is of another type.
    """
    words = typed(option, value)
    if option.switch:
        return [option.spellings[0 if value else 1]]
    return [option.flag, *words] if option.named else words


def typed(option: Option, value: Any) -> list[str]:
    """The words that follow an option on the command line, for a value as JSON has it; none for a switch.

    Raises:
        InputError: it is of another type.
    """
    if option.switch:
        if isinstance(value, bool):
            return []
        raise InputError(f"{option.flag} {shown(value)}: expected true or false")
    values = list(value) if isinstance(value, list | tuple) else [value]
    if isinstance(value, list | tuple) and option.count == 1:
        raise InputError(f"{option.flag} {shown(value)}: expected {option.expected}, and one value")
    if value is None or not values:
        return ["none"]
    for one in values:
        if isinstance(one, bool) or not isinstance(one, str | int | float):
            raise InputError(f"{option.flag} {shown(one)}: expected {option.expected}")
    return [f"{one:.0f}" if isinstance(one, float) and _whole(one) else str(one) for one in values]


def _whole(value: float) -> bool:
    return value.is_integer() and abs(value) < 1e15


def usual(kind: type, option: Option) -> Any:
    """The value of an option that is not given, as JSON has it.

    Args:
        kind: the configuration.
        option: one of its options that need not be given.
    """
    return plain(_walked(kind, option)[1])


def before(kind: type, option: Option) -> Any:
    """What runs did before there was an option (see `apps.command.config.added`); MISSING where nothing says so."""
    return _walked(kind, option)[0].metadata.get("before", MISSING)


def _walked(kind: type, option: Option) -> tuple[Field, Any]:
    """The field that an option stands for, and its default; that of the section it is in goes before its own."""
    part, value = None, kind
    for name in option.path:
        part = next(one for one in fields(value) if one.name == name)
        if value is kind:
            value = part.default if part.default_factory is MISSING else part.default_factory()
        else:
            value = getattr(value, name)
    return part, value
