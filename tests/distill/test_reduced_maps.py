"""Margins against SciPy's truncated normal distribution, and one pair of maps for all terms that ask for it."""

import copy

import numpy as np
import pytest
import scipy.stats
import torch
from slopes import double
from torch import nn
from torchvision.models import resnet50
from traces import CLASSES, STUDENT, TEACHER, Built, given_of, setting_of, trace_of

import distill
from distill.combination import needs_of
from distill.followed import followed
from distill.reduced_maps import ReducedMaps, margin, margin_of, mean_of_negatives
from distill.stage_norms import norms_of
from distill.term import Needs
from distill.terms import terms
from distill.trace import Shapes
from priors.zoo import build

OURS = ("overhaul", "spectral-l1", "cross-power")


def test_margin_is_the_mean_of_a_truncated_normal():
    beta, gamma = (double(one) for one in (torch.randn(50, generator=torch.Generator().manual_seed(n)) for n in (0, 1)))
    deviation = np.abs(gamma)
    expected = scipy.stats.truncnorm.mean(-np.inf, -beta / deviation, loc=beta, scale=deviation)
    rare = scipy.stats.norm.cdf(-beta / deviation) <= 0.001
    found = double(margin(torch.from_numpy(beta), torch.from_numpy(gamma)))
    assert rare.any() and not rare.all() and found.dtype == np.float64
    np.testing.assert_allclose(found[~rare], expected[~rare], rtol=1e-10)
    np.testing.assert_allclose(found[rare], -3 * deviation[rare], rtol=1e-15)


@pytest.mark.parametrize(
    ("beta", "gamma", "expected"),
    [
        (-2.0, 0.0, -2.0),
        (2.0, 0.0, 0.0),
        (0.0, 0.0, 0.0),
        (0.0, -1.0, -((2 / np.pi) ** 0.5)),
        (3.0, 1.0, -0.28309865),  # Phi(-3) is .00135: SciPy's mean
        (3.1, 1.0, -3.0),  # Phi(-3.1) is .00097
        (-1e4, 1.0, -1e4),
    ],
)
def test_margins_at_the_ends(beta, gamma, expected):
    found = margin(torch.tensor([beta]), torch.tensor([gamma]))
    assert found.item() == pytest.approx(expected, rel=1e-6, abs=1e-12)


def test_margin_of_a_norm_without_factor_is_the_standard_normals():
    norm = nn.BatchNorm2d(3, affine=False)
    assert double(margin_of(norm)) == pytest.approx(3 * [-((2 / np.pi) ** 0.5)])
    norm = nn.BatchNorm2d(2)
    norm.bias.data.copy_(torch.tensor([0.5, -0.5]))
    assert torch.equal(margin_of(norm), margin(torch.tensor([0.5, -0.5]), torch.ones(2)))


def test_negatives_of_each_channel_are_averaged():
    maps = torch.randn(4, 5, 3, 3, generator=torch.Generator().manual_seed(0))
    maps[:, 2] = maps[:, 2].abs()
    values = double(maps).transpose(1, 0, 2, 3).reshape(5, -1)
    expected = [row[row < 0].mean() if (row < 0).any() else 0.0 for row in values]
    assert double(mean_of_negatives(maps)) == pytest.approx(expected, rel=1e-6)


def test_pairs_are_a_connector_and_a_margin(student, teacher):
    setting = setting_of()
    for norm in setting.teacher_network:
        nn.init.normal_(norm.bias, generator=torch.Generator().manual_seed(3))
    module = ReducedMaps().build(setting)
    pairs = module(student, teacher)
    for s, t, pair, norm, (layer, normed) in zip(
        student.stages, teacher.stages, pairs, setting.teacher_network, module.connectors, strict=True
    ):
        assert layer.bias is None and layer.kernel_size == (1, 1) and isinstance(normed, nn.BatchNorm2d)
        y = np.einsum("oi,bihw->bohw", double(layer.weight)[:, :, 0, 0], double(s))
        y = (y - y.mean((0, 2, 3), keepdims=True)) / np.sqrt(y.var((0, 2, 3), keepdims=True) + 1e-5)
        np.testing.assert_allclose(double(pair.student), y, atol=1e-5)
        least = double(margin_of(norm))[None, :, None, None]
        np.testing.assert_allclose(double(pair.teacher), np.maximum(double(t), least), rtol=1e-6)
        assert pair.student.requires_grad and not pair.teacher.requires_grad


def test_larger_maps_are_averaged(teacher):
    larger = Shapes(CLASSES, None, tuple((c, 2 * h, w) for c, h, w in STUDENT.stages))
    pairs = ReducedMaps().build(setting_of(larger, TEACHER))(trace_of(larger, 7, 2), teacher)
    assert [pair.student.shape for pair in pairs] == [pair.teacher.shape for pair in pairs]
    assert [pair.teacher.shape[1:] for pair in pairs] == list(TEACHER.stages)


