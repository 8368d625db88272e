"""FitNet against loops in double precision."""

import numpy as np
import pytest
import torch
from slopes import double, slopes
from traces import STUDENT, TEACHER, given_of, setting_of, trace_of

from distill.regressor import regressor
from distill.terms.fitnet import FitNet, hint
from distill.trace import Shapes
from priors.errors import InputError


def slow(f, g):
    return sum((float(a) - float(b)) ** 2 for a, b in zip(f.flat, g.flat, strict=True)) / f.size


def test_it_is_the_mean_square():
    f, g = (torch.randn(2, 3, 4, 5, generator=torch.Generator().manual_seed(seed)) for seed in (0, 1))
    assert hint(f, g).item() == pytest.approx(slow(double(f), double(g)), rel=1e-5)
    ours, theirs = slopes(lambda x: hint(x, g), lambda x: slow(x, double(g)), f)
    assert ours == pytest.approx(theirs, rel=1e-3)


@pytest.mark.parametrize(("activation", "regression"), [("relu", "same"), ("none", "same"), ("none", "relu")])
@pytest.mark.parametrize("stage", [1, 2, 3])
def test_a_stage_is_regressed_after_its_activation(stage, activation, regression):
    """Sizes agree: a 1x1 convolution with bias, then batch norm over the batch and all places, then perhaps a ReLU."""
    student, teacher = trace_of(STUDENT, 7, 2), trace_of(TEACHER, 7, 3)
    loss = FitNet(stage=stage, activation=activation, regression=regression).build(setting_of())
    changes = {"relu": lambda x: np.maximum(x, 0), "none": lambda x: x}
    change, last = changes[activation], changes[activation if regression == "same" else regression]
    layer = loss.regressor[0]
    found = np.einsum("oi,bihw->bohw", double(layer.weight)[:, :, 0, 0], change(double(student.stages[stage - 1])))
    found += double(layer.bias)[:, None, None]
    found = (found - found.mean((0, 2, 3), keepdims=True)) / np.sqrt(found.var((0, 2, 3), keepdims=True) + 1e-5)
    value = loss(student, teacher, given_of(7))
    assert value.item() == pytest.approx(slow(last(found), change(double(teacher.stages[stage - 1]))), rel=1e-4)
    value.backward()
    assert [tensor.grad is not None for tensor in student.stages] == [number == stage for number in (1, 2, 3)]


def test_the_teacher_itself_is_regressed_without_loss():
    """Where the convolution is the identity."""
    loss = FitNet(convolution="valid").build(setting_of(TEACHER, TEACHER))
    with torch.no_grad():
        loss.regressor[0].weight.copy_(torch.eye(14)[:, :, None, None])
        loss.regressor[0].bias.zero_()
    assert loss(trace_of(TEACHER, 7, 3), trace_of(TEACHER, 7, 3), given_of(7)).item() == 0
    assert loss(trace_of(TEACHER, 7, 4), trace_of(TEACHER, 7, 3), given_of(7)).item() > 0.1


def test_training_the_regression_brings_it_down(student, teacher):
    loss = FitNet().build(setting_of())
    before = loss(student, teacher, given_of(7)).item()
    optimiser = torch.optim.SGD(loss.parameters(), lr=0.5)
    for _ in range(30):
        optimiser.zero_grad()
        loss(student, teacher, given_of(7)).backward()
        optimiser.step()
    assert loss(student, teacher, given_of(7)).item() < 0.8 * before


def test_stages_that_are_not_there_are_refused():
    for stage in (0, -1):
        with pytest.raises(InputError, match=f"--fitnet.stage {stage}: expected a stage's number, from 1"):
            FitNet(stage=stage)
    with pytest.raises(InputError, match=r"fitnet compares stages one by one \(4 or more\), and the student has 3"):
        FitNet(stage=4).build(setting_of())


def test_shapes_that_no_convolution_joins_are_refused():
    small, large = (Shapes(5, None, ((6, 8, 8), (8, size, size))) for size in (4, 12))
    with pytest.raises(InputError, match="the student's 8 x 4 x 4 to the teacher's 8 x 12 x 12"):
        FitNet().build(setting_of(small, large))
    assert FitNet().build(setting_of(large, small)) is not None


def test_its_weights_come_from_the_setting_s_generator():
    state = torch.get_rng_state()
    first, second = (FitNet().build(setting_of()).state_dict() for _ in range(2))
    assert all(torch.equal(first[key], second[key]) for key in first)
    assert torch.equal(state, torch.get_rng_state())
    other = regressor((12, 4, 4), (14, 4, 4), torch.Generator().manual_seed(7)).state_dict()
    assert not torch.equal(first["regressor.0.weight"], other["0.weight"])
