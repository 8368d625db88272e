"""Networks whose every layer tells in what comes out."""

import pytest
import torch
from torch import nn


@pytest.fixture
def varied():
    """A function that gives a network in evaluation mode, whose convolutions keep the size of what they are given.

    Each of its batch norms has numbers of its own.
    """

    def vary(network: nn.Module) -> nn.Module:
        seeded = torch.Generator().manual_seed(0)
        for layer in network.modules():
            if isinstance(layer, nn.Conv2d):
                layer.weight.data.normal_(0, (2 / layer.weight[0].numel()) ** 0.5, generator=seeded)
            if isinstance(layer, nn.BatchNorm2d):
                for positive in (layer.weight.data, layer.running_var):
                    positive.uniform_(0.5, 1.5, generator=seeded)
                for any_sign in (layer.bias.data, layer.running_mean):
                    any_sign.normal_(0, 0.1, generator=seeded)
        return network.eval()

    return vary


@pytest.fixture
def transplant():
    """A function that puts the weights of one module into another that has as many, of the same shapes and order."""

    def put(source: nn.Module, target: nn.Module) -> nn.Module:
        names, weights = list(target.state_dict()), list(source.state_dict().values())
        target.load_state_dict(dict(zip(names, weights, strict=True)))
        return target

    return put
