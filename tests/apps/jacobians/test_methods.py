"""Saliency methods: ours by the decomposition, Captum's as published where that can be written out."""

import importlib.util

import pytest
import torch
import torchvision
from torch import nn
from torch.nn import functional

from analysis.jacobians.decomposition import decompose
from analysis.jacobians.derivatives import load_forward_derivatives
from analysis.jacobians.saliency import full_jacobian_saliency
from apps.jacobians.methods import methods
from apps.jacobians.settings import METHOD_NAMES, MethodChoices
from apps.jacobians.sites import last_maps
from apps.jacobians.subject import Subject
from priors import InputError, zoo


@pytest.fixture(scope="module", autouse=True)
def forward_derivatives():
    """Loaded, which makes torch warn of its own function."""
    load_forward_derivatives()


def still(network: nn.Module) -> nn.Module:
    for one in network.modules():
        if isinstance(one, nn.BatchNorm2d):
            nn.init.normal_(one.bias, std=0.3)
            nn.init.normal_(one.running_mean, std=0.3)
    return network.eval()


def built(make) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return still(make())


def mobilenet():
    """Of ReLU6."""
    return torchvision.models.mobilenet_v2(num_classes=7, width_mult=0.25)


def densenet():
    """Of modules, and of one function that writes over what it is given."""
    return torchvision.models.DenseNet(8, (2, 2), 16, num_classes=7)


def resnet():
    return torchvision.models.ResNet(torchvision.models.resnet.BasicBlock, [1, 1, 1, 1], num_classes=7)


def images(count=3, side=32):
    return torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(1))


TARGET = torch.tensor([1, 5, 3])


class Functional(nn.Module):
    """Two layers, with a rectifier that is told by name."""

    def __init__(self, rectify):
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second = nn.Conv2d(3, 6, 3), nn.Conv2d(6, 6, 3)
        self.head = nn.Linear(6, 7)
        self.rectify = rectify

    def forward(self, x):
        return self.head(self.rectify(self.second(self.rectify(self.first(x)))).mean((2, 3)))


@pytest.mark.parametrize("name", METHOD_NAMES)
def test_a_map_an_image_however_they_are_batched(name):
    network, x = built(resnet), images()
    maps = methods([name], MethodChoices("layer1", steps=4, noisy=6))[name]
    before = [one.requires_grad for one in network.parameters()]
    together = maps(Subject(network, x, TARGET, "margin", seed=3))
    assert together.shape == (3, 32, 32) and together.dtype == torch.float32
    assert together.min() >= 0 and together.max() > 0 and not together.requires_grad
    alone = torch.cat([maps(Subject(network, x[i : i + 1], TARGET[i : i + 1], "margin", seed=3)) for i in range(3)])
    torch.testing.assert_close(together, alone, rtol=1e-3, atol=1e-5 * float(together.max()))
    assert [one.requires_grad for one in network.parameters()] == before
    assert all(one.inplace for one in network.modules() if isinstance(one, nn.ReLU))


@pytest.mark.parametrize(
    ("name", "variant"), [("full-jacobian", "paper"), ("full-jacobian-authors", "authors"), ("bias-jacobian", "bias")]
)
def test_ours_are_the_decomposition(name, variant):
    network, x = built(resnet), images()
    found = decompose(network, x, TARGET, of="margin", keep="values")
    maps = methods([name])[name](Subject(network, x, TARGET, "margin"))
    torch.testing.assert_close(maps, full_jacobian_saliency(found, variant=variant), rtol=1e-4, atol=1e-4)


def test_methods_share_one_decomposition(monkeypatch):
    network, x, made = built(resnet), images(), []

    def counted(*given, **options):
        made.append(options["keep"])
        return decompose(*given, **options)

    monkeypatch.setattr("apps.jacobians.subject.decompose", counted)
    one, given = Subject(network, x, TARGET), methods(["full-jacobian", "bias-jacobian", "input-gradient"])
    maps = {name: method(one) for name, method in given.items()}
    assert made == ["maps"] and one.decomposition is one.decomposition
    slope = (one.decomposition.jacobian * x).abs().sum(1)
    torch.testing.assert_close(maps["full-jacobian"] - maps["bias-jacobian"], slope, rtol=1e-3, atol=1e-4)


def gradient(network, x, target):
    leaf = x.clone().requires_grad_()
    return torch.autograd.grad(network(leaf).gather(1, target[:, None]).sum(), leaf)[0]


