"""How many threads a process takes: by the machine, its container, what others leave free, what a run began with."""

import itertools
import json
import os
import signal
import time
from collections import namedtuple
from types import SimpleNamespace

import pytest
import torch
import toys

from apps.command.config import Where
from apps.runs.run import Run
from apps.training import cores, session
from apps.training import train as training

Times = namedtuple("Times", ("user", "system", "idle", "iowait", "guest"))


@pytest.fixture
def machine(monkeypatch):
    """`machine(loads, bound)`: from now on each core works for so much of the time, and one second passes a look."""

    def of(loads, bound=None):
        looks, clock = itertools.count(0.0), itertools.count(0.0)

        def times(percpu):
            at = next(looks)
            return [Times(at * load, 0, at * (1 - load) / 2, at * (1 - load) / 2, at * load) for load in loads]

        monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(bound or range(len(loads))), raising=False)
        monkeypatch.setattr(cores.psutil, "cpu_times", times)
        passing = SimpleNamespace(perf_counter=lambda: next(clock), sleep=lambda seconds: None)
        monkeypatch.setattr(cores, "time", passing)

    return of


@pytest.mark.parametrize(
    ("loads", "bound", "processes", "expected"),
    [
        ([0, 0, 0, 0], None, 1, 4),
        ([1, 1, 0, 0], None, 1, 2),
        ([1, 1, 1, 1], None, 1, 1),  # never none
        ([0.1, 0, 0.05, 0], None, 1, 4),  # what a quiet machine does
        ([0.5, 0.5, 0, 0], None, 1, 3),  # one program that moved between two cores
        ([1, 1, 0, 0], {2, 3}, 1, 2),  # others' cores are not its own
        ([1, 1, 0, 0], {0, 1, 2}, 1, 1),
        ([0, 0, 0, 0], None, 2, 2),
        ([1, 0, 0, 0], None, 2, 2),  # the busy one is of the same launch
        ([1, 1, 1, 0], None, 2, 1),
        ([0, 0], None, 4, 1),
    ],
)
def test_what_others_leave_free(machine, tmp_path, loads, bound, processes, expected):
    machine(loads, bound)
    assert cores.free_cores(processes, tmp_path) == expected


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"cpu.max": "200000 100000\n"}, 2),
        ({"cpu.max": "50000 100000\n"}, 1),
        ({"cpu.max": "max 100000\n"}, 8),
        ({"cpu.max": "damaged"}, 8),
        ({"cpu/cpu.cfs_quota_us": "300000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 3),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, 8),
        ({}, 8),
    ],
)
def test_a_container_may_have_less_than_the_machine(machine, tmp_path, files, expected):
    machine([0] * 8)
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert cores.available_cores(tmp_path) == cores.free_cores(groups=tmp_path) == expected


JOB = {"job/cpu.max": "300000 100000\n"}
OLD_JOB = {"cpu/job/cpu.cfs_quota_us": "300000\n", "cpu/job/cpu.cfs_period_us": "100000\n"}


@pytest.mark.parametrize(
    ("told", "files", "expected"),
    [
        ("0::/job/step\n", JOB, 3),
        ("0::/job/step\n", JOB | {"job/step/cpu.max": "200000 100000\n"}, 2),
        ("0::/job/step\n", JOB | {"job/step/cpu.max": "600000 100000\n"}, 3),  # the group around it has less
        ("0::/job\n", JOB | {"job/cpu.max": "max 100000\n"}, 8),
        ("0::/other\n", JOB, 8),
        ("0::/../job\n", JOB, 8),  # a group out of sight
        ("9:memory:/x\n4:cpu,cpuacct:/job\n0::/\n", OLD_JOB, 3),
        ("9:memory:/job\n4:cpu,cpuacct:/\n", OLD_JOB, 8),
        ("4:cpu:/docker/1f\n", {"cpu/cpu.cfs_quota_us": "200000", "cpu/cpu.cfs_period_us": "100000"}, 2),
        ("damaged\n", JOB | {"cpu.max": "500000 100000\n"}, 5),
    ],
)
def test_the_limit_of_a_job_is_its_groups_own(machine, tmp_path, monkeypatch, told, files, expected):
    """As systemd and batch systems set it: the outermost group has none."""
    machine([0] * 8)
    (tmp_path / "told").write_text(told)
    monkeypatch.setattr(cores, "_MEMBERSHIP", tmp_path / "told")
    for name, text in files.items():
        (tmp_path / "groups" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "groups" / name).write_text(text)
    assert cores.available_cores(tmp_path / "groups") == cores.free_cores(groups=tmp_path / "groups") == expected


