"""KD++'s loss against its formula image by image in double precision, and the embedding of other widths."""

import math
from dataclasses import replace

import pytest
import torch
from slopes import double, slopes
from traces import CLASSES, STUDENT, TEACHER, given_of, setting_of, trace_of

from distill.terms.hinton import Hinton
from distill.terms.nd import ND, norm_and_direction
from priors.errors import InputError

MEANS = torch.randn(CLASSES, 5, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
LABELS = torch.tensor([0, 3, 1, 4, 2, 0])
UNIT = (MEANS / MEANS.norm(dim=1, keepdim=True))[LABELS]


def rows(seed=0, scale=1.0):
    return scale * torch.randn(6, 5, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def slow(s, t):
    total = 0.0
    for f, g, label in zip(s, t, LABELS.tolist(), strict=True):
        centre = MEANS[label].tolist()
        length, ours, theirs = (math.sqrt(sum(x * x for x in one)) for one in (centre, f, g))
        total += 1 - sum(x * c / length for x, c in zip(f, centre, strict=True)) / max(ours, theirs)
    return total / len(s)


@pytest.mark.parametrize("scale", [0.3, 1.0, 5.0])
def test_it_is_what_the_definition_says_image_by_image(scale):
    s, t = rows(scale=scale), rows(1)
    assert norm_and_direction(s, t, UNIT).item() == pytest.approx(slow(double(s), double(t)))
    ours, theirs = slopes(lambda x: norm_and_direction(x, t, UNIT), lambda x: slow(x, double(t)), s)
    assert ours == pytest.approx(theirs, rel=1e-6, abs=1e-9)


def test_it_is_least_where_activations_are_long_and_point_to_the_mean():
    t = rows(1)
    lengths = t.norm(dim=1, keepdim=True)
    found = [norm_and_direction(factor * lengths * UNIT, t, UNIT).item() for factor in (-1, 0, 0.5, 1, 3)]
    assert found == pytest.approx([2, 1, 0.5, 0, 0])
    s = (2 * lengths * rows()).requires_grad_()  # longer than the teacher's: how long is no matter
    norm_and_direction(s, t * 0, UNIT).backward()
    assert (s.grad * s).sum(1).abs().max() < 1e-12


def test_two_zeros_are_told_apart_by_nothing():
    s = torch.zeros(6, 5, dtype=torch.float64, requires_grad=True)
    found = norm_and_direction(s, torch.zeros_like(s), UNIT)
    found.backward()
    assert found.item() == 1 and float(s.grad.abs().max()) <= 1


def same_width():
    both = replace(STUDENT, penultimate=5)
    setting = replace(setting_of(both, both), activation_means=lambda: MEANS)
    return ND().build(setting), trace_of(both, 7, 2), trace_of(both, 7, 3)


def test_of_one_width_nothing_is_learnt():
    loss, student, teacher = same_width()
    assert not list(loss.parameters())
    given = given_of(7)
    means = (MEANS / MEANS.norm(dim=1, keepdim=True)).float()[given.labels]
    expected = norm_and_direction(student.penultimate, teacher.penultimate, means)
    torch.testing.assert_close(loss(student, teacher, given), expected)


def test_the_embedding_drops_what_the_steps_generator_says_however_the_batch_is_cut():
    loss = ND().build(setting_of(STUDENT, TEACHER))
    rows = torch.randn(8, 16, generator=torch.Generator().manual_seed(5))

    def kept(part, parts):
        given = replace(given_of(8), generator=torch.Generator().manual_seed(6), part=part, parts=parts)
        return loss.embedding._kept(rows.tensor_split(parts)[part], given)

    whole = kept(0, 1)
    assert torch.equal(whole, torch.cat([kept(0, 2), kept(1, 2)])) and set(whole.unique().tolist()) == {0.0, 2.0}
    # of 128 draws of a half, 20 more or less than 64: once in 2,500 seeds
    assert 44 < int((whole == 0).sum()) < 84
    loss.eval()
    found = loss.embedding(rows, given_of(8))
    torch.testing.assert_close(found, loss.embedding.linear(rows / (1 + 1e-5) ** 0.5), rtol=1e-4, atol=1e-5)


def test_what_it_cannot_use_is_refused():
    setting = setting_of(STUDENT, TEACHER)
    for means, message in (
        (torch.ones(CLASSES, 3), r"gave \(5, 3\): a tensor of \(5, 20\) was expected"),
        (torch.ones(CLASSES, 20).tolist(), r"gave a list: a tensor of \(5, 20\) was expected"),
        (torch.ones(CLASSES, 20).index_fill(0, torch.tensor([3]), torch.nan), "class 3 has no mean activation .*nan"),
        (torch.ones(CLASSES, 20).index_fill(0, torch.tensor([2]), 0), "class 2 has no mean activation .*all 0"),
    ):
        with pytest.raises(InputError, match=message):
            ND().build(replace(setting, activation_means=lambda means=means: means))
    with pytest.raises(InputError, match="--nd.dropout 1.0: expected a rate"):
        ND(dropout=1.0)


def test_kd_may_come_in_slowly_beside_it(student, teacher):
    given = replace(given_of(7), passed=torch.tensor(1 / 24))
    full, half = (Hinton(warmup=part).build(setting_of())(student, teacher, given).item() for part in (0.0, 1 / 12))
    assert half == pytest.approx(full / 2) and not Hinton().needs.passed and Hinton(warmup=0.5).needs.passed
    with pytest.raises(InputError, match="--hinton.warmup 20.0: expected a part of the training"):
        Hinton(warmup=20.0)
