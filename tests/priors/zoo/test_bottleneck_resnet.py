import pytest
import torch
from torch import nn
from torchvision.models.resnet import Bottleneck

from priors.zoo import build


@pytest.mark.parametrize(
    ("group", "index", "stride"), [(1, 0, 1), (1, 2, 1), (2, 0, 2), (2, 2, 1)], ids=lambda value: str(value)
)
def test_blocks_against_torchvisions(group, index, stride, varied):
    torch.manual_seed(0)
    with torch.device("meta"):
        network = build("resnet-50", classes=10, image_shape=(3, 8, 8))
    block = getattr(network.body, f"group{group}")[index].to_empty(device="cpu")
    inputs, outputs = block.conv1.in_channels, 256 * group
    shortcut = (
        nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))
        if inputs != outputs
        else None
    )
    reference = varied(Bottleneck(inputs, outputs // 4, stride, shortcut))
    block.eval().load_state_dict(
        {n.replace("bn", "norm").replace("downsample", "shortcut"): t for n, t in reference.state_dict().items()}
    )
    x = torch.randn(2, inputs, 8, 8)
    assert torch.equal(block(x).relu(), reference(x)) and (block(x) < 0).any()


def test_halvings_are_in_the_first_block_of_each_later_group():
    with torch.device("meta"):
        network = build("resnet-50", classes=10, image_shape=(3, 8, 8))
    halving = [name for name, layer in network.named_modules() if getattr(layer, "stride", 1) == (2, 2)]
    at = [f"body.group{n}.0.{layer}" for n in (2, 3, 4) for layer in ("conv2", "shortcut.0")]
    assert halving == at and not any(isinstance(layer, nn.MaxPool2d) for layer in network.modules())