def test_terms_share_connectors_and_a_pass_through_them():
    student, teacher = build("wrn-16-1", classes=4, image_shape=(3, 8, 8)), wider()
    objective = distill.objective("+".join(("ce", *OURS)), student=student, teacher=teacher)
    assert objective.weights == {"ce": 1.0, "overhaul": 1e-4, "spectral-l1": 1e-4, "cross-power": 0.01}
    assert list(objective.learnt) == ["shared-reduced-maps"]
    calls = []
    objective.shared["reduced-maps"].register_forward_hook(lambda *_: calls.append(1))
    found = objective(torch.rand(6, 3, 8, 8), torch.arange(6) % 4)
    found.total.backward()
    assert len(calls) == 1 and all(found.parts[name] > 0 for name in OURS)
    learning = [*student.parameters(), *objective.shared["reduced-maps"].parameters()]
    assert all(parameter.grad.any() for parameter in learning)
    assert all(parameter.grad is None for parameter in teacher.parameters())
    shared = objective.shared["reduced-maps"]
    for number, norm in enumerate((teacher.body.group2[0].norm1, teacher.body.group3[0].norm1, teacher.body.norm)):
        torch.testing.assert_close(getattr(shared, f"margin{number}"), margin_of(norm).float())


@pytest.mark.parametrize("norms", ["running", "batch"])
def test_the_teacher_keeps_its_statistics(norms):
    student, teacher = build("wrn-16-1", classes=4, image_shape=(3, 8, 8)), wider()
    before = copy.deepcopy(teacher.state_dict())
    objective = distill.objective("overhaul", student=student, teacher=teacher, teacher_norms=norms)
    for _ in range(2):
        objective(torch.rand(6, 3, 8, 8), torch.arange(6) % 4).total.backward()
    assert all(torch.equal(value, before[name]) for name, value in teacher.state_dict().items())


def wider():
    """A teacher whose norms have numbers of their own."""
    torch.manual_seed(1)
    teacher = build("wrn-16-2", classes=4, image_shape=(3, 8, 8))
    for module in teacher.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.bias)
            nn.init.normal_(module.weight)
    return teacher


def norm_names(network, shape, taps=()):
    """The names of the norms that are found behind a network's stages."""
    names = {module: name for name, module in network.named_modules()}
    found = norms_of(followed(network, shape, Needs(stages=True), "teacher", taps))
    return [None if norm is None else names[norm] for norm in found]


def test_norms_are_found_behind_norms_and_sums_and_nowhere_else():
    shape = (3, 8, 8)
    residual = build("resnet-20", classes=4, image_shape=shape)
    assert norm_names(residual, shape) == [f"body.group{n}.4.norm2" for n in (1, 2, 3)]
    assert norm_names(residual, shape, ["body.relu1", "body.stem.0"]) == [None, None]
    wide = build("wrn-16-1", classes=4, image_shape=shape)
    assert norm_names(wide, shape) == list(wide.stages)
    assert norm_names(wide, shape, ["body.group1", "body.group2"]) == [None, None], "sums of convolutions"
    pyramid = build("pyramidnet-110", classes=4, image_shape=shape)
    assert norm_names(pyramid, shape) == list(pyramid.stages)
    for parameter in (public := resnet50(num_classes=4)).parameters():
        parameter.requires_grad_(False)
    state = copy.deepcopy(public.state_dict())
    taps = ["layer1.2.relu:input#3", "layer4.2.relu:input#3"]  # sums in place, before a ReLU in place
    assert norm_names(public, (3, 32, 32), taps) == ["layer1.2.bn3", "layer4.2.bn3"]
    assert public.training and all(torch.equal(value, state[name]) for name, value in public.state_dict().items())


@pytest.mark.parametrize("name", OURS)
def test_a_teacher_without_batch_norm_is_cut_off_at_the_mean_of_its_negatives(name):
    plain = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(64, 3))
    student = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(32, 3))
    objective = distill.objective(
        name, student=student, teacher=plain, image_shape=(1, 6, 6), student_taps=("0",), teacher_taps=("0",)
    )
    images = torch.rand(5, 1, 6, 6)
    (pair,) = objective.shared["reduced-maps"](
        trace_of(Shapes(3, None, ((2, 4, 4),)), 5, 0), distill.Trace(plain(images), None, (plain[0](images),))
    )
    maps = plain[0](images)
    torch.testing.assert_close(pair.teacher, torch.maximum(maps, mean_of_negatives(maps)[:, None, None]))
    assert objective(images, torch.arange(5) % 3).total.isfinite()


def test_autocast_changes_nothing():
    chosen = {name: terms()[name]() for name in OURS}
    assert needs_of(chosen).shared == (ReducedMaps(),)
    for term in chosen.values():
        found = []
        for enabled in (False, True):
            with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
                built = Built(term, setting_of())
                found.append(built(trace_of(STUDENT, 7, 2), trace_of(TEACHER, 7, 3), given_of(7)))
        assert torch.equal(*found)