@pytest.mark.parametrize(
    ("limit", "usage", "unit"),
    [
        ({"cpu.max": "400000 100000\n"}, "cpu.stat", "user_usec 0\nusage_usec {}000000\n"),
        ({"cpu/cpu.cfs_quota_us": "400000", "cpu/cpu.cfs_period_us": "100000"}, "cpuacct/cpuacct.usage", "{}000000000"),
    ],
    ids=["version 2", "version 1"],
)
def test_what_its_container_has_spent_is_not_free(machine, tmp_path, monkeypatch, limit, usage, unit):
    machine([0] * 8)
    for name, text in (limit | {"cpu/cpu.stat": "nr_periods 0\n", usage: unit.format(1)}).items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(cores.time, "sleep", lambda seconds: (tmp_path / usage).write_text(unit.format(4)))
    assert cores.free_cores(groups=tmp_path) == 1  # four cores' worth, of which another program has three


def test_a_system_that_does_not_say_is_taken_to_be_quiet(machine, tmp_path, monkeypatch):
    machine([0] * 4)
    monkeypatch.setattr(cores.psutil, "cpu_times", lambda percpu: [])
    assert cores.free_cores(groups=tmp_path) == 4


def test_who_says_how_many_gets_so_many(monkeypatch):
    monkeypatch.setattr(session, "free_cores", lambda processes: 3)
    before = torch.get_num_threads()
    try:
        found = []
        for threads, work in ((None, "large"), (None, "small"), (2, "large"), (2, "small")):
            session.start(Where(device="cpu", threads=threads), work=work)
            found.append(torch.get_num_threads())
    finally:
        torch.set_num_threads(before)
    assert found == [3, 1, 2, 2]


@pytest.mark.parametrize(
    ("recorded", "told", "expected"),
    [(3, None, 3), (3, 2, 1), (64, None, 4), ("x", None, 1), (0, None, 1), (None, None, 1)],
)
def test_a_run_goes_on_with_the_threads_it_began_with(tmp_path, monkeypatch, recorded, told, expected):
    monkeypatch.setattr(training, "available_cores", lambda: 4)
    stored = {"format": 2, "verb": "train toy", "config": {}, "environment": {"threads": recorded}}
    (tmp_path / "config.json").write_text(json.dumps(stored))
    run = Run(tmp_path)
    assert training._threads(run, Where(threads=told)) == torch.get_num_threads() == 1  # nothing was trained yet
    (tmp_path / "metrics.jsonl").write_text('{"step": 1, "train/loss": 1.0}\n')
    assert training._threads(run, Where(threads=told)) == expected


def test_a_run_that_is_cut_goes_on_with_its_two_threads_to_the_same_weights(tmp_path, monkeypatch):
    """The work of a toy is small, which is one thread where nothing else is said."""
    seen, cut = [], []
    losses = toys.Plain.losses

    def watched(task, turn, batch, step):
        seen.append(torch.get_num_threads())
        if step == 5 and cut:
            cut.pop()
            os.kill(os.getpid(), signal.SIGINT)
        return losses(task, turn, batch, step)

    monkeypatch.setattr(toys.Plain, "losses", watched)
    monkeypatch.setattr(training, "available_cores", lambda: 2)
    before = torch.get_num_threads()
    words = ["train", "toy", "--epochs", "3", "--batch-size", "12", "--runs", tmp_path, "--device", "cpu"]
    try:
        assert toys.penult(*words, "--name", "whole", "--threads", "2") == 0 and set(seen) == {2}
        seen.clear(), cut.append(True)
        assert toys.penult(*words, "--name", "cut", "--threads", "2") == 130
        assert json.loads((tmp_path / "cut" / "config.json").read_text())["environment"]["threads"] == 2
        done = len(seen)
        assert toys.penult(*words, "--name", "cut") == 0
        assert 0 < done < len(seen) == 12 and set(seen) == {2}
        toys.penult(*words, "--name", "new")
        assert seen[-1] == 1
    finally:
        torch.set_num_threads(before)
    whole, resumed = ((tmp_path / name / "model.safetensors").read_bytes() for name in ("whole", "cut"))
    assert whole == resumed


def test_to_look_at_the_machine_takes_no_time_that_is_felt():
    """The look itself, without the twentieth of a second that it waits: measured by this process's own clock."""
    begun = time.process_time()
    cores.free_cores()
    assert time.process_time() - begun < 0.05
