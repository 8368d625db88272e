import pytest
import torch
import torch.nn.functional as F

from priors.zoo import build


def shuffled(x, groups):
    """The groups' first channels, then their second ones, and so on: as cards are dealt."""
    size = x.shape[1] // groups
    y = torch.empty_like(x)
    for i in range(groups):
        for j in range(size):
            y[:, j * groups + i] = x[:, i * size + j]
    return y


def grouped(x, weight, groups, **options):
    """Each group's convolution by itself."""
    parts = zip(x.chunk(groups, 1), weight.chunk(groups), strict=True)
    return torch.cat([F.conv2d(part, own, **options) for part, own in parts], 1)


def norm(x, layer):
    scale = layer.weight / (layer.running_var + layer.eps).sqrt()
    return (x - layer.running_mean.view(-1, 1, 1)) * scale.view(-1, 1, 1) + layer.bias.view(-1, 1, 1)


@pytest.mark.parametrize(
    ("group", "index", "inputs", "computed", "first"),
    [(1, 0, 24, 216, 1), (1, 1, 240, 240, 3), (2, 0, 240, 240, 3), (3, 3, 960, 960, 3)],
)
def test_blocks_against_their_definition(group, index, inputs, computed, first, varied):
    torch.manual_seed(0)
    network = varied(build("shufflenet-v1", classes=10, image_shape=(3, 8, 8)))
    # A group is its blocks with the ReLUs between them.
    block = getattr(network.body, f"group{group}")[2 * index]
    x = torch.rand(2, inputs, 6, 6)
    stride = 2 if index == 0 else 1
    y = shuffled(norm(grouped(x, block.conv1.weight, first), block.norm1).relu(), first)
    assert y.shape[1] == computed // 4
    y = norm(grouped(y, block.conv2.weight, computed // 4, stride=stride, padding=1), block.norm2).relu()
    y = norm(grouped(y, block.conv3.weight, 3), block.norm3)
    around = F.pad(x, (1, 1, 1, 1)).unfold(2, 3, stride).unfold(3, 3, stride).mean((-2, -1))
    expected = torch.cat([y, around], 1) if stride == 2 else x + y
    torch.testing.assert_close(block(x), expected)
    assert (expected < 0).any()


def test_a_shuffle_mixes_what_groups_keep_apart():
    block = build("shufflenet-v1", classes=10, image_shape=(3, 8, 8)).body.group2[2]
    images = torch.randn(2, 120, 3, 3)
    assert torch.equal(block.shuffle(images), shuffled(images, 3)) and block.shuffle.groups == 3
    with torch.no_grad():  # where PyTorch may take another way
        assert torch.equal(block.shuffle(images), shuffled(images, 3))
        fast = block.shuffle(images.to(memory_format=torch.channels_last))
    assert torch.equal(fast, shuffled(images, 3))
    x = images.double().requires_grad_()
    weight = torch.randn(2, 120, 3, 3, dtype=torch.float64)
    (gradient,) = torch.autograd.grad((block.shuffle(x) * weight).sum(), x)
    assert torch.equal(shuffled(gradient, 3), weight)
