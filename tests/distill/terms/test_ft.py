"""Factor transfer against NumPy's norms and SciPy's convolutions, and what each of its phases trains."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.signal import convolve, correlate
from slopes import double, slopes
from torch import nn
from traces import CLASSES, STUDENT, TEACHER, given_of, setting_of, trace_of

from distill.terms.ft import FT, difference
from distill.trace import Shapes
from priors.errors import InputError

VARIANTS = ("paper", "code", "repdistiller")


def maps(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def slow(student: np.ndarray, teacher: np.ndarray, energies: bool = False) -> float:
    total, entries = 0.0, 0
    for s, t in zip(student, teacher, strict=True):
        s, t = ((x**2).mean(0) if energies else x for x in (s, t))
        distances = np.abs(s.ravel() / np.linalg.norm(s) - t.ravel() / np.linalg.norm(t))
        total, entries = total + distances.sum(), entries + distances.size
    return total / entries


def run(layers, x: np.ndarray, training: bool = True) -> np.ndarray:
    """Three convolutions with padding 1, by SciPy, with batch norm where there is some, and leaky ReLUs."""
    for layer in layers:
        if isinstance(layer, nn.LeakyReLU):
            x = np.where(x > 0, x, 0.1 * x)
        elif isinstance(layer, nn.BatchNorm2d):
            mean, var = (
                (x.mean((0, 2, 3)), x.var((0, 2, 3)))
                if training
                else (double(layer.running_mean), double(layer.running_var))
            )
            x = (x - mean[:, None, None]) / np.sqrt(var[:, None, None] + 1e-5)
        else:
            weight = double(layer.weight)
            transposed = isinstance(layer, nn.ConvTranspose2d)
            slide, inputs, outputs = (convolve, 0, 1) if transposed else (correlate, 1, 0)
            y = np.zeros((len(x), weight.shape[outputs], *x.shape[2:]))
            for b, i, o in np.ndindex(len(x), weight.shape[inputs], weight.shape[outputs]):
                y[b, o] += slide(x[b, i], weight[i, o] if transposed else weight[o, i], mode="same")
            x = y + double(layer.bias)[:, None, None]
    return x


@pytest.mark.parametrize("energies", [False, True])
def test_the_difference_is_its_definition(energies):
    s, t = maps(3, 4, 2, 5), maps(3, 4, 2, 5, seed=1)
    assert difference(s, t, energies).item() == pytest.approx(slow(double(s), double(t), energies), rel=1e-5)
    ours, theirs = slopes(lambda x: difference(x, t, energies), lambda x: slow(x, double(t), energies), s)
    assert ours == pytest.approx(theirs, rel=1e-3, abs=1e-6)
    assert difference(3 * t, t, energies).item() < 1e-7  # norms do not matter
    larger = s.repeat_interleave(2, 2).repeat_interleave(2, 3)
    assert difference(larger, t, energies).item() == pytest.approx(difference(s, t, energies).item(), rel=1e-5)
    assert difference(s, larger, energies).item() < 1e-7


@pytest.mark.parametrize("variant", VARIANTS)
def test_both_phases_are_their_definitions(variant):
    student, teacher = (Shapes(CLASSES, None, ((c, 4, 3),)) for c in (3, 6))
    s, t = trace_of(student, 4, 2), trace_of(teacher, 4, 3)
    loss = FT(variant=variant).build(setting_of(student, teacher))
    assert [any(isinstance(layer, nn.BatchNorm2d) for layer in part) for part in (loss.encoder, loss.translator)] == {
        "paper": [True, True],
        "code": [False, False],
        "repdistiller": [False, True],
    }[variant]
    x, y = (np.maximum(double(trace.stages[0]), 0) for trace in (s, t))
    rebuilt = run(loss.decoder, run(loss.encoder, y))
    expected = ((rebuilt - y) ** 2).mean() if variant == "repdistiller" else np.abs(rebuilt - y).mean()
    assert loss(s, t, given_of(4, pretraining=True)).item() == pytest.approx(expected, rel=1e-4)
    factors = run(loss.encoder, y, training=False)
    assert factors.shape == (4, 3, 4, 3)
    expected = slow(run(loss.translator, x), factors, variant == "repdistiller")
    assert loss(s, t, given_of(4)).item() == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("variant", VARIANTS)
def test_each_phase_trains_its_part_and_leaves_the_other(variant, student, teacher):
    loss = FT(variant=variant).build(setting_of()).train()
    for pretraining, trained in ((True, ("encoder", "decoder")), (False, ("translator",))):
        before = copy.deepcopy(loss.state_dict())
        loss.zero_grad(set_to_none=True)
        loss(student, teacher, given_of(7, pretraining=pretraining)).backward()
        for name, parameter in loss.named_parameters():
            assert (parameter.grad is not None and bool(parameter.grad.any())) == name.startswith(trained), name
        for name, value in loss.state_dict().items():
            moves = "running" in name or "tracked" in name
            assert torch.equal(value, before[name]) != (moves and name.startswith(trained)), name
        loss.train()  # as the loop does between two validations
    assert student.stages[-1].grad.any()


def test_the_last_stages_alone_are_compared(teacher):
    student = trace_of(STUDENT, 7, 2)
    loss = FT().build(setting_of())
    loss(student, teacher, given_of(7)).backward()
    assert [stage.grad is None for stage in student.stages] == [True, True, False]


def test_the_paraphraser_learns_to_reconstruct():
    """A last stage of rank three, through half of the channels: better than by constants."""
    shapes = Shapes(CLASSES, None, ((8, 4, 4),))
    mixed = torch.einsum("oc,bchw->bohw", maps(8, 3), maps(16, 3, 4, 4, seed=1).abs()).relu()
    trace = replace(trace_of(shapes, 16, 3).detach(), stages=(mixed,))
    loss = FT().build(setting_of(shapes, shapes))
    optimiser = torch.optim.Adam(loss.parameters(), lr=0.03)
    for _ in range(70):
        optimiser.zero_grad()
        found = loss(trace, trace, given_of(16, pretraining=True))
        found.backward()
        optimiser.step()
    medians = mixed.transpose(0, 1).flatten(1).median(1).values
    assert found.item() < 0.7 * (mixed - medians[:, None, None]).abs().mean().item()


def test_weights_are_those_that_the_variant_was_published_with():
    assert [FT(variant=variant).published_weight for variant in VARIANTS] == [500.0, 500.0, 200.0]
    assert FT().weight is None and FT(weight=3.0).weight == 3.0


def test_options():
    for rate, factors in ((0.5, 10), (0.25, 5), (2.0, 40), (0.01, 1)):
        loss = FT(rate=rate).build(setting_of())
        assert loss.translator[0].in_channels == STUDENT.stages[-1][0]
        assert [list(part.children())[end].out_channels for part, end in ((loss.encoder, 6), (loss.translator, 6))] == [
            factors,
            factors,
        ]
    for options in ({"rate": 0.0}, {"rate": float("nan")}):
        with pytest.raises(InputError, match=f"--ft.{next(iter(options))} .*expected"):
            FT(**options)
    relu, none = (
        FT(activation=a).build(setting_of())(trace_of(STUDENT, 7, 2), trace_of(TEACHER, 7, 3), given_of(7))
        for a in ("relu", "none")
    )
    assert relu.item() != pytest.approx(none.item(), rel=1e-3)


def test_autocast_changes_nothing(student, teacher):
    for pretraining in (False, True):
        found = []
        for enabled in (False, True):
            with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
                found.append(FT().build(setting_of())(student, teacher, given_of(7, pretraining=pretraining)))
        assert torch.equal(*found)
