"""The words after a verb, read before any value is: each that cannot be is answered in one line.

The parser has messages of its own for some of this, of several lines. What is refused here never gets to it.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import takewhile

from apps.command.options import Option, options_of
from apps.command.ranges import Choices
from apps.command.spelling import unknown_option
from priors.errors import InputError, unknown

_SHELLS = ("bash", "zsh", "tcsh", "fish")
_SHORT = re.compile(r"-[^\W\d]")
"""What begins a word such as -n. No negative number does: -inf is the exception, and no flag takes it."""


@dataclass(frozen=True)
class Given:
    """One option as it stands on the command line; of words by their places each is one.

    Attributes:
        option: which.
        name: as it is spelt.
        values: after it.
    """

    option: Option
    name: str
    values: list[str]


def check_words(kind: type, verb: str, words: Sequence[str]) -> None:
    """Find words that there are not or that cannot be, before any value is read.

    Args:
        kind: the verb's configuration.
        verb: its name.
        words: after it.

    Raises:
        InputError: an unknown option or name (what was meant is offered), the same option twice, or one and its
            contrary; a value that is missing, too much, or none of its type; a word too many, or one that is missing.
    """
    if {"-h", "--help"} & set(words):
        return
    options, see = options_of(kind), f"see penult {verb} --help"
    given: dict[str, str] = {}
    for one in read_words(words, verb, options):
        option, before = one.option, given.get(one.option.flag)
        if option.named and before is not None:
            said = "is given twice" if before == one.name else f"contradicts {before}"
            raise InputError(f"{one.name} {said}: leave one out")
        given[option.flag] = one.name
        check_given(one, see)
    missing = [option.flag for option in options if option.required and option.flag not in given]
    if missing:
        usage = " ".join(["penult", verb, *(option.flag for option in options if option.required)])
        raise InputError(f"{' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} missing: give {usage}; {see}")


def check_given(one: Given, see: str) -> None:
    """Find values of an option that cannot be.

    Args:
        one: the option with its values.
        see: where help is, for messages.

    Raises:
        InputError: one is missing, of another type, out of its range, or no name that there is.
    """
    option = one.option
    _check_count(one, see)
    for value in one.values:
        nothing = option.unsets(value) or (option.several and one.values == ["none"])
        if isinstance(option.rule, Choices) and not nothing and value not in option.rule.names:
            raise unknown(f"value of {option.flag}", value, option.rule.names, see)
        if not option.reads(value):
            shown = " ".join(one.values) if all(one.values) else repr(value)
            each = "of each " if len(one.values) > 1 else ""
            raise InputError(f"{option.flag} {shown}: expected {each}{option.expected}; {see}")
        if refusal := option.refuses(value):
            raise InputError(f"{option.flag} {' '.join(one.values)}: {refusal}{', of each' * (len(one.values) > 1)}")


def _check_count(given: Given, see: str) -> None:
    """Refuse too few values after an option."""
    option = given.option
    alone = len(given.values) == 1
    unset = any(map(option.unsets, given.values))
    if option.switch or (alone and unset):
        return
    if given.values and option.count in (None, len(given.values)) and not unset:
        return
    wanted = option.expected if option.count in (None, 1) else f"{option.count} values, each {option.expected}"
    shown = f"{given.name} {' '.join(given.values)}" if given.values else f"{given.name} has no value"
    raise InputError(f"{shown}: expected {wanted}; {see}")


def read_words(words: Sequence[str], verb: str, options: Sequence[Option]) -> Iterator[Given]:
    """Each option that is given with its values; words by their places come one by one.

    Args:
        words: after the verb.
        verb: its name.
        options: that it has.

    Raises:
        InputError: an unknown option, or a word too many.
    """
    known = {spelling: option for option in options if option.named for spelling in option.spellings}
    places = iter([option for option in options if not option.named])
    place, last, rest, flags = next(places, None), None, list(words), True
    while rest:
        word = rest.pop(0)
        if flags and word == "--":  # all after it are words by their places, whatever they begin with
            flags = False
        elif flags and word.startswith("--tyro-"):
            _check_completion(word, rest, verb)
            return
        elif flags and word.startswith("--"):
            last = _option(word, rest, verb, known)
            yield last
        elif flags and _SHORT.match(word):
            raise unknown_option(word.partition("=")[0], verb, known)
        elif place is not None:
            yield Given(place, place.flag, [word])
            place = place if place.several else next(places, None)
        else:
            raise _too_many(word, verb, options, last)


def _option(word: str, rest: list[str], verb: str, known: dict[str, Option]) -> Given:
    """An option, and its values taken off the rest of the words."""
    name, equals, value = word.partition("=")
    name = name.replace("_", "-")
    if name not in known:
        raise unknown_option(name, verb, known)
    option = known[name]
    if option.switch:
        if equals:
            raise InputError(f"{word}: {_takes(option)}; see penult {verb} --help")
        return Given(option, name, [])
    if equals:
        return Given(option, name, [value])
    found = list(takewhile(lambda other: not other.startswith("--"), rest))[: option.count]
    del rest[: len(found)]
    return Given(option, name, found)


def _takes(option: Option) -> str:
    if option.switch:
        return f"{option.flag} takes no value, give {' or '.join(option.spellings)} alone"
    return f"{option.flag} takes {'one value' if option.count == 1 else f'{option.count} values'}"


def _too_many(word: str, verb: str, options: Sequence[Option], last: Given | None) -> InputError:
    """The error for a word that has no place."""
    see = f"see penult {verb} --help"
    flag = f"--{word.partition('=')[0].replace('_', '-')}"
    if any(flag in option.spellings for option in options if option.named):
        return InputError(f"{word!r} is a word too many: did you mean {flag}? S{see[1:]}")
    places = [option.flag for option in options if not option.named]
    takes = f"penult {verb} takes {', '.join(places) + ' and options' if places else 'options alone'}"
    if last is not None:
        takes = _takes(last.option)
    return InputError(f"{word!r} is a word too many: {takes}; {see}")


def _check_completion(word: str, rest: Sequence[str], verb: str) -> None:
    """The parser's own flags print or write completions for a shell."""
    if not rest or rest[0] not in _SHELLS:
        raise unknown(f"shell of {word}", rest[0] if rest else "", _SHELLS, f"see penult {verb} --help")
