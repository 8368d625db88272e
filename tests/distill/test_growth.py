"""A new kind of term is a file and nothing else: shared maps, facts of the teacher and derivatives, in a plain loop."""

import copy
import sys
from functools import partial
from pathlib import Path

import pytest
import torch
from grown_terms import grown_terms
from plain_loop import STEPS, networks, state, terms, training

sys.path.insert(0, str(Path(__file__).parent / "terms"))

import test_contract

import distill.terms as package
from distill.term import Needs
from priors.errors import InputError


@pytest.fixture(autouse=True)
def grown():
    with grown_terms():
        yield


def test_terms_share_one_map_that_is_built_once_and_learns():
    student, objective, _, step = training(terms())
    assert set(objective.learnt) == {"crd", "shared-reduced-3"} and set(objective.shared) == {"reduced-3", "saliency"}
    before = copy.deepcopy(objective.learnt["shared-reduced-3"].state_dict())
    made = []
    objective.shared["reduced-3"].register_forward_hook(lambda *_: made.append(1))
    found = step(0)
    assert list(found.parts) == ["ce", "directions", "means", "slopes", "crd"] and len(made) == 1
    assert found.total.item() == pytest.approx(sum(part.item() for part in found.parts.values()))
    after = objective.learnt["shared-reduced-3"].state_dict()
    assert all(not torch.equal(before[key], after[key]) for key in before)
    assert not any(key.startswith("teacher") for key in objective.state_dict())


def test_losses_of_derivatives_train_the_student():
    """By finite differences: the gradient of a loss of a derivative, in one of the student's weights."""
    slopes = package.terms()["slopes"](layer="1", weight=1.0)
    student, objective, optimizer, _ = training({"slopes": slopes})
    student.double(), objective.double(), objective.teacher.network.double()
    pictures = torch.rand(5, 1, 6, 6, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    labels = torch.arange(5) % 4

    def value():
        return objective(pictures, labels).total

    optimizer.zero_grad()
    value().backward()
    weight = student[1].weight
    entry = weight.grad.abs().flatten().argmax().item()
    expected, step = weight.grad.flatten()[entry].item(), 1e-6
    with torch.no_grad():
        weight.view(-1)[entry] += step
        above = value().item()
        weight.view(-1)[entry] -= 2 * step
        below = value().item()
    assert expected == pytest.approx((above - below) / (2 * step), rel=1e-5) and abs(expected) > 1e-3
    assert all(parameter.grad is None for parameter in objective.teacher.network.parameters())


def test_facts_are_the_teachers_and_it_need_not_run():
    chosen = {"ce": package.terms()["ce"](), "means": package.terms()["means"]()}
    _, objective, _, step = training(chosen)
    objective.teacher.network.register_forward_hook(lambda *_: pytest.fail("the teacher ran"))
    step(0)
    assert torch.equal(objective.losses["means"].mean, networks()[1][0][1].running_mean)


def test_it_is_saved_and_goes_on_to_the_bit():
    student, objective, optimizer, step = training(terms())
    for number in range(3):
        step(number)
    kept = copy.deepcopy((student.state_dict(), objective.state_dict(), optimizer.state_dict()))
    for number in range(3, STEPS):
        step(number)
    again, other, resumed, next_step = training(terms())
    for module, values in zip((again, other, resumed), kept, strict=True):
        module.load_state_dict(values)
    for number in range(3, STEPS):
        next_step(number)
    whole, parts = state(student, objective), state(again, other)
    assert any(key.startswith("objective.memories.crd") for key in whole) and whole.keys() == parts.keys()
    assert all(torch.equal(whole[key], parts[key]) for key in whole)


def test_different_requests_of_one_name_are_refused(monkeypatch):
    reduced = type(package.terms()["directions"]().needs.shared[0])
    monkeypatch.setattr(reduced, "name", "reduced")
    chosen = {"directions": package.terms()["directions"](dim=2), "slopes": package.terms()["slopes"](layer="1")}
    with pytest.raises(InputError, match="two different things that terms share are both called 'reduced'"):
        training(chosen)
    assert (Needs(shared=(reduced(2),)) | Needs(shared=(reduced(2),))).shared == (reduced(2),)


@pytest.mark.parametrize(
    "promise",
    [
        test_contract.test_weights_out_of_range_are_refused,
        partial(test_contract.test_it_is_a_finite_number_of_float32, dtype=torch.bfloat16),
        partial(test_contract.test_gradient_reaches_the_student_and_never_the_teacher, pretraining=False),
        test_contract.test_all_its_parameters_learn,
        test_contract.test_only_what_it_needs_is_looked_at,
        test_contract.test_its_state_survives,
    ],
    ids=lambda promise: getattr(promise, "func", promise).__name__,
)
@pytest.mark.parametrize("name", ["directions", "means", "slopes"])
def test_they_are_held_to_what_all_terms_promise(name, promise):
    promise(name)
