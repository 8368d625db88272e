import pytest
import torch
from torch import nn
from torchvision import models

from priors.errors import InputError
from priors.reading.taps import tap
from priors.zoo import build, load, save, wrap


class Own(nn.Module):
    """A user's network: normalised images in, logits out, in-place activations inside."""

    def __init__(self, classes=4):
        super().__init__()
        self.conv, self.act = nn.Conv2d(3, 6, 3), nn.ReLU(inplace=True)
        self.hidden, self.out = nn.Linear(6, 5), nn.Linear(5, classes)

    def forward(self, x):
        return self.out(self.act(self.hidden(self.act(self.conv(x)).mean((2, 3)))))


@pytest.fixture
def images():
    return torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))


def test_a_users_network_becomes_a_classifier_without_being_changed(images):
    torch.manual_seed(0)
    own = Own()
    names = list(own.state_dict())
    network = wrap(
        own, mean=(0.1, 0.2, 0.3), std=0.5, class_names=list("abcd"), image_shape=(3, 8, 8), taps=["conv", "act#2"]
    )
    normalised = (images - torch.tensor([0.1, 0.2, 0.3]).view(3, 1, 1)) / 0.5
    hidden = own.hidden(own.conv(normalised).relu().mean((2, 3))).relu()
    torch.testing.assert_close(network(images), own(normalised))
    torch.testing.assert_close(network.penultimate(images), hidden)
    assert network.head is own.out and network.class_names == ("a", "b", "c", "d") and list(own.state_dict()) == names
    with tap(network, [*network.stages, network.penultimate_tap]) as taps:
        network(images)
    torch.testing.assert_close(taps["network.conv"], own.conv(normalised))
    torch.testing.assert_close(taps[network.penultimate_tap], hidden)
    torch.testing.assert_close(taps["network.act#2"], hidden)
    (grad,) = torch.autograd.grad(network.penultimate(images).sum(), own.conv.weight)
    assert grad.abs().sum() > 0
    with pytest.raises(InputError, match="images are 3 x 9 x 8.*takes 3 x 8 x 8"):
        network(torch.rand(2, 3, 9, 8))


def test_any_size_is_taken_where_none_was_said():
    network = wrap(models.resnet18(num_classes=5)).eval()
    for size in (32, 40):
        assert network(torch.rand(1, 3, size, size)).shape == (1, 5)
        assert network.penultimate(torch.rand(1, 3, size, size)).shape == (1, 512)
    assert network.class_names == ("0", "1", "2", "3", "4") and network.head_name == "network.fc"


def test_what_does_not_suit_is_said():
    two = nn.ModuleDict({"left": nn.Linear(8, 5), "right": nn.Linear(8, 4)})
    with pytest.raises(InputError, match="one of left, right"):
        wrap(two)
    assert wrap(two, head="left").classes == 5
    with pytest.raises(InputError, match="'conv' is a Conv2d: a linear layer"):
        wrap(Own(), head="conv")
    with pytest.raises(InputError, match="3 class names were given, but the head 'out' has 4 outputs"):
        wrap(Own(), class_names=list("abc"))
    with pytest.raises(InputError, match="unknown module 'covn'.*did you mean 'conv'"):
        wrap(Own(), taps=["covn"])
    with pytest.raises(InputError, match="image_shape is"):
        wrap(Own(), image_shape=(8, 8))


def test_outputs_that_are_no_logits_are_said(images):
    class Pair(Own):
        def forward(self, x):
            return super().forward(x), x

    with pytest.raises(InputError, match=r"Pair gives a tuple: logits of shape \(2, 4\)"):
        wrap(Pair())(images)
    with pytest.raises(InputError, match=r"Sequential gives \(2, 3, 8, 5\)"):
        wrap(nn.Sequential(nn.Linear(8, 5)))(images)
    with pytest.raises(InputError, match=r"is given \(2, 3, 8, 8\) for 2 images"):
        wrap(nn.Sequential(nn.Linear(8, 5))).penultimate(images)


def test_weights_of_a_users_network_come_back_into_another(images, tmp_path):
    torch.manual_seed(0)
    network = wrap(Own(), mean=0.3, class_names=list("abcd"), taps=["conv"]).eval()
    network.provenance["data"] = "noise"
    save(network, tmp_path)
    again = load(tmp_path, Own())
    assert torch.equal(again(images), network(images)) and again.class_names == network.class_names
    assert (
        again.stages == network.stages
        and again.provenance == {"data": "noise"}
        and again.mean.tolist() == [pytest.approx(0.3)]
    )
    with pytest.raises(InputError, match="holds the weights of your own Own"):
        load(tmp_path)
    with pytest.raises(InputError, match="4 class names were given, but the head 'out' has 3 outputs"):
        load(tmp_path, Own(classes=3))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_a_network_of_another_type_takes_the_same_images(images, dtype):
    """As it is, in its own type: of a built one and of a user's."""
    for network in (wrap(Own()).eval(), build("mlp", classes=4, image_shape=(3, 8, 8)).eval()):
        expected = network(images)
        found = network.to(dtype)(images)
        assert found.dtype == network.penultimate(images).dtype == dtype
        torch.testing.assert_close(found.float(), expected, atol=0.02, rtol=0.02)
    assert wrap(Own())(images.double()).dtype == torch.float32


@pytest.mark.parametrize("error", [torch.AcceleratorError("CUDA error: device-side assert"), torch.OutOfMemoryError()])
def test_images_are_not_blamed_for_a_device(images, error):
    class Failing(nn.Linear):
        def forward(self, x):
            raise error

    with pytest.raises(type(error)) as raised:
        wrap(nn.Sequential(nn.Flatten(), Failing(192, 3)))(images)
    assert raised.value is error


def test_images_that_a_users_network_cannot_take_are_said_in_one_line(images):
    network = wrap(nn.Sequential(nn.Flatten(), nn.Linear(7, 3)))
    for call in (network, network.penultimate):
        with pytest.raises(InputError, match="Sequential cannot take images of 3x8x8 .* in float32: mat1 and mat2"):
            call(images)
