"""Variational information distillation against SciPy's normal density, and what its variances come to."""

import math

import numpy as np
import pytest
import torch
from scipy.special import softplus
from scipy.stats import norm
from slopes import double, slopes
from traces import STUDENT, TEACHER, given_of, setting_of, trace_of

from distill.terms.vid import VID, negative_log_likelihood, variance
from distill.trace import Shapes
from priors.errors import InputError


def maps(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def slow(mean, teacher, v):
    """SciPy's log-density, channel by channel, without its constant."""
    logs = [norm.logpdf(teacher[:, c], mean[:, c], math.sqrt(v[c])) for c in range(mean.shape[1])]
    return -np.mean(logs) - math.log(2 * math.pi) / 2


def test_it_is_a_normal_density_s():
    mean, teacher, rho = maps(2, 3, 4, 2), maps(2, 3, 4, 2, seed=1), torch.tensor([-4.0, 0.5, 30.0])
    v = softplus(double(rho)) + 1e-5
    assert double(variance(rho)) == pytest.approx(v, rel=1e-5)
    assert negative_log_likelihood(mean, teacher, variance(rho)).item() == pytest.approx(
        slow(double(mean), double(teacher), v), rel=1e-5
    )
    ours, theirs = slopes(
        lambda x: negative_log_likelihood(x, teacher, variance(rho)), lambda x: slow(x, double(teacher), v), mean
    )
    assert ours == pytest.approx(theirs, rel=1e-3)
    ours, theirs = slopes(
        lambda x: negative_log_likelihood(mean, teacher, variance(x)),
        lambda x: slow(double(mean), double(teacher), softplus(x) + 1e-5),
        rho,
    )
    assert ours == pytest.approx(theirs, rel=1e-3)


def test_the_best_variance_is_the_squared_residual():
    mean, teacher = torch.zeros(4, 3, 5, 5), maps(4, 3, 5, 5) * torch.tensor([0.1, 1.0, 4.0])[:, None, None]
    residual = teacher.square().mean((0, 2, 3))
    rho = (residual - 1e-5).expm1().log().requires_grad_()
    best = negative_log_likelihood(mean, teacher, variance(rho))
    best.backward()
    assert float(rho.grad.abs().max()) < 1e-6
    assert best.item() == pytest.approx(float((1 + residual.log()).mean()) / 2, rel=1e-5)
    for factor in (0.8, 1.25):
        assert negative_log_likelihood(mean, teacher, factor * residual).item() > best.item() + 1e-3


def test_variances_are_trained_to_it():
    """With the predictions held still, each channel's variance comes to its squared residual."""
    student, teacher = (Shapes(shapes.classes, None, shapes.stages[2:]) for shapes in (STUDENT, TEACHER))
    loss = VID(variance=1.0).build(setting_of(student, teacher))
    trained = [parameter for name, parameter in loss.named_parameters() if name.startswith("rho")]
    assert [tuple(parameter.shape) for parameter in trained] == [(20,)]
    optimiser = torch.optim.Adam(trained, lr=0.2)
    s, t = trace_of(student, 7, 2).detach(), trace_of(teacher, 7, 3).detach()
    for _ in range(60):
        optimiser.zero_grad()
        loss(s, t, given_of(7)).backward()
        optimiser.step()
    residual = (loss.regressors[0](s.stages[0]) - t.stages[0]).square().mean((0, 2, 3))
    assert torch.allclose(variance(loss.rho[0]), residual, rtol=5e-2)


def test_three_convolutions_predict_each_stage(student, teacher):
    loss = VID(variance=2.0).build(setting_of())
    expected = 0.0
    for s, t, regress, rho in zip(student.stages, teacher.stages, loss.regressors, loss.rho, strict=True):
        x = double(s)
        weights = [double(layer.weight)[:, :, 0, 0] for layer in regress if hasattr(layer, "weight")]
        assert [weight.shape[0] for weight in weights] == [t.shape[1]] * 3
        for weight in weights[:-1]:
            x = np.maximum(np.einsum("oi,bihw->bohw", weight, x), 0)
        x = np.einsum("oi,bihw->bohw", weights[-1], x)
        assert double(variance(rho)) == pytest.approx(2.0)
        expected += slow(x, double(t), [2.0] * t.shape[1])
    assert loss(student, teacher, given_of(7)).item() == pytest.approx(expected, rel=1e-4)


def test_options(student, teacher):
    loss = VID(hidden=3).build(setting_of())
    assert [layer.weight.shape[0] for layer in loss.regressors[0] if hasattr(layer, "weight")] == [3, 3, 10]
    for v in (1e-4, 5.0, 800.0):
        assert double(variance(VID(variance=v).build(setting_of()).rho[0])) == pytest.approx(v, rel=1e-4)
    relu, none = (VID(activation=a).build(setting_of())(student, teacher, given_of(7)) for a in ("relu", "none"))
    assert relu.item() != pytest.approx(none.item(), rel=1e-3)
    for options in ({"variance": 1e-5}, {"variance": float("nan")}, {"hidden": 0}):
        with pytest.raises(InputError, match="--vid"):
            VID(**options)


def test_the_larger_map_is_pooled(teacher):
    larger = Shapes(STUDENT.classes, None, tuple((c, 2 * h, 2 * w) for c, h, w in STUDENT.stages))
    wide = trace_of(larger, 7, 5)
    small = type(wide)(wide.logits, None, tuple(torch.nn.functional.avg_pool2d(stage, 2) for stage in wide.stages))
    loss = VID().build(setting_of(larger, TEACHER))
    assert loss(wide, teacher, given_of(7)).item() == pytest.approx(loss(small, teacher, given_of(7)).item(), rel=1e-5)
