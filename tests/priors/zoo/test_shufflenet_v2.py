import torch
from torchvision.models import shufflenet_v2_x1_0

from priors.reading.taps import tap
from priors.zoo import build


def test_network_is_torchvisions_after_the_stem(varied, transplant):
    torch.manual_seed(0)
    reference = varied(shufflenet_v2_x1_0(num_classes=10))
    network = build("shufflenet-v2", classes=10, image_shape=(3, 32, 32)).eval()
    pairs = [("group1", "stage2"), ("group2", "stage3"), ("group3", "stage4")]
    for own, other in pairs:
        transplant(getattr(reference, other), getattr(network.body, own))
    transplant(reference.conv5[0], network.body.conv)
    transplant(reference.conv5[1], network.body.norm)
    with torch.no_grad(), tap(network, ["body.stem", *network.stages]) as taps:
        activations = network.penultimate(torch.rand(2, 3, 32, 32))
        x = taps["body.stem"]
        assert x.shape == (2, 24, 32, 32) and x.min() == 0
        for stage, (_, other) in zip(network.stages, pairs, strict=True):
            x = getattr(reference, other)(x)
            assert (taps[stage] < 0).any() and (x[0] - x[1]).std() > 0.1
            torch.testing.assert_close(taps[stage].relu(), x)
        torch.testing.assert_close(activations, reference.conv5(x).mean((2, 3)))


def test_half_of_the_channels_go_through_blocks_untouched_and_are_shuffled():
    block = build("shufflenet-v2", classes=10, image_shape=(3, 8, 8)).eval().body.group1[2]
    x = torch.rand(2, 116, 4, 4)
    y = block(x)
    assert torch.equal(y[:, 0::2], x[:, :58])
    assert torch.equal(y[:, 1::2], block.branch(x[:, 58:]))
