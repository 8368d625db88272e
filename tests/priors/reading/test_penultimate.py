"""What a final linear layer is given, of any network: batches, modes, gradients."""

import pytest
import torch
from torch import nn

from priors import penultimate
from priors.errors import InputError
from priors.zoo import build, wrap


class Own(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.norm, self.drop = nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.Dropout(0.5)
        self.hidden, self.out, self.seen = nn.Linear(6, 5), nn.Linear(5, 4), []

    def body(self, images):
        self.seen.append(len(images))
        return self.hidden(self.drop(self.norm(self.conv(images))).relu().mean((2, 3))).relu()

    def forward(self, images):
        return self.out(self.body(images))


IMAGES = torch.rand(7, 3, 8, 8, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("batch_size", [1, 3, 7, 100])
def test_in_batches_and_in_evaluation_mode(batch_size):
    own = Own()
    own.norm.eval()
    modes = {module: module.training for module in own.modules()}
    statistics = own.norm.running_mean.clone()
    found = penultimate(own, IMAGES, batch_size=batch_size)
    assert {module: module.training for module in own.modules()} == modes and own.training and not own.norm.training
    assert torch.equal(own.norm.running_mean, statistics) and not found.requires_grad
    parts = [len(part) for part in IMAGES.split(batch_size)]
    assert own.seen[-len(parts) :] == parts, "after those of the pass that looks for the head"
    torch.testing.assert_close(found, own.eval().body(IMAGES).detach())


def test_on_the_graph_where_asked():
    own, images = Own(), IMAGES.clone().requires_grad_()
    found = penultimate(own, images, gradients=True, batch_size=3)
    expected = own.eval().body(images)
    for one in (images, own.conv.weight):
        theirs, ours = (torch.autograd.grad(a.square().sum(), one, retain_graph=True) for a in (found, expected))
        torch.testing.assert_close(theirs, ours)
    with torch.no_grad():
        assert penultimate(own, images, gradients=True).requires_grad
    assert not penultimate(own, images).requires_grad


def test_classifiers_normalise_and_others_do_not():
    own = Own()
    wrapped = wrap(own, mean=0.4, std=0.2)
    torch.testing.assert_close(penultimate(wrapped, IMAGES), penultimate(own, (IMAGES - 0.4) / 0.2))
    built = build("mlp", classes=3, image_shape=(3, 8, 8))
    torch.testing.assert_close(penultimate(built, IMAGES), built.penultimate(IMAGES).detach())


def test_of_torchvisions():
    from torchvision.models import shufflenet_v2_x0_5

    torch.manual_seed(0)
    network = shufflenet_v2_x0_5(num_classes=4).eval()
    images = torch.rand(2, 3, 32, 32)
    given = penultimate(network, images)
    torch.testing.assert_close(network.fc(given), network(images))
    assert given.shape == (2, 1024)


def test_what_cannot_be_is_said():
    own = Own()
    for wrong, said in (
        (lambda: penultimate(own, IMAGES[:0]), r"shape \(0, 3, 8, 8\): a batch of one image or more"),
        (lambda: penultimate(own, torch.ones(2, 3, 8, 8, dtype=torch.uint8)), "images"),
        (lambda: penultimate(own, IMAGES, batch_size=0), "batch_size is 0: 1 or more"),
        (lambda: penultimate(own, IMAGES, head="otu"), "unknown module 'otu'.*did you mean 'out'"),
        (lambda: penultimate(own, IMAGES, head="conv"), "'conv' is a Conv2d: a linear layer"),
        (lambda: penultimate(nn.Sequential(nn.Linear(8, 5)), IMAGES, head="0"), "one vector an image"),
    ):
        with pytest.raises(InputError, match=said):
            wrong()
    assert own.training, "also after an error"
