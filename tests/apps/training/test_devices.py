"""Which device a command computes on, on machines that there are not."""

import pytest
import torch

from apps.training import devices
from apps.training.devices import chosen
from priors.errors import InputError


@pytest.fixture
def machine(monkeypatch):
    """`machine(cuda=2)`: so many GPUs of each kind, and no Apple's unless `mps` is true."""

    def of(mps: bool = False, **there: int) -> None:
        monkeypatch.setattr(devices, "count", lambda kind: there.get(kind, 0))
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)

    return of


@pytest.mark.parametrize(
    ("there", "wanted", "found"),
    [
        ({}, "auto", "cpu"),
        ({"cuda": 1}, "auto", "cuda"),
        ({"xpu": 1}, "auto", "xpu"),
        ({"cuda": 1, "xpu": 1}, "xpu", "xpu"),
        ({"cuda": 2}, "cuda:1", "cuda:1"),
        ({"cuda": 2}, "cpu", "cpu"),
    ],
)
def test_what_is_there_is_taken(machine, there, wanted, found):
    machine(**there)
    assert chosen(wanted) == torch.device(found)


@pytest.mark.parametrize("wanted", ["auto", "mps"])
def test_an_apple_s_gpu_gives_way_to_the_cpu_and_says_so(machine, caplog, wanted):
    machine(mps=True)
    assert chosen(wanted) == torch.device("cpu") and "no double precision" in caplog.text


def test_a_gpu_goes_before_an_apple_s(machine, caplog):
    machine(mps=True, cuda=1)
    assert chosen("auto") == torch.device("cuda") and not caplog.text


@pytest.mark.parametrize(
    ("there", "wanted", "processes", "said"),
    [
        ({}, "cuda", 1, "--device cuda: torch .* finds no cuda device here, an NVIDIA or AMD GPU: give --device cpu"),
        ({"cuda": 1}, "xpu:0", 1, "finds no xpu device here, an Intel GPU"),
        ({"cuda": 2}, "cuda:2", 1, r"--device cuda:2: there is no such device here \(known: cuda:0, cuda:1\)"),
        (
            {"cuda": 2},
            "cuda:1",
            2,
            "--device cuda:1 with 2 processes: each takes a device of its own; give --device cuda",
        ),
        ({"cuda": 2}, "auto", 3, "3 processes and 2 cuda devices on this machine: .* start 2, or give --device cpu"),
        ({"cuda": 1}, "cuda", 2, "2 processes and 1 cuda device on"),
    ],
)
def test_what_is_not_there_is_said_in_one_line(machine, there, wanted, processes, said):
    machine(**there)
    with pytest.raises(InputError, match=said):
        chosen(wanted, processes)


def test_processes_on_the_cpu_are_as_many_as_one_likes(machine):
    machine()
    assert chosen("auto", 64) == chosen("cpu", 64) == torch.device("cpu")


def test_torch_s_own_count_is_asked():
    assert devices.count("cuda") == (torch.cuda.device_count() if torch.cuda.is_available() else 0)


@pytest.mark.parametrize("verb", [["sample", "runs/x"], ["prior", "runs/x"], ["train", "classifier"]])
def test_a_name_of_no_device_is_refused_before_all_else(penult, verb):
    said = penult(*verb, "--device", "gpu")
    assert said.status == 2 and "expected auto, cpu, cuda, cuda:N, xpu, xpu:N or mps" in said.err
    assert said.err.count("\n") == 1
