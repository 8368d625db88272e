"""Activation boundaries against the definition, unit by unit, in double precision."""

import numpy as np
import pytest
import torch
from slopes import double, slopes
from torch import nn
from traces import CLASSES, STUDENT, TEACHER, given_of, setting_of, trace_of

from distill.terms.ab import AB, boundary
from distill.trace import Shapes
from priors.errors import InputError


def maps(*shape, seed=0):
    return 1.5 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def slow(student: np.ndarray, teacher: np.ndarray, m: float) -> float:
    """The two sums as they are printed."""
    total = 0.0
    for s, t in zip(student.flat, teacher.flat, strict=True):
        if s > -m and t <= 0:
            total += (s + m) ** 2
        if s <= m and t > 0:
            total += (s - m) ** 2
    return total / len(student)


def normed(x: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """A 1x1 convolution and batch norm by the batch's statistics."""
    y = np.einsum("oi,bihw->bohw", weight, x)
    return (y - y.mean((0, 2, 3), keepdims=True)) / np.sqrt(y.var((0, 2, 3), keepdims=True) + 1e-5)


@pytest.mark.parametrize("margin", [0.3, 1.0])
def test_it_is_its_definition(margin):
    s, t = maps(3, 4, 2, 2), maps(3, 4, 2, 2, seed=1)
    t[0, 0], s[0, 1], s[1, 0] = 0.0, margin, -margin
    assert boundary(s, t, margin).item() == pytest.approx(slow(double(s), double(t), margin), rel=1e-5)
    ours, theirs = slopes(lambda x: boundary(x, t, margin), lambda x: slow(x, double(t), margin), s)
    assert ours == pytest.approx(theirs, rel=1e-3)


def test_it_is_zero_beyond_the_margin_and_only_there():
    t = maps(3, 4, 2, 2)
    signs = torch.where(t > 0, 1.0, -1.0)
    assert boundary(signs * (1 + maps(3, 4, 2, 2, seed=1).abs()), t).item() == 0.0
    inside = boundary(0.9 * signs, t)
    assert inside.item() == pytest.approx(0.01 * t[0].numel(), rel=1e-4)
    assert boundary(-signs, t).item() == pytest.approx(4.0 * t[0].numel(), rel=1e-5)


@pytest.mark.parametrize("options", [{}, {"scale": 1e-3, "decay": 1.0, "margin": 0.5}])
def test_stages_are_connected_and_weighted(student, teacher, options):
    """Those of the authors: a quarter, a half and the whole of the three, by 3/1000."""
    loss = AB(joint=True, **options).build(setting_of())
    decay, margin, scale = options.get("decay", 0.5), options.get("margin", 1.0), options.get("scale", 3e-3)
    expected = 0.0
    for power, s, t, (layer, norm) in zip((2, 1, 0), student.stages, teacher.stages, loss.connectors, strict=True):
        assert layer.bias is None and layer.kernel_size == (1, 1) and isinstance(norm, nn.BatchNorm2d)
        expected += decay**power * slow(normed(double(s), double(layer.weight)[:, :, 0, 0]), double(t), margin)
    for pretraining in (True, False):
        found = loss(student, teacher, given_of(7, pretraining=pretraining))
        assert found.item() == pytest.approx(scale * expected, rel=1e-4)


def test_connectors_are_drawn_by_fan_out_from_the_generator():
    shapes = [Shapes(CLASSES, None, ((channels, 2, 2),)) for channels in (300, 200)]
    first, second = (AB().build(setting_of(*shapes)).connectors[0][0].weight for _ in range(2))
    assert torch.equal(first, second)
    # 60,000 normal draws: their deviation is known to .3 %, so this fails once in 1e11 seeds
    assert float(first.detach().std()) == pytest.approx((2 / 200) ** 0.5, rel=0.02)


def test_shapes_that_are_alike_need_no_connector(teacher):
    loss = AB(joint=True).build(setting_of(TEACHER, TEACHER))
    assert not list(loss.parameters())
    student = trace_of(TEACHER, 7, 5)
    expected = sum(
        2.0**-power * slow(double(s), double(t), 1.0)
        for power, s, t in zip((2, 1, 0), student.stages, teacher.stages, strict=True)
    )
    assert loss(student, teacher, given_of(7)).item() == pytest.approx(3e-3 * expected, rel=1e-5)


def test_sizes_may_differ_twofold_and_not_otherwise(teacher):
    for factor in (2, 4):
        larger = Shapes(CLASSES, None, tuple((c, h * factor // 2, w * factor // 2) for c, h, w in TEACHER.stages))
        loss = AB().build(setting_of(larger, TEACHER))
        assert loss(trace_of(larger, 7, 5), teacher, given_of(7)).isfinite()
    wrong = Shapes(CLASSES, None, ((8, 3, 3), *STUDENT.stages[1:]))
    with pytest.raises(InputError, match="the student's 8 x 3 x 3 to the teacher's 10 x 8 x 8"):
        AB().build(setting_of(wrong, TEACHER))


def test_as_published_it_ends_with_its_own_phase(student, teacher):
    loss = AB().build(setting_of())
    assert loss(student, teacher, given_of(7, pretraining=True)).item() > 0
    before = {key: value.clone() for key, value in loss.state_dict().items()}
    for trace in (student, trace_of(STUDENT, 7, 2, torch.bfloat16)):
        found = loss(trace, teacher, given_of(7))
        assert found.item() == 0.0 and found.dtype == torch.float32
        found.backward()
        assert trace.logits.grad is not None and not trace.logits.grad.any()
    assert all(parameter.grad is None for parameter in loss.parameters()), "weight decay would shrink them"
    for key, value in loss.state_dict().items():
        assert torch.equal(value, before[key])


def test_it_is_learnt_in_its_phase():
    """A student that is free to be anything comes to the teacher's side everywhere."""
    teacher = trace_of(TEACHER, 7, 3).detach()
    student = trace_of(STUDENT, 7, 2)
    loss = AB().build(setting_of())
    optimiser = torch.optim.Adam([*student.stages, *loss.parameters()], lr=0.1)
    values = []
    for _ in range(60):
        optimiser.zero_grad()
        values.append(loss(student, teacher, given_of(7, pretraining=True)))
        values[-1].backward()
        optimiser.step()
    assert values[-1].item() < 0.2 * values[0].item()


def test_what_cannot_be_followed_is_refused():
    for options in ({"margin": 0.0}, {"decay": 0.0}, {"decay": 1.5}, {"scale": float("nan")}):
        with pytest.raises(InputError, match=f"--ab.{next(iter(options))} .*expected"):
            AB(**options)


def test_autocast_changes_nothing(student, teacher):
    found = []
    for enabled in (False, True):
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            found.append(AB().build(setting_of())(student, teacher, given_of(7)))
    assert torch.equal(*found)
