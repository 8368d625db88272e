"""A sum of terms: what all of them need together, and how much each counts."""

from collections.abc import Mapping
from functools import reduce
from operator import or_

from distill.term import Needs, Shared, Term
from priors.errors import InputError


def needs_of(terms: Mapping[str, Term]) -> Needs:
    """What any of the terms is computed from, and what is computed for them.

    Raises:
        InputError: two different requests have the same name.

    Example:
        >>> from distill.terms import terms
        >>> needs = needs_of({name: terms()[name]() for name in ("ce", "rkd")})
        >>> needs.teacher, needs.penultimate, needs.stages
        (True, True, False)
    """
    found = reduce(or_, (term.needs for term in terms.values()), Needs())
    names: dict[str, Shared] = {}
    for request in found.shared:
        if names.setdefault(request.name, request) != request:
            raise InputError(f"two different things that terms share are both called {request.name!r}")
    return reduce(or_, (request.needs for request in names.values()), found)


def comparing(terms: Mapping[str, Term]) -> tuple[str, ...]:
    """Names of the terms that compare feature maps.

    Example:
        >>> from distill.terms import terms
        >>> comparing({name: terms()[name]() for name in ("ce", "sp", "attention")})
        ('sp', 'attention')
    """
    return tuple(name for name, term in terms.items() if needs_of({name: term}).stages)


def weights_of(terms: Mapping[str, Term]) -> dict[str, float]:
    """The weight of each term; unset, it is what the term's variant was published with, beside the others there are.

    For the labels it is the largest that the others were published with.

    Example:
        >>> from distill.terms import terms
        >>> weights_of({name: terms()[name]() for name in ("ce", "hinton")})
        {'ce': 0.1, 'hinton': 0.9}
        >>> weights_of({name: terms()[name]() for name in ("ce", "overhaul", "cross-power")})
        {'ce': 1.0, 'overhaul': 0.0001, 'cross-power': 0.01}
    """
    beside = max((term.beside for name, term in terms.items() if name != "ce"), default=1.0)
    others = {name: weight for term in terms.values() for name, weight in term.beside_terms.items()}
    unset = {name: beside if name == "ce" else others.get(name, term.published_weight) for name, term in terms.items()}
    return {name: unset[name] if term.weight is None else term.weight for name, term in terms.items()}


def not_mixable(name: str, term: Term) -> str:
    """Why a term cannot be computed of images that are mixed of two (mixup, CutMix); empty where it can."""
    needs = needs_of({name: term})
    if needs.index:
        return "remembers single images"
    return "derives the output of an image's class" if needs.derives else ""
