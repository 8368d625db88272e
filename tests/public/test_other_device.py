"""Every public function, and the generators, with all that they are given on another device than the CPU."""

from dataclasses import fields, is_dataclass

import pytest
import torch
from other_device import OTHER, Away, OtherDevice, make_way
from public_calls import CALLS, Given
from small_generators import GENERATORS, sngan
from torch import Tensor, nn

from apps.generators.latents import Gaussian
from apps.generators.sngan import Discriminator, architecture
from priors import InputError, zoo


@pytest.fixture(autouse=True)
def way(monkeypatch, as_a_user):
    """To the other device and back."""
    make_way(monkeypatch)


def leaves(found) -> list:
    """The tensors of a result on the CPU, and its numbers."""
    if isinstance(found, nn.Module):
        found = tuple(found.state_dict().values())
    if is_dataclass(found):
        found = tuple(getattr(found, one.name) for one in fields(found))
    if isinstance(found, tuple | list):
        return [leaf for part in found for leaf in leaves(part)]
    return [found.held.detach() if isinstance(found, Away) else found]


def same(call) -> None:
    """Make sure that a call gives on the other device what it gives on the CPU."""
    torch.manual_seed(0)
    expected = leaves(call("cpu"))
    torch.manual_seed(0)
    with OtherDevice(), torch.no_grad():
        found = leaves(call(OTHER))
    for one, other in zip(found, expected, strict=True):
        if isinstance(one, Tensor):
            torch.testing.assert_close(one, other.detach(), equal_nan=True, rtol=1e-4, atol=1e-4)
        else:
            assert one == (pytest.approx(other, rel=1e-4) if isinstance(other, float) else other)


SLOW = ("objective ckd", "cosine_fits")
"""What takes a second, and whose parts are called by other names."""


@pytest.mark.parametrize("name", [pytest.param(one, marks=[pytest.mark.slow] * (one in SLOW)) for one in CALLS])
def test_nothing_mixes_devices(name):
    same(lambda device: CALLS[name](Given(torch.float32, device=device)))


def test_the_device_tells_mixtures_and_knows_values():
    with OtherDevice():
        there = torch.ones(3).to(OTHER)
        assert there.device.type == OTHER and float((2 * there).sum()) == 6 and bool((there > 0).all())
        with pytest.raises(RuntimeError, match="same device"):
            there + torch.ones(3)


@pytest.mark.parametrize("name", GENERATORS)
def test_a_generator_draws_there_for_labels_and_by_a_source_on_the_cpu(name):
    torch.manual_seed(1)
    model = GENERATORS[name]().eval()
    images, labels = torch.rand(2, 1, 2, 2).round(), torch.tensor([0, 2])

    def drawn(device):
        there, source = model.to(device), torch.Generator().manual_seed(0)
        found = [there.generate(labels, source), there.generate(["cat", "emu"], source)]
        if name.startswith("hvae"):
            own = images.to(device), labels.to(device)
            found += [there(*own, source), there.evidence(*own, 3, source)]
        return found

    same(drawn)


def test_networks_run_there():
    torch.manual_seed(1)
    critic = Discriminator(architecture("mimicry", (1, 8, 8), 4, 2), 3).eval()
    networks = [zoo.build(name, classes=3, image_shape=(1, 32, 32)).eval() for name in ("mlp", "convnet-half")]
    same(lambda device: critic.to(device)(torch.ones(2, 1, 8, 8).to(device), torch.tensor([0, 2]).to(device)))
    for network in networks:
        same(lambda device, network=network: network.to(device)(torch.ones(2, 1, 32, 32).to(device)))


def test_labels_out_of_range_are_said_where_they_can_be_looked_at():
    with pytest.raises(InputError, match="label 3 is out of range"):
        sngan(Gaussian(5)).generate(torch.tensor([3]))
