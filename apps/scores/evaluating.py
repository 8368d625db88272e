"""The program of `penult evaluate`: which kind of score is asked for. Nothing here imports torch by itself."""

from collections.abc import Sequence
from dataclasses import make_dataclass
from functools import cache
from typing import Any

from apps.command.scoring import Scoring
from apps.scores.kind import Evaluation
from apps.scores.known import evaluations
from priors.errors import InputError


def configuration(words: Sequence[str] = ()) -> type[Scoring]:
    """What `penult evaluate` can be told, whatever the words: what every evaluation can, and what each kind adds."""
    return _with_flags(tuple(dict.fromkeys(kind.flags for kind in evaluations() if kind.flags is not Scoring)))


@cache
def _with_flags(own: tuple[type, ...]) -> type[Scoring]:
    # The flags of a later base come first.
    return make_dataclass("Config", (), bases=(*reversed(own), Scoring), frozen=True)


def evaluate(config: Any) -> None:
    """Score by the kind that a flag asks for, or else by what the MODEL is usually scored by; print and keep.

    Raises:
        InputError: two kinds are asked for, or none suits; and as the kind says.
    """
    kinds = [kind for kind in evaluations() if kind.asked(config)]
    if len(kinds) > 1:
        raise InputError(f"{' and '.join(kind.asked(config) for kind in kinds)} are two evaluations: leave one out")
    (kinds[0] if kinds else _usual(config.model)).evaluate(config)


def _usual(model: str) -> Evaluation:
    """The kind that what a MODEL holds is scored by.

    Raises:
        InputError: there is no such model, or nothing of it is scored without a flag.
    """
    from apps.models.named import is_run, open_run
    from apps.models.registry import CLASSIFIER, kind_of

    held = kind_of(open_run(model)) if is_run(model) else CLASSIFIER
    if held.scored_by:
        raise InputError(f"{model} is {held.family}: {held.scored_by} scores it")
    for kind in evaluations():
        if kind.holds == held.name:
            return kind
    raise InputError(f"{model} has no likelihood to score: give --protocol, such as fid-5k")
