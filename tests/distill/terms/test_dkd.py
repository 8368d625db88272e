"""Decoupled and standardised distillation against loops over classes in double precision."""

import math
from dataclasses import replace

import pytest
import torch
from scipy.special import softmax
from slopes import double, slopes
from traces import CLASSES, given_of, setting_of

from distill.standardised import standardised
from distill.terms import terms
from distill.terms.dkd import DKD, decoupled
from distill.terms.hinton import divergence
from distill.terms.standardised import Standardised
from distill.trace import Trace
from priors.errors import InputError
from priors.zoo.catalogue import catalogue


def rows(count=6, seed=0):
    return 3 * torch.randn(count, CLASSES, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


LABELS = torch.tensor([0, 3, 1, 4, 2, 0])


def slow(s, t, labels, alpha, beta, temperature):
    """Zhao et al. 2022, equations 1 to 7, class by class."""
    total = 0.0
    for zs, zt, label in zip(s / temperature, t / temperature, labels.tolist(), strict=True):
        ps, pt = (math.exp(z[label]) / sum(map(math.exp, z)) for z in (zs, zt))
        bs, bt = 1 - ps, 1 - pt
        total += alpha * (pt * math.log(pt / ps) + bt * math.log(bt / bs))
        others = [i for i in range(len(zs)) if i != label]
        sums = [sum(math.exp(z[i]) for i in others) for z in (zs, zt)]
        for i in others:
            qs, qt = math.exp(zs[i]) / sums[0], math.exp(zt[i]) / sums[1]
            total += beta * qt * math.log(qt / qs)
    return temperature**2 * total / len(s)


@pytest.mark.parametrize("settings", [(1.0, 8.0, 4.0), (0.5, 0.0, 1.0), (0.0, 2.0, 3.0)])
def test_dkd_is_what_the_definition_says_class_by_class(settings):
    s, t = rows(), rows(seed=1)
    assert decoupled(s, t, LABELS, *settings).item() == pytest.approx(slow(double(s), double(t), LABELS, *settings))
    ours, theirs = slopes(
        lambda x: decoupled(x, t, LABELS, *settings), lambda x: slow(x, double(t), LABELS, *settings), s
    )
    assert ours == pytest.approx(theirs, rel=1e-6, abs=1e-9)


def test_dkd_with_the_teachers_own_doubt_for_beta_is_hinton():
    """Zhao et al. 2022, equation 6, image by image."""
    s, t = rows(), rows(seed=1)
    for n in range(len(s)):
        pair = s[n : n + 1], t[n : n + 1]
        doubt = 1 - float((pair[1] / 4).softmax(1)[0, LABELS[n]])
        found = decoupled(*pair, LABELS[n : n + 1], 1.0, doubt, 4.0)
        assert found.item() == pytest.approx(divergence(pair[0].float(), pair[1].float(), 4.0).item(), rel=1e-4)


def test_dkd_of_a_sure_teacher_is_finite():
    """p of the own class is 1 to rounding: what is left is told apart by logarithms."""
    s, t = torch.zeros(1, CLASSES, requires_grad=True), torch.tensor([[200.0, 1.0, 0.0, 0.0, 0.0]])
    for pair in ((s, t), (t.requires_grad_(), torch.zeros(1, CLASSES))):
        found = decoupled(*pair, torch.tensor([0]), 1.0, 8.0, 1.0)
        found.backward()
        assert bool(found.isfinite()) and bool(pair[0].grad.isfinite().all())


def test_its_weight_rises_with_the_steps(student, teacher):
    loss, full = DKD().build(setting_of()), DKD(warmup=0.0)
    whole = full.build(setting_of())(student, teacher, replace(given_of(7), passed=None)).item()
    for passed, part in ((0.0, 0.0), (1 / 24, 0.5), (1 / 12, 1.0), (0.9, 1.0)):
        found = loss(student, teacher, replace(given_of(7), passed=torch.tensor(passed)))
        assert found.item() == pytest.approx(part * whole, rel=1e-5)
    assert DKD().needs.passed and not full.needs.passed


def z_scores(x):
    return (x - x.mean(1, keepdims=True)) / x.std(1, ddof=1, keepdims=True)


def slow_standardised(s, t, temperature):
    p, q = (softmax(z_scores(x) / temperature, axis=1) for x in (t, s))
    return temperature**2 * sum(a * math.log(a / b) for a, b in zip(p.flat, q.flat, strict=True)) / len(s)


def test_standardised_is_hinton_of_z_scores():
    s, t = rows(), rows(seed=1)
    assert standardised(s).numpy() == pytest.approx(z_scores(double(s)))

    def ours(x):
        return Standardised().build(setting_of())(Trace(x), Trace(t.float()), given_of(6))

    assert ours(s.float()).item() == pytest.approx(slow_standardised(double(s), double(t), 2.0), rel=1e-5)
    mine, theirs = slopes(ours, lambda x: slow_standardised(x, double(t), 2.0), s.float(), step=1e-4)
    assert mine == pytest.approx(theirs, rel=1e-3, abs=1e-6)


@pytest.mark.parametrize("term", [Standardised(), DKD(standardise=True)], ids=["hinton", "dkd"])
def test_standardised_logits_hide_place_and_scale(term):
    s, t, loss = rows().float(), rows(seed=1).float(), term.build(setting_of())
    found = loss(Trace(s), Trace(t), given_of(6)).item()
    scale, place = torch.rand(6, 1) + 0.5, torch.randn(6, 1)
    assert loss(Trace(scale * s + place), Trace(9 * t - 4), given_of(6)).item() == pytest.approx(found, rel=1e-4)
    assert loss(Trace(scale * t + place), Trace(t), given_of(6)).item() == pytest.approx(0, abs=1e-5) != found


def test_equal_logits_have_no_scale_and_pull_nowhere():
    s = torch.zeros(6, CLASSES, requires_grad=True)
    Standardised().build(setting_of())(Trace(s), Trace(rows().float()), given_of(6)).backward()
    assert not s.grad.any()


def test_pairs_have_options_that_there_are():
    assert Standardised.for_pair("vgg-13", "vgg-8").temperature == 3
    assert DKD.for_pair("resnet-56", "resnet-20") == DKD(beta=2.0)
    assert DKD.for_pair("mlp", "mlp") == DKD()
    known = {entry.name for entry in catalogue()}
    for kind in terms().values():
        for pair in kind.pairs:
            assert set(pair) <= known and kind.for_pair(*pair) != kind()


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        (DKD, {"alpha": -1.0}),
        (DKD, {"beta": float("nan")}),
        (DKD, {"temperature": 0.0}),
        (DKD, {"warmup": 20.0}),
        (Standardised, {"temperature": -1.0}),
    ],
)
def test_bad_options_are_refused(kind, options):
    with pytest.raises(InputError, match=f"--{kind.name()}.*expected a"):
        kind(**options)


def test_one_class_is_refused():
    setting = setting_of()
    alone = replace(setting, student=replace(setting.student, classes=1), teacher=replace(setting.teacher, classes=1))
    with pytest.raises(InputError, match="1 class: dkd .* two or more are needed"):
        DKD().build(alone)
