"""What the rows of table 2 minimise, against NumPy on a wide residual network's groups as they are summed."""

import numpy as np
import pytest
import torch
from torch import Tensor

from apps.command.cli import configured, verb_of
from apps.distilling.distillation import Distillation
from apps.recipes.table import tables
from apps.training.schedule import learning_rate
from distill import objective
from distill.terms import parse
from distill.terms.ft import FT
from priors import zoo
from priors.errors import InputError

IMAGES = torch.rand(6, 3, 8, 8, generator=torch.Generator().manual_seed(1))
LABELS = torch.tensor([3, 99, 0, 3, 41, 7])


def commanded(row: str):
    """What the row's last command means."""
    words = tables("penultimate")["2"].commands(row, "cifar100", 0)[-1].format(runs="runs").split()
    return configured(*verb_of(words))[1]


def minimised(row: str):
    """The row's objective for the networks of the table, of depth 16 and for small images, both in training mode."""
    config = commanded(row)
    networks = []
    for seed, name in enumerate(("wrn-16-1", "wrn-16-2")):
        torch.manual_seed(seed)
        networks.append(zoo.build(name, classes=100, image_shape=(3, 8, 8)))
    student, teacher = networks
    with torch.no_grad():  # as after a training: no norm is 0 and 1, no group is 0 on average
        for norm in (module for module in teacher.modules() if isinstance(module, torch.nn.BatchNorm2d)):
            norm.running_mean.normal_(0.1, 0.2), norm.running_var.uniform_(0.5, 2), norm.bias.normal_(0, 0.3)
    return objective(
        {name: getattr(config, name.replace("-", "_")) for name in parse(config.terms)},
        student=student,
        teacher=teacher,
        student_taps=config.student_taps,
        teacher_taps=config.teacher_taps,
        generator=torch.Generator().manual_seed(2),
    )


@torch.no_grad()
def sums(network) -> list[Tensor]:
    """Each group's output: residual plus shortcut, and nothing after it."""
    body, x = network.body, network.normalise(IMAGES)
    found = [body.stem(x)]
    for group in (body.group1, body.group2, body.group3):
        found.append(group(found[-1]))
    return found[1:]


@torch.no_grad()
def array(x: Tensor) -> np.ndarray:
    return x.double().numpy()


def unit(x: np.ndarray) -> np.ndarray:
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def pointwise(layer, x: np.ndarray) -> np.ndarray:
    found = np.einsum("oi,bihw->bohw", array(layer.weight)[:, :, 0, 0], x)
    return found if layer.bias is None else found + array(layer.bias)[:, None, None]


def attention(student, teacher, loss):
    maps = ([unit((array(f) ** 2).mean(1).reshape(6, -1)) for f in each] for each in (student, teacher))
    return sum(((s - t) ** 2).mean() for s, t in zip(*maps, strict=True))


def similarity(student, teacher, loss):
    s, t = (unit(f @ f.T) for f in (array(each[2]).reshape(6, -1) for each in (student, teacher)))
    return ((s - t) ** 2).sum() / 6**2


def fitnet(student, teacher, loss):
    x = pointwise(loss.regressor[0], array(student[1]))
    x = (x - x.mean((0, 2, 3), keepdims=True)) / np.sqrt(x.var((0, 2, 3), keepdims=True) + 1e-5)
    return ((np.maximum(x, 0) - array(teacher[1])) ** 2).mean()


def information(student, teacher, loss):
    total = 0.0
    for s, t, (first, _, second, _, third) in zip(student, teacher, loss.regressors, strict=True):
        x = np.maximum(pointwise(first, array(s)), 0)
        x = pointwise(third, np.maximum(pointwise(second, x), 0))
        total += 0.5 * ((x - array(t)) ** 2 / 5 + np.log(5)).mean()
    return total


def factors(student, teacher, loss):
    with torch.no_grad():
        both = loss.translator(student[2]), loss.encoder(teacher[2])
    s, t = (unit((array(f) ** 2).mean(1).reshape(6, -1)) for f in both)
    return np.abs(s - t).mean()


ROWS = {"at": attention, "sp": similarity, "fitnet": fitnet, "vid": information, "ft": factors}


@pytest.mark.parametrize("row", ROWS)
def test_the_groups_are_compared_as_they_are_summed(row):
    built = minimised(row)
    networks = built.student.network.train(), built.teacher.network
    found = built(IMAGES, LABELS, torch.arange(6))
    (name,) = set(built.losses) - {"ce"}
    expected = ROWS[row](*map(sums, networks), built.losses[name])
    assert built.weights == {"ce": 1.0, name: {"at": 1e3, "sp": 3e3, "fitnet": 1e2, "vid": 1, "ft": 200}[row]}
    assert found.parts[name].item() == pytest.approx(built.weights[name] * expected, rel=1e-4)


def test_boundaries_are_those_behind_the_next_batch_norm():
    built = minimised("ab")
    student, teacher = built.student.network.train(), built.teacher.network
    total = 0.0
    for number, connect in enumerate(built.losses["ab"].connectors):
        units = []
        for network in (student, teacher):
            norm = (network.body.group2[0].norm1, network.body.group3[0].norm1, network.body.norm)[number]
            with torch.no_grad():
                units.append(norm(sums(network)[number]))
        with torch.no_grad():
            s, t = array(connect(units[0])), array(units[1])
        wrong = np.where(t > 0, (s - 1) ** 2 * (s <= 1), (s + 1) ** 2 * (s > -1))
        total += 2.0 ** (number - 2) * wrong.sum() / 6 * 3 / 1000
    found = built(IMAGES, LABELS, torch.arange(6), phase="ab")
    assert found.parts["ab"].item() == pytest.approx(total, rel=1e-4)


def test_the_paraphraser_has_its_own_learning_rate_before_the_student_s():
    config = commanded("ft").optimisation
    phases = Distillation(minimised("ft"), 0, {}, pretraining=0.1).phases
    assert [phase.name for phase in phases] == ["ft", "train"]
    rates = [[learning_rate(phase.plan(config), step, 100, 0) for step in (0, 99)] for phase in phases]
    assert np.allclose(rates, [[0.01, 0.01], [0.05, 0.05 / 1000]])
    for wrong in (0.0, float("inf")):
        with pytest.raises(InputError, match="--ft.lr .*: expected a positive number"):
            FT(lr=wrong)
