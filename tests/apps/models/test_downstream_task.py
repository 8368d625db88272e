"""Tasks that a concentration can be chosen for: those of the rooms, each by the verb that its printed command names."""

import sys
from dataclasses import fields
from importlib import import_module
from types import ModuleType

import pytest

from apps.command.cli import VERBS
from apps.models import downstream_task
from apps.models.downstream_task import downstream_tasks
from priors.errors import InputError


@pytest.mark.parametrize("name", ["hvae-l", "sngan", "ckd"])
def test_each_task_is_what_its_verb_is_told_and_calls(monkeypatch, name):
    """A sweep prints the plain command of each training: the verb must take the same flags and do the same thing."""
    task = downstream_tasks()[name]
    verb = import_module(VERBS[task.verb][0])
    assert verb.Config is task.settings
    if task.parsed:
        assert {part.name for part in fields(task.parsed())} == {
            part.name for part in fields(verb.configuration(task.begins))
        }
    program, called = task.train.func, []
    monkeypatch.setattr(sys.modules[program.__module__], program.__name__, lambda *told, **more: called.append(told[0]))
    told = task.settings(*task.begins)
    verb.main(told)
    assert called == [told]


def test_a_new_task_is_one_entry_in_its_own_room(monkeypatch):
    room = ModuleType("apps.somewhere.downstream")
    room.TASKS = {"mine": downstream_tasks()["ckd"]}
    monkeypatch.setattr(downstream_task, "offered", lambda name: (room,) if name == "downstream" else ())
    assert list(downstream_tasks()) == ["mine"]
    with pytest.raises(InputError, match="unknown task to choose a concentration for .* 'main'.* did you mean 'mine'"):
        downstream_task.downstream_task("main")
