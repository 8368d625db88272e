import torch
import torch.nn.functional as F
from torch import nn
from torchvision.models.mobilenetv2 import InvertedResidual, MobileNetV2

from priors.reading.taps import tap
from priors.zoo import build

# Expansion, channels, blocks and stride, as torchvision takes them: the second group keeps the size of small images.
SMALL = [[1, 16, 1, 1], [6, 24, 2, 1], [6, 32, 3, 2], [6, 64, 4, 2], [6, 96, 3, 1], [6, 160, 3, 2], [6, 320, 1, 1]]


def uncut(network):
    """The same with ReLUs in the place of those that are cut at 6."""
    for module in list(network.modules()):
        for name, child in module.named_children():
            if isinstance(child, nn.ReLU6):
                setattr(module, name, nn.ReLU())
    return network


def test_network_is_torchvisions_from_the_second_group_on(varied, transplant):
    torch.manual_seed(0)
    features = MobileNetV2(10, 0.5, SMALL, round_nearest=1).features
    reference = varied(uncut(features[2:]))
    network = build("mobilenet-v2", classes=10, image_shape=(3, 32, 32)).eval()
    own = network.body[2:]
    transplant(reference, own)
    x = torch.randn(2, 8, 16, 16)
    expected = reference(x)
    assert expected.shape == (2, 1280, 2, 2) and (expected[0] - expected[1]).std() > 0.1
    torch.testing.assert_close(own(x), expected.mean((2, 3)))
    with tap(network, [*network.stages, "body.group2:input"]) as taps:
        network(torch.rand(2, 3, 32, 32))
    x = taps["body.group2:input"]
    # The last block of torchvision's groups 2, 3, 5 and 7, counted from where they are cut off.
    for stage, until in zip(network.stages, (2, 5, 12, 16), strict=True):
        torch.testing.assert_close(taps[stage], reference[:until](x))


def test_first_block_is_torchvisions_with_a_convolution_before_it(varied, transplant):
    torch.manual_seed(0)
    block = varied(build("mobilenet-v2", classes=10, image_shape=(3, 32, 32)).body.group1[0])
    reference = InvertedResidual(16, 8, 1, 1).eval()
    transplant(nn.Sequential(block.conv2, block.norm2, block.conv3, block.norm3), reference)
    x = torch.randn(2, 16, 8, 8)
    expanded = F.batch_norm(
        F.conv2d(x, block.conv1.weight),
        block.norm1.running_mean,
        block.norm1.running_var,
        block.norm1.weight,
        block.norm1.bias,
    ).relu()
    torch.testing.assert_close(block(x), uncut(reference)(expanded))


def test_depthwise_convolutions_filter_each_channel_by_itself():
    torch.manual_seed(0)
    network = build("mobilenet-v2", classes=10, image_shape=(3, 32, 32))
    blocks = [block for n in range(1, 8) for block in getattr(network.body, f"group{n}")]
    assert len(blocks) == 17 and [block.conv2.stride[0] for block in blocks].count(2) == 3
    conv = network.body.group3[0].conv2
    x = torch.randn(2, 72, 8, 8)
    each = [F.conv2d(x[:, c : c + 1], conv.weight[c : c + 1], stride=2, padding=1) for c in range(72)]
    torch.testing.assert_close(conv(x), torch.cat(each, 1))