def test_input_gradient_is_autograds():
    network, x = built(resnet), images()
    maps = methods(["input-gradient"])["input-gradient"](Subject(network, x, TARGET))
    torch.testing.assert_close(maps, gradient(network, x, TARGET).abs().sum(1))


def test_smooth_grad_is_the_mean_over_noise_that_the_seed_says():
    network, x = built(resnet), images()
    random = torch.Generator().manual_seed(7)
    noise = [torch.randn(3, 32, 32, generator=random) for _ in range(5)]
    expected = sum(gradient(network, x + 0.2 * one, TARGET) for one in noise).div(5).abs().sum(1)
    maps = methods(["smooth-grad"], MethodChoices(noisy=5, noise=0.2))["smooth-grad"]
    torch.testing.assert_close(maps(Subject(network, x, TARGET, seed=7)), expected, rtol=1e-3, atol=1e-5)
    assert not torch.allclose(maps(Subject(network, x, TARGET, seed=8)), expected, rtol=1e-2)


def test_integrated_gradients_are_the_image_times_the_mean_slope():
    """By a midpoint rule of many more steps, of a smooth network, so that both are near."""
    network, x = built(lambda: Functional(nn.functional.softplus)), images()
    steps = 400
    mean = sum(gradient(network, x * (step + 0.5) / steps, TARGET) for step in range(steps)) / steps
    maps = methods(["integrated-gradients"])["integrated-gradients"](Subject(network, x, TARGET))
    torch.testing.assert_close(maps, (mean * x).abs().sum(1), rtol=1e-3, atol=1e-6)


def test_grad_cam_is_the_layers_maps_weighed():
    network, x = built(resnet), images(side=64)
    assert last_maps(network, x) == "layer4"
    for layer, module in ((None, network.layer4), ("layer2.0.conv1", network.layer2[0].conv1)):
        kept = []
        hook = module.register_forward_hook(lambda _, __, output, kept=kept: kept.append(output))
        (slope,) = torch.autograd.grad(network(x).gather(1, TARGET[:, None]).sum(), kept[0])
        hook.remove()
        weighed = (slope.mean((2, 3), keepdim=True) * kept[0]).sum(1, keepdim=True).relu()
        expected = functional.interpolate(weighed, (64, 64), mode="bilinear")[:, 0].detach()
        maps = methods(["grad-cam"], MethodChoices(layer=layer))["grad-cam"](Subject(network, x, TARGET))
        torch.testing.assert_close(maps, expected, rtol=1e-4, atol=1e-6)
    with pytest.raises(InputError, match=r"unknown module .*did you mean 'layer4'"):
        methods(["grad-cam"], MethodChoices(layer="layer5"))["grad-cam"](Subject(network, x, TARGET))
    with pytest.raises(InputError, match="'avgpool' gives no maps"):
        methods(["grad-cam"], MethodChoices(layer="avgpool"))["grad-cam"](Subject(network, x, TARGET))


def test_grad_cam_takes_the_last_run_of_a_layer():
    """As of one rectifier that a network uses throughout."""
    network, x = Functional(nn.ReLU()).eval(), images()
    assert last_maps(network, x) == "rectify"
    last = network.second(network.first(x).relu()).relu()
    slope = network.head.weight[TARGET][:, :, None, None] / last[0, 0].numel()
    expected = functional.interpolate((slope * last).sum(1, keepdim=True).relu(), (32, 32), mode="bilinear")
    maps = methods(["grad-cam"])["grad-cam"](Subject(network, x, TARGET))
    torch.testing.assert_close(maps, expected[:, 0].detach(), rtol=1e-4, atol=1e-7)


def guided(network, x):
    return methods(["guided-backprop"])["guided-backprop"](Subject(network, x, TARGET))


@pytest.mark.parametrize("make", [mobilenet, densenet], ids=["relu6", "functions"])
def test_guided_backprop_is_not_the_plain_gradient(make):
    network, x = built(make), images()
    plain = gradient(network, x, TARGET).abs().sum(1)
    maps = guided(network, x)
    difference = (maps - plain).abs().flatten(1).amax(1) / plain.flatten(1).amax(1)
    assert difference.min() > 0.05


RECTIFIERS = {
    "module": nn.ReLU(),
    "in place": nn.ReLU(inplace=True),
    "function": functional.relu,
    "method": torch.Tensor.relu,
    "own": lambda x: x.relu_(),
    "not given back": lambda x: (x.relu_(), x)[1],
    "told": lambda x: functional.relu(x, inplace=True),
    "clamp": lambda x: x.clamp(min=0),
    "clamp of torch": lambda x: torch.clamp(x, 0, None),
    "clamp_min": lambda x: x.clamp_min(0),
}


