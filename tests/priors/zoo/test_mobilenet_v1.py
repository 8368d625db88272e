import torch
from torch import nn

from priors.zoo import build


def test_mobilenet_has_the_published_size_and_halves_where_it_should():
    with torch.device("meta"):
        network = build("mobilenet-v1", classes=1000, image_shape=(3, 224, 224))
    assert sum(one.numel() for one in network.parameters()) == 4_231_976
    halving = [name for name, layer in network.named_modules() if getattr(layer, "stride", 1) == (2, 2)]
    assert halving == ["body.stem.0", *(f"body.block{n}.conv1" for n in (2, 4, 6, 12))]
    depthwise = [layer for layer in network.modules() if isinstance(layer, nn.Conv2d) and layer.groups > 1]
    assert len(depthwise) == 13 and all(layer.groups == layer.in_channels for layer in depthwise)
