"""Networks as they are followed, and left as they were."""

import torch
from torch import nn

from distill.followed import batch_statistics


def test_batch_statistics_leave_the_network_as_it_is():
    network = nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.Dropout(0.5)).eval()
    images = torch.rand(4, 1, 6, 6) * 5 + 2
    before = {name: values.clone() for name, values in network.state_dict().items()}
    running = network(images)
    with batch_statistics(network):
        found = network(images)
    hidden = network[0](images)
    mean, variance = hidden.mean((0, 2, 3), keepdim=True), hidden.var((0, 2, 3), correction=0, keepdim=True)
    torch.testing.assert_close(found, (hidden - mean) / (variance + 1e-5).sqrt())
    assert torch.equal(network(images), running) and not network[1].training
    assert all(torch.equal(values, before[name]) for name, values in network.state_dict().items())
