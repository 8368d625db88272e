"""What a run was told, as words of a command line: for another one like it, and for the command that made it."""

import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING
from pathlib import Path
from typing import Any

from apps.command.cli import VERBS, options_after, verb_of
from apps.command.options import Option
from apps.command.settings import OWN, Source, before, name_of, spelt, usual
from apps.command.words import read_words
from apps.pretrained_models.finding import came_along
from apps.runs.run import Run
from priors.errors import InputError

_COMPLETE = ("train ", "distill", "prune")
"""Beginnings of verbs whose runs store all that they were told; runs of others store what a part of it came to."""
_FOREIGN = {"mean", "std", "head", "taps", "cache_logits", "allow"}
"""Fields that decide no numbers, and are stored in the command alone."""


def like(folder: Path, verb: str) -> Source:
    """The settings of a finished run, for another run of the same verb.

    Args:
        folder: the run's.
        verb: that is to take them.

    Raises:
        InputError: there is no such run, it is not finished, of another program or damaged, another verb made it, or it
            does not say what it was told.
    """
    from apps.models.named import open_run

    run = open_run(folder)
    made = _command(run)[0] if not _complete(run) else run.config()["verb"]
    if made != verb:
        by = f"penult {made}" if made in VERBS else "another program than this one"
        raise InputError(f"--like {folder} was made by {by}, expected a run of penult {verb}: their settings differ")
    kind, options, values = told(run)
    shared = {name_of(option): values[option.path] for option in options if option.path in values and _shared(option)}
    return Source(f"--like {folder}", shared, strict=False)


def _shared(option: Option) -> bool:
    return option.path[-1] not in OWN


def command_of(run: Run) -> list[str]:
    """The words, after `penult`, of a command that makes a run as it was made, and goes on with it where it stopped.

    Args:
        run: finished or not.

    Raises:
        InputError: it is damaged, or does not say what it was told.
    """
    if not _complete(run):
        verb, words = _command(run)
        return [*verb.split(), *words]
    verb, values = run.config()["verb"], {}
    kind, options, values = told(run)
    places = {} if came_along(run.folder) else {"name": run.folder.name, "runs": str(run.folder.parent)}
    own = {option.path: places[option.path[-1]] for option in options if option.path[-1] in places}
    words = verb.split()
    for option in sorted(options, key=lambda option: option.named):
        value = (values | own).get(option.path, MISSING)
        if value is MISSING or (not option.required and value == usual(kind, option)):
            continue
        words += spelt(option, value)
    return words


def told(run: Run) -> tuple[type, Sequence[Option], dict[tuple[str, ...], Any]]:
    """What a run was told.

    Args:
        run: finished or not.

    Returns:
        The configuration of its verb, its options, and by an option's path its value as JSON has it, of those that the
        run says anything of. Of options that are newer than the run it is what was done before.

    Raises:
        InputError: it is damaged, or does not say.
    """
    stored = run.config()
    if not _complete(run):
        verb, words = _command(run)
        kind, options = options_after([*verb.split(), *words])
        return kind, options, _given(verb, words, options)
    verb, flat = stored["verb"], stored["config"]
    terms = [flat["terms"]] if isinstance(flat.get("terms"), str) else []
    kind, options = options_after([*verb.split(), *terms])
    typed_once: Mapping[tuple[str, ...], Any] = {}
    words = stored.get("command") or []
    if list(map(str, words[: len(verb.split())])) == verb.split():
        typed_once = _given(verb, words[len(verb.split()) :], options, lenient=True)
    keys = {key.replace("_", "-"): value for key, value in flat.items()}
    found: dict[tuple[str, ...], Any] = {}
    for option in options:
        name, field = name_of(option), option.path[-1]
        if field in _FOREIGN or (field in OWN and name not in keys):
            value = typed_once.get(option.path, MISSING)
        elif name in keys:
            value = keys[name]
        else:
            value = before(kind, option)
        if value is not MISSING:
            found[option.path] = value
    return kind, options, found


def _complete(run: Run) -> bool:
    return str(run.config()["verb"]).startswith(_COMPLETE)


def _command(run: Run) -> tuple[str, list[str]]:
    """The verb, and the words after it, of the command that a run keeps.

    Raises:
        InputError: it keeps none, or one of another program's.
    """
    words = [str(word) for word in run.config().get("command") or []]
    try:
        return verb_of(words) if words else ("", [])
    except InputError:
        raise InputError(
            f"{run.folder} was made by {shlex.join(words)[:60]!r}, which is no command of penult: it does not say what "
            "it was told"
        ) from None


def _given(
    verb: str, words: Sequence[str], options: Sequence[Option], lenient: bool = False
) -> dict[tuple[str, ...], Any]:
    """What the words of a command say, as JSON has it."""
    found: dict[tuple[str, ...], Any] = {}
    try:
        for one in read_words(list(map(str, words)), verb, options):
            values = [_value(one.option, word) for word in one.values]
            if one.option.switch:
                found[one.option.path] = one.name == one.option.spellings[0]
            elif one.option.count == 1:
                found[one.option.path] = values[0] if values else None
            elif not one.option.named:
                found[one.option.path] = [*found.get(one.option.path, []), *values]
            else:
                found[one.option.path] = [value for value in values if value is not None]
    except InputError:
        if not lenient:
            raise
    return found


def _value(option: Option, word: str) -> Any:
    """A word as JSON has it.

    Raises:
        InputError: it is none of the option.
    """
    if option.unsets(word) or (option.several and word == "none"):
        return None
    if not option.reads(word):
        raise InputError(f"{option.flag} {word}: expected {option.expected}")
    reads: Mapping[type, Callable[[str], Any]] = {int: int, float: float}
    return reads.get(option.kind, str)(word)
