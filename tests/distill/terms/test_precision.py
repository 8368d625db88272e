"""Losses are those of single precision, whatever the networks were computed in."""

import pytest
import torch
from traces import STUDENT, TEACHER, given_of, setting_of, trace_of

from distill.terms import terms

NAMES = ("attention", "dist", "dkd", "fitnet", "review", "rkd", "sp", "standardised", "vid")


@pytest.mark.parametrize("name", NAMES)
def test_autocast_changes_nothing(name):
    found, gradients = [], []
    for enabled in (False, True):
        student, teacher = trace_of(STUDENT, 7, 2), trace_of(TEACHER, 7, 3)
        loss = terms()[name]().build(setting_of())
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            value = loss(student, teacher, given_of(7))
        value.backward()
        found.append(value.item())
        gradients.append(
            torch.cat(
                [x.grad.flatten() for x in (student.logits, student.penultimate, *student.stages) if x.grad is not None]
            )
        )
    assert found[1] == pytest.approx(found[0], rel=1e-6)
    assert torch.allclose(gradients[1], gradients[0], rtol=1e-4, atol=1e-8)