@pytest.mark.parametrize("rectify", RECTIFIERS.values(), ids=RECTIFIERS)
def test_guided_backprop_by_hand(rectify):
    """Springenberg et al. 2015, equation of figure 1c, written out for two layers."""
    network, x = Functional(rectify).eval(), images()
    first = network.first(x)
    second = network.second(first.relu())
    slope = network.head.weight[TARGET][:, :, None, None].expand_as(second) / second[0, 0].numel()
    slope = slope.clamp_min(0) * (second > 0)
    slope = functional.conv_transpose2d(slope, network.second.weight).clamp_min(0) * (first > 0)
    expected = functional.conv_transpose2d(slope, network.first.weight).abs().sum(1)
    torch.testing.assert_close(guided(network, x), expected.detach(), rtol=1e-4, atol=1e-7)


def test_guided_backprop_stops_what_is_above_a_relu6():
    """As its own slope does: units at the limit give nothing back."""
    network, x = Functional(nn.ReLU6(inplace=True)).eval(), 40 * images()
    assert (network.first(x) > 6).any()
    expected = guided(Functional(lambda one: one.clamp(0, 6)).eval(), x)
    torch.testing.assert_close(guided(network, x), expected)
    assert not torch.allclose(expected, guided(Functional(functional.relu).eval(), x))


class Swish(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * x.sigmoid()

    @staticmethod
    def backward(ctx, slope):
        return slope


@pytest.mark.parametrize(
    ("rectify", "said"),
    [
        (functional.gelu, "computes gelu"),
        (nn.SiLU(), "computes silu"),
        (lambda x: functional.leaky_relu(x.relu()), "computes leakyrelu"),
        (lambda x: x.clamp(-1, 1), "computes clamp"),
        (nn.PReLU(), "computes prelukernel"),
        (Swish.apply, "computes Swish"),
        (torch.tanh, "no ReLU"),
    ],
)
def test_guided_backprop_refuses_what_it_is_not_for(rectify, said):
    network = Functional(rectify).eval()
    with pytest.raises(InputError, match=said):
        guided(network, images())


def test_a_gate_keeps_its_slope():
    """Squeeze and excitation: sigmoids weigh channels."""
    assert guided(Functional(lambda x: x.relu() * x.mean((2, 3), keepdim=True).sigmoid()).eval(), images()).max() > 0


def test_networks_of_tokens_have_no_relus_and_ours_go_on():
    network = built(lambda: torchvision.models.VisionTransformer(32, 8, 1, 4, 16, 32, num_classes=7))
    with pytest.raises(InputError, match="gelu"):
        guided(network, images())
    assert methods(["full-jacobian"])["full-jacobian"](Subject(network, images(), TARGET)).shape == (3, 32, 32)


def test_zoo_networks_and_their_normalisation():
    """The map of a classifier is that of its body at normalised images, where that is in the network."""
    torch.manual_seed(0)
    network = still(zoo.build("vgg-8", classes=7, image_shape=(3, 32, 32), mean=0.45, std=0.25))
    maps = methods(["full-jacobian"])["full-jacobian"](Subject(network, images(), TARGET))

    class Body(nn.Module):
        def forward(self, x):
            return network(x * 0.25 + 0.45)

    found = decompose(Body(), network.normalise(images()), TARGET)
    inside = [term for term in found.terms if term.source == "constant"]
    assert len(inside) == 2  # of the image brought back, and away again: they cancel
    leaf = network.normalise(images())
    expected = (found.jacobian * leaf).abs().sum(1)
    biases = methods(["bias-jacobian"])["bias-jacobian"](Subject(network, images(), TARGET))
    torch.testing.assert_close(maps - biases, expected, rtol=1e-3, atol=1e-4)


def test_what_is_not_there_is_said(monkeypatch):
    with pytest.raises(InputError, match="unknown saliency method 'gradcam': did you mean 'grad-cam'"):
        methods(["gradcam"])
    find = importlib.util.find_spec
    monkeypatch.setattr("apps.jacobians.baselines.find_spec", lambda name: None if name == "captum" else find(name))
    assert list(methods(["bias-jacobian"])) == ["bias-jacobian"]
    with pytest.raises(InputError, match=r"--methods smooth-grad: Captum is not installed here.*extra saliency"):
        methods(["full-jacobian", "smooth-grad"])
    with pytest.raises(InputError, match="no layer of the network gives maps"):
        last_maps(nn.Sequential(nn.Flatten()), images())
