"""Correlations of posteriors against SciPy's, in double precision, and what they must not see."""

import numpy as np
import pytest
import torch
from scipy.special import softmax
from scipy.stats import pearsonr
from slopes import double, slopes
from traces import CLASSES, given_of, setting_of

from distill.terms.dist import DIST, relation, relations
from priors.errors import InputError


def rows(count=6, seed=0):
    return 3 * torch.randn(count, CLASSES, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def slow(s, t, beta, gamma, temperature):
    y, u = (softmax(x / temperature, axis=1) for x in (s, t))
    inter, intra = (
        np.mean([1 - pearsonr(a, b)[0] for a, b in zip(*pair, strict=True)]) for pair in ((y, u), (y.T, u.T))
    )
    return temperature**2 * (beta * inter + gamma * intra)


@pytest.mark.parametrize("settings", [(2.0, 2.0, 4.0), (1.0, 0.0, 1.0), (0.0, 3.0, 2.0)])
def test_it_is_what_the_definition_says(settings):
    s, t = rows(), rows(seed=1)
    assert relations(s, t, *settings).item() == pytest.approx(slow(double(s), double(t), *settings))
    ours, theirs = slopes(lambda x: relations(x, t, *settings), lambda x: slow(x, double(t), *settings), s)
    assert ours == pytest.approx(theirs, rel=1e-6, abs=1e-8)


def test_scale_and_place_of_each_row_are_not_seen():
    s, t = rows(), rows(seed=1)
    scale, place = torch.rand(6, 1, dtype=torch.float64) + 0.5, torch.randn(6, 1, dtype=torch.float64)
    torch.testing.assert_close(relation(scale * s + place, 7 * t - 2), relation(s, t))
    torch.testing.assert_close(relation(scale * s + place, s), torch.zeros((), dtype=torch.float64))
    torch.testing.assert_close(relation(-scale * s + place, s), torch.full((), 2.0, dtype=torch.float64))


def test_one_image_and_equal_posteriors_have_no_relations_and_are_not_pushed():
    for s in (rows(1), torch.zeros(6, CLASSES, dtype=torch.float64)):
        s.requires_grad_()
        found = relations(s, rows(len(s), seed=1), 0.0, 1.0, 1.0)
        found.backward()
        assert found.item() == 1 and not s.grad.any()


def test_the_term_compares_logits(student, teacher):
    found = DIST().build(setting_of())(student, teacher, given_of(7))
    assert found.item() == pytest.approx(slow(double(student.logits), double(teacher.logits), 2, 2, 4), rel=1e-4)


@pytest.mark.parametrize(
    "options", [{"beta": -1.0}, {"gamma": float("nan")}, {"beta": 0.0, "gamma": 0.0}, {"temperature": 0.0}]
)
def test_bad_options_are_refused(options):
    with pytest.raises(InputError, match="--dist.*expected a"):
        DIST(**options)
