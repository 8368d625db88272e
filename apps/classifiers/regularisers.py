"""What --regularise says: which regularisers there are, how strong, and of which layers. No torch is imported."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from apps.command.ranges import Range
from priors.errors import InputError, unknown

STRENGTHS = {
    "bias-jacobian": Range(0, most=1e12),
    "dropout": Range(0, below=1),
    "bias-decay": Range(0, most=1e12),
}
"""Regularisers by name, and what their strength may be."""
_EXPECTED = "expected NAME:STRENGTH or NAME:STRENGTH@LAYER,LAYER, as in bias-jacobian:1e2@body.block5.4"


@dataclass(frozen=True)
class Regularisers:
    """Strengths by layer; the layer None stands for the last one, see `apps.classifiers.regularisation.last_layer`.

    Attributes:
        bias_jacobian: factor of the squared norm of a layer's bias-Jacobian.
        dropout: probability that a unit of a layer's output is 0.
        bias_decay: factor of the sum of squares of a layer's bias.
    """

    bias_jacobian: Mapping[str | None, float] = field(default_factory=dict)
    dropout: Mapping[str | None, float] = field(default_factory=dict)
    bias_decay: Mapping[str | None, float] = field(default_factory=dict)


def parse_regularisers(words: Sequence[str]) -> Regularisers:
    """What words such as "dropout:0.5@body.block5.4" say.

    Args:
        words: NAME:STRENGTH, or NAME:STRENGTH@LAYER,LAYER of modules by their names; a name may be given again for
            other layers.

    Raises:
        InputError: a regulariser that there is not (the nearest is offered), a strength that is no number or out of
            its range, or a layer that is given twice to the same one.

    Example:
        >>> parse_regularisers(["dropout:0.5", "bias-decay:1e-1@body.1,body.4"]).bias_decay
        {'body.1': 0.1, 'body.4': 0.1}
    """
    found: dict[str, dict[str | None, float]] = {name: {} for name in STRENGTHS}
    for word in words:
        said, at, layers = word.partition("@")
        name, colon, strength = said.partition(":")
        if name not in STRENGTHS:
            raise unknown("regulariser of --regularise", name, STRENGTHS, _EXPECTED)
        own = found[name]
        if not colon or (at and not all(layers.split(","))):
            raise InputError(f"--regularise {word}: {_EXPECTED}")
        value = _strength(word, name, strength)
        for layer in layers.split(",") if at else (None,):
            if layer in own:
                which = "the last layer" if layer is None else f"layer {layer}"
                raise InputError(f"--regularise {word}: {which} has {name} twice: leave one out")
            own[layer] = value
    return Regularisers(*(found[name] for name in STRENGTHS))


def _strength(word: str, name: str, given: str) -> float:
    try:
        value = float(given)
    except ValueError:
        raise InputError(f"--regularise {word}: {given!r} is no number; {_EXPECTED}") from None
    refusal = STRENGTHS[name].refusal(value)
    if refusal:
        raise InputError(f"--regularise {word}: {refusal}, for the strength of {name}")
    return value
