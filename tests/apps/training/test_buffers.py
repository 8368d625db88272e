"""Buffers of networks that several processes train: each keeps its own, then takes the first one's."""

import pytest
import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from apps.training import buffers
from apps.training.buffers import keep_own, share


@pytest.fixture
def group():
    """A process group of this process alone."""
    torch.distributed.init_process_group("gloo", store=torch.distributed.HashStore(), rank=0, world_size=1)
    yield
    torch.distributed.destroy_process_group()


def test_a_step_sends_none(group, monkeypatch):
    """torch's own way is to send them before each pass."""
    sent = []
    monkeypatch.setattr(DistributedDataParallel, "_sync_buffers", lambda network: sent.append(network))
    usual, ours = DistributedDataParallel(nn.BatchNorm1d(2)), keep_own(DistributedDataParallel(nn.BatchNorm1d(2)))
    for network in (usual, ours, usual, ours):
        network(torch.randn(4, 2)).sum().backward()
    assert sent == [usual, usual]
    assert keep_own(plain := nn.Linear(1, 1)) is plain


def test_all_take_the_first_one_s(group, monkeypatch):
    """Whatever their types and shapes, one message for each type; one process alone sends none."""
    network = nn.Sequential(nn.BatchNorm2d(3), nn.Linear(2, 2), nn.BatchNorm1d(4))
    network.register_buffer("scale", torch.tensor(2.0, dtype=torch.float64))
    before = {name: value.clone() for name, value in network.named_buffers()}
    messages = []

    def broadcast(tensor, source):
        assert source == 0 and tensor.ndim == 1
        messages.append(tensor.dtype)
        tensor.add_(torch.arange(len(tensor), dtype=tensor.dtype))

    monkeypatch.setattr(buffers.torch.distributed, "broadcast", broadcast)
    share(network)
    assert messages == []
    monkeypatch.setattr(buffers.torch.distributed, "get_world_size", lambda: 2)
    share(network)
    assert sorted(map(str, messages)) == ["torch.float32", "torch.float64", "torch.int64"]
    after, place = dict(network.named_buffers()), {}
    for name, value in before.items():
        first = place.get(value.dtype, 0)
        added = torch.arange(first, first + value.numel(), dtype=value.dtype).view(value.shape)
        torch.testing.assert_close(after[name], value + added, rtol=0, atol=0)
        place[value.dtype] = first + value.numel()
