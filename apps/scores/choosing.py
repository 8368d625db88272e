"""What a user chose of a table (objectives, networks, images): read, checked, and the table made anew by it."""

import shlex
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from apps.recipes.choice import Choice
from apps.recipes.table import Table
from apps.scores.settings import Reproduction
from priors.errors import InputError, unknown
from priors.zoo.catalogue import catalogue

_OWN = ("--data", "--student", "--teacher", "--epochs", "--seed", "--seeds", "--name", "--runs", "--plan")
"""Flags of a student's training that the table gives."""
_LONGEST = 60
"""Characters of a text in the name of a run."""


def chosen(recipe: Table, config: Reproduction) -> Table:
    """A table by what was chosen; as it is where nothing was.

    Args:
        recipe: the table.
        config: what the command line says.

    Raises:
        InputError: this table is as its paper has it; an unknown method, term, network or row; an objective that is
            given twice, or one that cannot be trained.
    """
    given = config.choice.given
    if recipe.choosing is None and given:
        raise InputError(
            f"{', '.join(given)}: table {config.number} of {config.paper} is as its paper has it; leave that out, or "
            "compare methods by penult table distillation short"
        )
    if recipe.choosing is None or not (given or config.data):
        return recipe
    found = recipe.choosing.table(_choice(recipe, config))
    for row in found.rows:
        _check(row, config, found.commands(row, found.columns[0], 0)[-1])
    return found


def _choice(recipe: Table, config: Reproduction) -> Choice:
    own, names = config.choice, [entry.name for entry in catalogue()]
    if own.student is not None and ":" not in own.student and own.student not in names:
        raise unknown("--student", own.student, names, "see penult ls classifiers")
    trained = own.teacher is not None and own.teacher not in names
    architecture = _trained_as(own.teacher, names) if trained else own.teacher
    objectives = _objectives(own.terms, recipe.choosing.known)
    rows = objectives or [row for row in recipe.rows if row in recipe.choosing.known]
    if own.against is not None and own.against not in rows:
        raise unknown("--against", own.against, rows)
    pair = [network for network in (own.student, architecture) if network is not None]
    return Choice(
        named=_named,
        settings=lambda terms, teacher, student: _settings(terms, architecture if trained else teacher, student),
        objectives=objectives,
        teacher=_word(own.teacher),
        trained=trained,
        student=_word(own.student),
        wide=all(network.startswith("wrn-") for network in pair),
        data=_word(config.data),
        epochs=own.epochs,
        against=own.against,
    )


def _named(text: str) -> str:
    """A part of a folder's name; of a long text the beginning, and a number that tells it from others."""
    from apps.training.train import slug  # imports torch: lists of tables as they are come at once

    return slug(text if len(text) <= _LONGEST else f"{text[:_LONGEST]}-{zlib.crc32(text.encode()):08x}")


def _word(given: str | None) -> str | None:
    """A text as one word of a cell's command, in which braces name places."""
    return None if given is None else shlex.quote(given).replace("{", "{{").replace("}", "}}")


def _settings(words: str, teacher: str, student: str) -> str:
    """Flags of what was published for two networks, where it is not the terms' defaults."""
    from distill.terms import parse, terms

    return " ".join(
        f"--{name}.{option} {value:g}"
        for name in parse(words)
        for option, value in terms()[name].pairs.get((teacher, student), {}).items()
    )


def _trained_as(model: str, names: Sequence[str]) -> str:
    """The architecture of a teacher that is trained already; empty where it is not known beforehand.

    Raises:
        InputError: it is neither an architecture nor a MODEL.
    """
    from apps.models.named import is_run, open_run

    if not is_run(model):
        return ""
    if not {"/", ":"} & set(model) and not Path(model).exists():
        raise unknown("--teacher", model, names, "or give a run's folder, as penult ls runs lists them")
    told = open_run(model).config().get("config", {})
    return str(told.get("arch") or told.get("student") or "")


def _objectives(given: Sequence[str], known: Mapping[str, str]) -> dict[str, str]:
    """By row, as it was given, the terms with their flags."""
    found: dict[str, str] = {}
    for text in given:
        words = known[text] if text in known else _objective(text, known)
        if (same := next((row for row, other in found.items() if other == words), None)) is not None:
            raise InputError(f"--terms: {same!r} and {text!r} are the same objective; leave one of them out")
        found[text] = words
    return found


def _objective(text: str, known: Mapping[str, str]) -> str:
    """Terms and flags that a user gave, as a cell's command has them."""
    from distill.terms import parse, terms

    try:
        words = shlex.split(text)
    except ValueError as error:
        raise InputError(f"--terms {text!r}: {error}") from None
    if not words:
        raise InputError("--terms '': expected a method, such as kd, or terms and their flags, such as ce+hinton")
    if "+" not in words[0] and words[0] not in terms():
        raise unknown("method or term", words[0], [*known, *(name for name in terms() if name not in known)])
    parse(words[0])
    if words[1:] and not words[1].startswith("--"):
        raise InputError(f"--terms {text!r}: a flag was expected after the terms; join terms by +, such as ce+hinton")
    for flag in (word.partition("=")[0] for word in words[1:]):
        if flag in _OWN:
            raise InputError(f"--terms {text!r}: {flag} is the table's own, of all its students; leave it out there")
    return " ".join(_word(word) for word in words)


def _check(row: str, config: Reproduction, command: str) -> None:
    """Refuse a row whose training penult would refuse before it reads anything."""
    from apps.command.options import check_values
    from apps.data.shift import parse_shift
    from apps.distilling.checks import check
    from distill.combination import needs_of
    from distill.terms import parse

    try:
        training = _meant(command, config)
        check_values(training)
        if command.startswith("distill "):
            own = {name: getattr(training, name.replace("-", "_")) for name in parse(training.terms)}
            shift = None if training.shift is None else parse_shift(training.shift)
            check(training, own, needs_of(own), shift)
    except InputError as error:
        raise InputError(f"{row}: {error}") from None


def check_fits(recipe: Table, config: Reproduction) -> None:
    """Refuse a row whose terms need what one of the networks lacks, before the first training.

    It is seen where the images are of a set whose classes and size are known beforehand.

    Args:
        recipe: a table of distillation; one of which nothing was chosen is known to fit.
        config: what the command line says.

    Raises:
        InputError: there is one.
    """
    if recipe.choosing is None or not (config.choice.given or config.data):
        return
    from apps.data.sources.catalogue import DATASETS
    from apps.distilling.fitting import check_fit

    for row, column in recipe.cells:
        *before, command = recipe.commands(row, column, 0)
        images = DATASETS.get(column)
        if not command.startswith("distill ") or images is None or images.image_shape is None:
            continue
        teacher = _meant(before[-1], config).arch if before else None
        try:
            check_fit(_meant(command, config), teacher, images.classes, images.image_shape)
        except InputError as error:
            raise InputError(f"{row}: {error}") from None


def _meant(command: str, config: Reproduction) -> Any:
    """What a command of a cell means, by its own verb."""
    from apps.command.cli import configured, verb_of

    return configured(*verb_of(shlex.split(command.format(runs=config.place.runs))))[1]
