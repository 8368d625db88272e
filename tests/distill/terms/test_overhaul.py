"""Overhaul against the definition, unit by unit, in double precision."""

import numpy as np
import pytest
import torch
from slopes import double, slopes
from traces import Built, given_of, setting_of

from distill.reduced_maps import ReducedMaps
from distill.terms.overhaul import Overhaul, partial_distance
from priors.errors import InputError


def maps(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def slow(student: np.ndarray, teacher: np.ndarray) -> float:
    """The sum as it is printed."""
    total = 0.0
    for s, t in zip(student.flat, teacher.flat, strict=True):
        if s > t or t > 0:
            total += (s - t) ** 2
    return total / len(student)


def test_it_is_its_definition():
    s, t = maps(3, 4, 2, 2), maps(3, 4, 2, 2, seed=1)
    t[0, 0], s[1, 0] = -0.5, -0.5
    assert partial_distance(s, t).item() == pytest.approx(slow(double(s), double(t)), rel=1e-5)
    ours, theirs = slopes(lambda x: partial_distance(x, t), lambda x: slow(x, double(t)), s)
    assert ours == pytest.approx(theirs, rel=1e-3)


def test_a_unit_that_is_off_may_be_anything_below():
    t = -maps(3, 4, 2, 2).abs()
    assert partial_distance(t - maps(3, 4, 2, 2, seed=1).abs(), t).item() == 0.0
    assert partial_distance(t + 1, t).item() == pytest.approx(t[0].numel(), rel=1e-5)
    assert partial_distance(-t - 1, -t).item() == pytest.approx(t[0].numel(), rel=1e-5)


def test_what_is_no_number_is_not_hidden():
    t = -maps(2, 3, 2, 2).abs()
    spoilt = t.clone()
    spoilt[0, 0, 0, 0] = float("nan")
    assert partial_distance(spoilt, t).isnan() and partial_distance(t - 1, spoilt).isnan()


@pytest.mark.parametrize(
    ("options", "shares", "divisor"), [({}, (0.25, 0.5, 1), 1000), ({"divisor": 1e4, "decay": 1.0}, (1, 1, 1), 1e4)]
)
def test_stages_are_weighted(student, teacher, options, shares, divisor):
    """A quarter, a half and the whole of the three, over the batch and 1,000."""
    built = Built(Overhaul(**options), setting_of())
    pairs = built.shared[0](student, teacher)
    expected = sum(
        share * slow(double(pair.student), double(pair.teacher)) for share, pair in zip(shares, pairs, strict=True)
    )
    assert built.requests == (ReducedMaps(),)
    assert built(student, teacher, given_of(7)).item() == pytest.approx(expected / divisor, rel=1e-5)


def test_what_cannot_be_followed_is_refused():
    for options in ({"divisor": 0.0}, {"decay": 0.0}, {"decay": 1.5}, {"divisor": float("nan")}):
        with pytest.raises(InputError, match=f"--overhaul.{next(iter(options))} .*expected"):
            Overhaul(**options)
