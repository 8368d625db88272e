"""Attention transfer against loops in double precision, closed forms and what it must not see."""

import numpy as np
import pytest
import torch
from slopes import double, slopes
from traces import STUDENT, TEACHER, given_of, setting_of

from distill.terms.attention import Attention, attention, difference
from distill.trace import Shapes, Trace
from priors.errors import InputError


def maps(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def slow_pool(f, size):
    """By the mean of each cell, for sizes that divide."""
    return np.stack(
        [
            np.stack([cell.mean((2, 3)) for cell in np.split(rows, size, axis=3)], axis=-1)
            for rows in np.split(f, size, axis=2)
        ],
        axis=-2,
    )


def slow_attention(f):
    found = np.zeros((f.shape[0], f.shape[2] * f.shape[3]))
    for b, sample in enumerate(f):
        for position, (y, x) in enumerate(np.ndindex(f.shape[2:])):
            found[b, position] = sum(float(channel[y, x]) ** 2 for channel in sample) / len(sample)
        found[b] /= np.sqrt(sum(value**2 for value in found[b]))
    return found


def slow(f, g, form="squared"):
    size = min(f.shape[2], g.shape[2])
    apart = slow_attention(slow_pool(f, size)) - slow_attention(slow_pool(g, size))
    if form == "norm":
        return sum(np.sqrt(sum(value**2 for value in row)) / 2 / size**2 for row in apart) / len(apart)
    return sum(value**2 for value in apart.flat) / apart.size


@pytest.mark.parametrize("form", ["squared", "norm"])
@pytest.mark.parametrize("sizes", [(4, 4), (8, 4), (2, 8)])
def test_it_is_what_the_definition_says_written_out(form, sizes):
    f, g = maps(3, 5, sizes[0], sizes[0]), maps(3, 7, sizes[1], sizes[1], seed=1)
    assert difference(f, g, form).item() == pytest.approx(slow(double(f), double(g), form), rel=1e-5)
    ours, theirs = slopes(lambda x: difference(x, g, form), lambda x: slow(x, double(g), form), f)
    assert ours == pytest.approx(theirs, rel=1e-3, abs=1e-7)


def test_attention_to_different_places_is_as_far_apart_as_can_be():
    here, there = torch.zeros(2, 3, 4, 5), torch.zeros(2, 6, 4, 5)
    here[:, :, 0, 0], there[:, :, 3, 1] = 0.2, -7.0
    assert difference(here, there).item() == pytest.approx(2 / 20)
    assert difference(here, there, "norm").item() == pytest.approx(2**0.5 / 2 / 20)


def test_scale_sign_and_order_of_channels_are_not_seen():
    f, g = maps(6, 5, 4, 4), maps(6, 7, 4, 4, seed=1)
    scale = torch.logspace(-3, 3, 6)[:, None, None, None]
    for other in (scale * f, -f, f.flip(1), f.repeat(1, 3, 1, 1)):
        assert torch.allclose(attention(other), attention(f), rtol=1e-5)
        assert difference(other, g).item() == pytest.approx(difference(f, g).item(), rel=1e-5)
    assert difference(f.flip(2), g).item() != pytest.approx(difference(f, g).item(), rel=1e-2)


@pytest.mark.parametrize("form", ["squared", "norm"])
def test_dead_maps_pass_no_gradient_on(form):
    f = maps(3, 5, 4, 4)
    f[1] = 0
    f.requires_grad_()
    difference(f, maps(3, 5, 4, 4, seed=1), form).backward()
    assert not f.grad[1].any() and f.grad[0].any() and float(f.grad.abs().max()) < 1


def test_stages_are_summed_after_their_activation(student, teacher):
    f, g = [[stage.detach() for stage in trace.stages] for trace in (student, teacher)]
    for activation, change in (("relu", lambda x: np.maximum(x, 0)), ("none", lambda x: x)):
        expected = sum(slow(change(double(s)), change(double(t))) for s, t in zip(f, g, strict=True))
        found = Attention(activation=activation).build(setting_of())(student, teacher, given_of(7))
        assert found.item() == pytest.approx(expected, rel=1e-5)


def test_an_activation_twice_is_one(student, teacher):
    active = [Trace(trace.logits, None, tuple(stage.relu() for stage in trace.stages)) for trace in (student, teacher)]
    loss = Attention().build(setting_of())
    assert torch.equal(loss(*active, given_of(7)), loss(student, teacher, given_of(7)))


def test_stages_of_another_number_are_refused():
    fewer = Shapes(STUDENT.classes, None, STUDENT.stages[1:])
    with pytest.raises(InputError, match="attention compares stages .* the student has 2, the teacher 3"):
        Attention().build(setting_of(fewer, TEACHER))
