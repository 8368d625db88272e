"""Drawing from a density again and again: which batches are captured, and that they are the same draws."""

import pytest
import torch

from analysis.densities.captured import CapturedSampler
from analysis.densities.pixelcnn import PixelCNN
from apps.inverting import inverted
from apps.inverting.inverted import Inverted
from apps.models.represented import read_representation
from apps.runs.run import Run
from priors.errors import InputError


@pytest.fixture
def captured(monkeypatch) -> list[int]:
    """The sizes of batches that are captured, where rows are kept as they are instead of in CUDA graphs."""
    sizes = []

    def sampler(model, batch):
        sizes.append(batch)
        return CapturedSampler(model, batch, record=lambda function: function)

    monkeypatch.setattr(inverted, "CapturedSampler", sampler)
    monkeypatch.setattr(inverted, "_has_graphs", lambda device: True)
    monkeypatch.setattr(inverted, "at_once", lambda model, device: 4)
    return sizes


def density() -> Inverted:
    torch.manual_seed(0)
    model = PixelCNN((1, 4, 4), layers=1, filters=3)
    model.initialise(torch.rand(8, 1, 4, 4))
    return Inverted(model.eval(), None, "no context")


def test_several_batches_of_one_size_are_captured_once(captured, monkeypatch):
    own, images = density(), torch.zeros(3, 1, 4, 4)
    found = own.draw(images, 5, 0)  # 4, 4, 4, 3
    assert captured == [4]
    again = own.draw(images, 5, 1)
    assert captured == [4] and not torch.equal(found, again)
    monkeypatch.setattr(inverted, "_has_graphs", lambda device: False)
    assert torch.equal(found, own.draw(images, 5, 0)) and torch.equal(again, density().draw(images, 5, 1))


def test_a_size_that_comes_up_again_is_captured(captured):
    own, images = density(), torch.zeros(3, 1, 4, 4)
    one, two, three = (own.draw(images[:1], n, 0) for n in (2, 2, 2))
    assert captured == [2] and torch.equal(one, two) and torch.equal(one, three)
    own.draw(images[:1], 3, 0)
    assert captured == [2]
    own.draw(images[:1], 3, 0)
    assert captured == [2, 3]


def test_nothing_captured_outlives_a_move(captured):
    own, images = density(), torch.zeros(2, 1, 4, 4)
    before = own.draw(images, 4, 0)
    with torch.no_grad():
        own.model.final.bias[:128] += 3
    after = own.to("cpu").draw(images, 4, 0)
    assert captured == [4, 4] and not torch.equal(before, after)


def test_a_cpu_captures_nothing(monkeypatch):
    monkeypatch.setattr(inverted, "CapturedSampler", None)
    assert density().draw(torch.zeros(2, 1, 4, 4), 3, 0).shape == (2, 3, 1, 4, 4)


def test_a_run_whose_copy_of_a_network_is_lost_has_none_downloaded(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", lambda *given, **options: asked.append(given))
    described = {"network": "torchvision:resnet18:DEFAULT", "foreign": {"mean": [], "std": [], "head": None}}
    with pytest.raises(InputError, match="network is missing, the network that .* inverts: put the folder back"):
        read_representation(Run(tmp_path), described, (3, 32, 32), (8,))
    assert asked == []


@pytest.mark.gpu
def test_a_gpu_draws_the_same_from_graphs(monkeypatch):
    """In float64: so the same images, but where a number falls within rounding of an end."""
    own, images = density().to("cuda"), torch.zeros(3, 1, 4, 4, device="cuda")
    own.model.double()
    monkeypatch.setattr(inverted, "at_once", lambda model, device: 4)
    found = own.draw(images, 5, 0)
    monkeypatch.setattr(inverted, "_has_graphs", lambda device: False)
    assert torch.equal(found, own.draw(images, 5, 0))
