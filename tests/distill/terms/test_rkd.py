"""Relational distillation against loops in double precision, and at the places where its square roots have no slope."""

import math

import numpy as np
import pytest
import torch
from scipy.spatial.distance import pdist, squareform
from scipy.stats import ortho_group
from slopes import double, slopes
from traces import given_of, setting_of

from distill.terms.rkd import RKD, cosines, differences, distances, relations
from priors.errors import InputError


def rows(n, width, seed=0):
    return torch.randn(n, width, generator=torch.Generator().manual_seed(seed))


def huber(x):
    return x * x / 2 if abs(x) < 1 else abs(x) - 0.5


def slow_distances(x):
    found = squareform(pdist(x))
    positive = [value for value in found.flat if value > 0]
    return found / (sum(positive) / len(positive)) if positive else found


def slow_cosine(x, i, j, k):
    a, b = x[i] - x[j], x[k] - x[j]
    lengths = math.sqrt(a @ a) * math.sqrt(b @ b)
    return float(a @ b) / lengths if lengths else 0.0


def slow(s, t, distance, angle):
    n = len(s)
    apart = sum(huber(a - b) for a, b in zip(slow_distances(s).flat, slow_distances(t).flat, strict=True)) / n**2
    turned = sum(huber(slow_cosine(s, *ijk) - slow_cosine(t, *ijk)) for ijk in np.ndindex(n, n, n)) / n**3
    return distance * apart + angle * turned


@pytest.mark.parametrize("weights", [(25.0, 50.0), (1.0, 0.0), (0.0, 1.0)])
def test_it_is_what_the_definition_says_written_out(weights):
    s, t = rows(6, 4), 3 * rows(6, 7, seed=1).square()
    assert relations(s, t, *weights).item() == pytest.approx(slow(double(s), double(t), *weights), rel=1e-5)
    ours, theirs = slopes(lambda x: relations(x, t, *weights), lambda x: slow(x, double(t), *weights), s)
    assert ours == pytest.approx(theirs, rel=1e-3, abs=1e-6)


def test_an_equilateral_and_a_right_triangle():
    equilateral = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.5, 0.75**0.5]])
    right = torch.tensor([[0.0, 0.0], [3.0, 0.0], [0.0, 4.0]])
    assert distances(differences(equilateral)) == pytest.approx(1 - np.eye(3), abs=1e-6)
    assert distances(differences(right)) == pytest.approx(squareform([0.75, 1.0, 1.25]), abs=1e-6)
    found = cosines(differences(right))
    assert [float(found[j, i, k]) for j, i, k in ((0, 1, 2), (1, 0, 2), (2, 0, 1))] == pytest.approx([0, 0.6, 0.8])


def test_scale_place_and_rotation_are_not_seen():
    s, t = rows(7, 5), rows(7, 9, seed=1)
    rotation = torch.from_numpy(ortho_group.rvs(9, random_state=0)[:5]).float()
    for other in (100 * s, s + 3, 0.01 * s @ rotation):
        assert relations(other, t, 25.0, 50.0).item() == pytest.approx(relations(s, t, 25.0, 50.0).item(), rel=1e-4)
        assert relations(other, s, 25.0, 50.0).item() < 1e-8


def twins():
    x = rows(6, 4)
    x[3] = x[1]
    return x


AWKWARD = {
    "two rows equal": twins(),
    "all rows equal": rows(1, 4).expand(6, 4).clone(),
    "all rows zero": torch.zeros(6, 4),
    "two rows but a bit equal": torch.cat([twins()[:5], twins()[:1] * (1 + 2**-23)]),
    "equal to the teacher's": rows(6, 4, seed=1),
    "half of them dead": torch.cat([rows(3, 4), torch.zeros(3, 4)]),
}


@pytest.mark.parametrize("x", AWKWARD.values(), ids=AWKWARD.keys())
def test_gradients_are_finite_where_rows_coincide(x):
    x = x.clone().requires_grad_()
    t = rows(6, 4, seed=1)
    loss = relations(x, t, 25.0, 50.0)
    loss.backward()
    assert loss.item() == pytest.approx(slow(double(x), double(t), 25.0, 50.0), rel=1e-4, abs=1e-6)
    assert bool(x.grad.isfinite().all())


@pytest.mark.parametrize("case", ["two rows equal", "all rows zero", "half of them dead"])
def test_what_has_no_direction_is_not_pushed(case):
    """Gradients over a small constant instead of a norm would be of the order of 1e10."""
    x = AWKWARD[case].clone().requires_grad_()
    relations(x, rows(6, 4, seed=1), 25.0, 50.0).backward()
    assert float(x.grad.abs().max()) < 50


def test_a_teacher_whose_rows_coincide_and_a_batch_of_one():
    for s, t in ((rows(6, 4), twins()), (rows(6, 4), torch.zeros(6, 3)), (rows(1, 4), rows(1, 3))):
        s.requires_grad_()
        loss = relations(s, t, 25.0, 50.0)
        loss.backward()
        assert loss.item() == pytest.approx(slow(double(s), double(t), 25.0, 50.0), rel=1e-5)
        assert bool(s.grad.isfinite().all())


def test_close_rows_far_from_the_origin_keep_their_distance():
    """Squares minus twice the product would leave nothing of it in single precision."""
    x = 1000 + torch.arange(12.0).view(4, 3) / 64
    assert distances(differences(x)) == pytest.approx(slow_distances(double(x)), rel=1e-6)


def test_the_term_compares_penultimate_activations(student, teacher):
    found = RKD().build(setting_of())(student, teacher, given_of(7))
    expected = slow(double(student.penultimate), double(teacher.penultimate), 25.0, 50.0)
    assert found.item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("options", [{"distance": -1.0}, {"angle": float("nan")}, {"distance": 0.0, "angle": 0.0}])
def test_bad_options_are_refused(options):
    with pytest.raises(InputError, match="--rkd.*expected a"):
        RKD(**options)
