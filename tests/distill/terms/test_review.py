"""ReviewKD's fusion and its loss against loops in double precision."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from slopes import double, slopes
from traces import CLASSES, given_of, setting_of, trace_of

from distill.terms.review import Fusion, Review, hierarchical
from distill.trace import Shapes, Trace
from priors.errors import InputError

STUDENT, TEACHER = Shapes(CLASSES, 5, ((3, 4, 4), (4, 2, 2))), Shapes(CLASSES, 7, ((6, 8, 8), (2, 2, 2)))


def maps(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def cells(f, grid):
    """Means of a grid of cells, which may overlap: of rows floor(i n / grid) to ceil((i + 1) n / grid)."""
    height, width = f.shape[2:]
    found = np.zeros((*f.shape[:2], grid, grid))
    for i, j in np.ndindex(grid, grid):
        rows = slice(i * height // grid, -(-(i + 1) * height // grid))
        found[:, :, i, j] = f[:, :, rows, j * width // grid : -(-(j + 1) * width // grid)].mean((2, 3))
    return found


def slow_hierarchical(s, t):
    """Mean squares at the maps' own size, and of means in 4x4, 2x2 and 1x1 cells, each with half the weight."""
    total, weight, weights = ((s - t) ** 2).mean(), 1.0, 1.0
    for grid in (4, 2, 1):
        if grid < min(s.shape[2:]):
            weight /= 2
            weights += weight
            total += weight * ((cells(s, grid) - cells(t, grid)) ** 2).mean()
    return total / weights


@pytest.mark.parametrize("size", [(8, 8), (6, 6), (4, 4), (5, 7), (1, 1)])
def test_the_loss_is_what_the_definition_says(size):
    s, t = maps(2, 3, *size), maps(2, 3, *size, seed=1)
    assert hierarchical(s, t).item() == pytest.approx(slow_hierarchical(double(s), double(t)))
    ours, theirs = slopes(lambda x: hierarchical(x, t), lambda x: slow_hierarchical(x, double(t)), s)
    assert ours == pytest.approx(theirs, rel=1e-6, abs=1e-9)


def test_grids_see_what_maps_as_a_whole_do():
    """A difference that is the same everywhere counts the same on all grids; one that cancels on none."""
    t, even = torch.zeros(1, 1, 8, 8), torch.ones(1, 1, 8, 8)
    assert hierarchical(even, t).item() == pytest.approx(1)
    uneven = even * torch.tensor([1.0, -1.0]).repeat(4)
    assert hierarchical(uneven, t).item() == pytest.approx(1 / (1 + 1 / 2 + 1 / 4 + 1 / 8))


def normed(x):
    mean, variance = x.mean((0, 2, 3), keepdims=True), x.var((0, 2, 3), keepdims=True)
    return (x - mean) / np.sqrt(variance + 1e-5)


def nearest(x, size):
    rows, columns = (np.arange(to) * had // to for to, had in zip(size, x.shape[2:], strict=True))
    return x[:, :, rows][:, :, :, columns]


def slow_fusion(fusion, x, deeper):
    """Position by position, with batch norm by the batch's own statistics."""
    w = {name: double(value) for name, value in fusion.state_dict().items()}
    left = normed(np.einsum("oc,bchw->bohw", w["enter.0.weight"][:, :, 0, 0], x))
    if deeper is not None:
        deeper = nearest(deeper, left.shape[2:])
        both = np.concatenate([left, deeper], 1)
        said = np.einsum("oc,bchw->bohw", w["weigh.weight"][:, :, 0, 0], both) + w["weigh.bias"][:, None, None]
        own, other = np.split(1 / (1 + np.exp(-said)), 2, axis=1)
        left = left * own + deeper * other
    left = nearest(left, fusion.size)
    padded = np.pad(left, ((0, 0), (0, 0), (1, 1), (1, 1)))
    found = np.zeros((len(x), w["leave.0.weight"].shape[0], *fusion.size))
    for i, j in np.ndindex(*fusion.size):
        found[:, :, i, j] = np.einsum("ocuv,bcuv->bo", w["leave.0.weight"], padded[:, :, i : i + 3, j : j + 3])
    return normed(found), left


@pytest.mark.parametrize("size", [(2, 2), (4, 4), (8, 8)])
def test_fusion_is_what_the_definition_says(size):
    fusion = Fusion(3, 4, 2, size, True, torch.Generator().manual_seed(2)).double()
    x, deeper = maps(2, 3, 4, 4), maps(2, 4, 2, 2, seed=1)
    for ours, theirs in zip(fusion(x, deeper), slow_fusion(fusion, double(x), double(deeper)), strict=True):
        assert double(ours) == pytest.approx(theirs, rel=1e-6, abs=1e-9)


def slow(loss, stages, penultimate, teacher):
    theirs = [*map(double, teacher.stages), double(teacher.penultimate)[:, :, None, None]]
    ours, total, left = [*stages, penultimate[:, :, None, None]], 0.0, None
    for number in (2, 1, 0):
        found, left = slow_fusion(loss.fusions[number], ours[number], left)
        total += slow_hierarchical(found, theirs[number])
    return total


def test_the_term_goes_from_the_deepest_to_the_first_stage():
    loss, given = Review().build(setting_of(STUDENT, TEACHER)), given_of(6)
    student, teacher = trace_of(STUDENT, 6, 2), trace_of(TEACHER, 6, 3).detach()
    first, second, last = double(student.stages[0]), double(student.stages[1]), double(student.penultimate)
    found = loss(student, teacher, given).item()
    assert found == pytest.approx(slow(loss, (first, second), last, teacher), rel=1e-4)
    for place, (ours, theirs) in {
        "a stage": slopes(
            lambda x: loss(Trace(student.logits, student.penultimate, (student.stages[0], x)), teacher, given),
            lambda x: slow(loss, (first, x), last, teacher),
            student.stages[1],
        ),
        "activations": slopes(
            lambda x: loss(Trace(student.logits, x, student.stages), teacher, given),
            lambda x: slow(loss, (first, second), x, teacher),
            student.penultimate,
        ),
    }.items():
        assert ours == pytest.approx(theirs, rel=2e-3, abs=1e-4), place
    half = loss(student, teacher, replace(given, passed=torch.tensor(1 / 24))).item()
    assert half == pytest.approx(found / 2, rel=1e-5)


def test_what_it_cannot_use_is_refused():
    with pytest.raises(InputError, match="review compares stages one by one .*the student has 2, the teacher 1"):
        Review().build(setting_of(STUDENT, replace(TEACHER, stages=TEACHER.stages[:1])))
    with pytest.raises(InputError, match="--review.warmup -1.0: expected a part of the training"):
        Review(warmup=-1.0)
