"""The state of optimisers and generators, through files and back."""

import copy

import pytest
import torch
from torch import nn

from apps.command.config import Optimisation
from apps.training.checkpoint import load_optimizer_state, load_random_state, optimizer_state, random_state
from apps.training.task import build_optimizer
from priors.errors import InputError
from priors.files.json_files import read_json, write_json
from priors.files.tensors import read_tensors, write_tensors


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 2, 3)).to(memory_format=torch.channels_last)


def step(model, optimizer, number):
    stream = torch.Generator().manual_seed(number)
    images = torch.rand(4, 3, 8, 8, generator=stream).contiguous(memory_format=torch.channels_last)
    model(images).square().sum().backward()
    optimizer.step()
    optimizer.zero_grad()


def through_files(optimizer, folder):
    tensors, rest = optimizer_state(optimizer)
    write_tensors(folder / "state.safetensors", tensors)
    write_json(folder / "state.json", rest)
    return read_tensors(folder / "state.safetensors")[0], read_json(folder / "state.json")


@pytest.mark.parametrize("kind", ["adam", "adamw", "sgd", "momentum"])
def test_an_optimizer_goes_on_to_the_bit(kind, tmp_path):
    """With weights laid out channels last, which a file does not know."""
    config = Optimisation(optimizer=kind, lr=1e-2, weight_decay=1e-2)
    model = network()
    optimizer = build_optimizer([model], config)
    for number in range(3):
        step(model, optimizer, number)
    other = network()
    other.load_state_dict(copy.deepcopy(model.state_dict()))
    resumed = build_optimizer([other], config)
    load_optimizer_state(resumed, *through_files(optimizer, tmp_path))
    for parameter, state in resumed.state.items():
        for value in state.values():
            assert value.ndim == 0 or value.stride() == parameter.stride()
    for number in range(3, 8):
        step(model, optimizer, number)
        step(other, resumed, number)
    for ours, theirs in zip(model.parameters(), other.parameters(), strict=True):
        assert torch.equal(ours, theirs)
    assert resumed.param_groups[0]["lr"] == optimizer.param_groups[0]["lr"]
    assert {key: value for key, value in resumed.param_groups[0].items() if key != "params"} == {
        key: value for key, value in optimizer.param_groups[0].items() if key != "params"
    }


def test_an_optimizer_that_made_no_step_yet(tmp_path):
    optimizer = build_optimizer([network()], Optimisation())
    tensors, rest = through_files(optimizer, tmp_path)
    assert tensors == {}
    load_optimizer_state(build_optimizer([network()], Optimisation()), tensors, rest)


def test_a_state_over_other_parameters_is_refused():
    tensors, rest = optimizer_state(build_optimizer([network()], Optimisation()))
    with pytest.raises(InputError, match="does not fit this run's networks"):
        load_optimizer_state(build_optimizer([nn.Linear(2, 2)], Optimisation()), tensors, rest)


def test_generators_go_on(tmp_path):
    torch.manual_seed(5)
    torch.rand(3)
    write_tensors(tmp_path / "random.safetensors", random_state(torch.device("cpu")))
    expected = torch.rand(4), torch.randn(3)
    torch.manual_seed(6)
    load_random_state(read_tensors(tmp_path / "random.safetensors")[0], torch.device("cpu"))
    assert torch.equal(torch.rand(4), expected[0]) and torch.equal(torch.randn(3), expected[1])


@pytest.mark.gpu
def test_generators_of_a_gpu_go_on(tmp_path):
    device = torch.device("cuda")
    torch.manual_seed(5)
    write_tensors(tmp_path / "random.safetensors", random_state(device))
    expected = torch.rand(4, device=device)
    load_random_state(read_tensors(tmp_path / "random.safetensors")[0], device)
    assert torch.equal(torch.rand(4, device=device), expected)
