"""What a training takes at the least, against what torch's autograd keeps."""

import pytest
import torch
from torch import nn

from apps.command.config import Optimisation
from apps.training.memory import available_bytes, check_memory, check_training, training_bytes, within_memory
from priors import zoo
from priors.errors import InputError


@pytest.mark.parametrize("name", ["wrn-16-1", "resnet-20"])
def test_it_is_about_what_autograd_keeps(name):
    """What autograd saves for the backward pass of a batch, each storage once, and the weights and their copies."""
    with torch.device("meta"):
        bare = zoo.build(name, classes=10, image_shape=(3, 16, 16))
    network = zoo.build(name, classes=10, image_shape=(3, 16, 16)).train()
    weights = {parameter.data_ptr() for parameter in network.parameters()}
    saved = {}

    def keep(tensor):
        if tensor.data_ptr() not in weights:
            saved[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        loss = network(torch.rand(32, 3, 16, 16)).sum()
    loss.backward()
    handed_on = sum(tensor.untyped_storage().nbytes() for tensor in saved.values())
    copies = 3 * sum(parameter.numel() * parameter.element_size() for parameter in network.parameters())
    found = training_bytes(bare, (3, 16, 16), 32, "sgd")
    assert 0.8 < found / (handed_on + copies) < 1.05


def test_more_than_there_is_is_refused():
    cpu = torch.device("cpu")
    there = available_bytes(cpu)
    assert 2**20 < there < 2**50
    check_memory("it", 2**20, cpu)
    with pytest.raises(InputError, match=r"it needs about 1,048,576.0 GiB and [\d.,]+ GiB are free on cpu"):
        check_memory("it", 2**50, cpu)


def test_linear_layers_alone():
    with torch.device("meta"):
        network = nn.Sequential(nn.Flatten(), nn.Linear(12, 5), nn.ReLU(), nn.Linear(5, 2))
    weights = 12 * 5 + 5 + 5 * 2 + 2
    assert training_bytes(network, (3, 2, 2), 10, "adam") == 4 * (weights * 4 + 10 * (5 + 5 + 2))


def test_a_batch_that_cannot_fit_is_refused_of_networks_that_are_built():
    network, image = nn.Sequential(nn.Flatten(), nn.Linear(12, 5)), torch.zeros(1, 3, 2, 2, device="meta")
    ask = {"networks": {"model": network}, "forward": {"model": (image,)}, "device": torch.device("cpu")}
    check_training(**ask, batch=1000, config=Optimisation())
    with pytest.raises(InputError, match=r"the training of 65 weights with 1,000,000,000,000 images at a time needs"):
        check_training(**ask, batch=10**12, config=Optimisation())
    assert next(network.parameters()).device.type == "cpu", "the network itself is left where it is"


def test_a_tensor_that_cannot_fit_is_refused_before_it_is_taken():
    with within_memory():
        small, bare = torch.zeros(3, 4), torch.empty(10**7, 10**7, device="meta")
        with pytest.raises(InputError, match=r"a tensor of 10,000,000 x 10,000,000 numbers needs 372,529\.0 GiB"):
            nn.Linear(10**7, 10**7)
    assert small.shape == (3, 4) and bare.device.type == "meta"
