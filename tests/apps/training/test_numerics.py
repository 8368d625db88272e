"""What a GPU may shorten, and when: read from torch's own settings, which a machine without one has as well."""

import pytest
import torch
import toys

from apps.command.config import Optimisation
from apps.training import numerics
from priors.errors import InputError


def now() -> tuple[str, str]:
    return torch.backends.cuda.matmul.fp32_precision, torch.backends.cudnn.conv.fp32_precision


class Seen(toys.Plain):
    """Notes the settings in steps and validations."""

    steps: set = set()
    scores: set = set()

    def losses(self, turn, batch, step):
        type(self).steps.add((*now(), torch.backends.cudnn.benchmark, torch.are_deterministic_algorithms_enabled()))
        return super().losses(turn, batch, step)

    def validate(self, model, sweep, step):
        type(self).scores.add(now())
        return {}


class Unordered(toys.Plain):
    """Sums in no order."""

    def losses(self, turn, batch, step):
        torch.zeros(3).put_(torch.tensor([0, 0]), torch.ones(2), accumulate=False)
        return super().losses(turn, batch, step)


@pytest.fixture
def toy(monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(toys, "KINDS", {"seen": Seen, "unordered": Unordered})
    monkeypatch.setattr(Seen, "steps", set())
    monkeypatch.setattr(Seen, "scores", set())
    toys.tasks.clear()
    return lambda *words: (
        toys.penult("train", "toy", "--device", "cpu", "--epochs", 2, *words),
        capsys.readouterr().err,
    )


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ((), ("ieee", "tf32", True, False)),
        (("--tf32", "off"), ("ieee", "ieee", True, False)),
        (("--tf32", "all", "--deterministic"), ("tf32", "tf32", False, True)),
    ],
)
def test_steps_are_as_they_are_told_and_scores_in_full(toy, words, expected):
    torch.backends.cuda.matmul.fp32_precision = "tf32"  # whatever a program before has left
    status, said = toy("--kind", "seen", *words)
    assert status == 0, said
    assert Seen.steps == {expected} and Seen.scores == {("ieee", "ieee")}
    assert now() == ("ieee", "ieee") and not torch.are_deterministic_algorithms_enabled()
    assert not torch.backends.cudnn.benchmark


def test_an_operation_without_an_order_is_named(toy):
    assert toy("--kind", "unordered", "--name", "a")[0] == 0
    status, said = toy("--kind", "unordered", "--deterministic", "--name", "b")
    assert status == 2 and "--deterministic: put_ has no form on cpu that gives the same every time" in said
    assert not torch.are_deterministic_algorithms_enabled()


def test_a_card_without_tf32_is_refused_where_it_matters(monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (7, 5))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "a T4")
    card = torch.device("cuda")
    with pytest.raises(InputError, match="--tf32 all: a T4 has no TensorFloat-32"):
        numerics.check_tf32(Optimisation(tf32="all"), card)
    numerics.check_tf32(Optimisation(tf32="all"), torch.device("cpu"))
    numerics.check_tf32(Optimisation(), card)  # convolutions are allowed to be so, and are not
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (9, 0))
    numerics.check_tf32(Optimisation(tf32="all"), card)


def test_scoring_gives_back_what_was_there():
    numerics._set("tf32", "tf32")
    with numerics.scoring():
        assert now() == ("ieee", "ieee")
    assert now() == ("tf32", "tf32")
    numerics.in_full()
    assert now() == ("ieee", "ieee")
