"""Similarity-preserving distillation against loops in double precision, closed forms and what it must not see."""

import numpy as np
import pytest
import torch
from scipy.stats import ortho_group
from slopes import double, slopes
from traces import given_of, setting_of

from distill.terms.sp import SP, difference, similarities


def maps(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def slow_gram(f):
    rows = [sample.flatten() for sample in f]
    return np.array([[sum(x * y for x, y in zip(a, b, strict=True)) for b in rows] for a in rows])


def slow(f, g):
    total = 0.0
    matrices = [slow_gram(maps) for maps in (f, g)]
    for i in range(len(f)):
        first, second = (matrix[i] / np.sqrt(sum(value**2 for value in matrix[i])) for matrix in matrices)
        total += sum((a - b) ** 2 for a, b in zip(first, second, strict=True))
    return total / len(f) ** 2


def test_it_is_what_the_definition_says_written_out():
    f, g = maps(6, 3, 4, 4), maps(6, 5, 2, 2, seed=1)
    assert difference(f, g).item() == pytest.approx(slow(double(f), double(g)), rel=1e-5)
    ours, theirs = slopes(lambda x: difference(x, g), lambda x: slow(x, double(g)), f)
    assert ours == pytest.approx(theirs, rel=1e-3, abs=1e-7)


def test_images_all_alike_beside_images_all_different():
    """Rows 1 / sqrt(n) beside rows of the identity."""
    n = 9
    expected = n * ((1 - n**-0.5) ** 2 + (n - 1) / n) / n**2
    assert difference(torch.ones(n, 2, 3, 3), torch.eye(n)[:, :, None, None]).item() == pytest.approx(expected)


def test_rows_have_no_scale():
    f = maps(6, 3, 4, 4)
    gram = np.logspace(-2, 2, 6)[:, None] * slow_gram(double(f))
    assert double(similarities(f)) == pytest.approx(gram / np.linalg.norm(gram, axis=1, keepdims=True), abs=1e-6)


def test_isometries_and_scale_are_not_seen():
    f, g = maps(6, 3, 2, 2), maps(6, 5, 2, 2, seed=1)
    rotation = torch.from_numpy(ortho_group.rvs(20, random_state=0)[:12]).float()
    turned = 300 * (f.flatten(1) @ rotation).view(6, 5, 2, 2)
    assert difference(turned, g).item() == pytest.approx(difference(f, g).item(), rel=1e-4)
    assert difference(turned, f).item() < 1e-12


def test_a_dead_image_has_ordinary_gradients():
    """Its row has no direction; over a small constant instead of its norm, gradients would be of the order of 1e10."""
    f = maps(6, 3, 4, 4)
    f[2] = 0
    f.requires_grad_()
    difference(f, maps(6, 3, 4, 4, seed=1)).backward()
    assert f.grad[0].any() and bool(f.grad.isfinite().all()) and float(f.grad.abs().max()) < 1


def test_last_or_all_stages_after_their_activation(student, teacher):
    for activation, change in (("relu", lambda x: np.maximum(x, 0)), ("none", lambda x: x)):
        each = [slow(change(double(s)), change(double(t))) for s, t in zip(student.stages, teacher.stages, strict=True)]
        for stages, expected in (("last", each[-1]), ("all", sum(each))):
            found = SP(stages=stages, activation=activation).build(setting_of())(student, teacher, given_of(7))
            assert found.item() == pytest.approx(expected, rel=1e-5)
