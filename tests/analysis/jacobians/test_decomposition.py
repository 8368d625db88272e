"""The full-Jacobian of any network is exact: f(x) = J_x x + what its operations add."""

import copy

import numpy as np
import pytest
import torch
import torchvision
from torch import nn
from torch.nn import functional

from analysis.jacobians.decomposition import decompose
from analysis.jacobians.derivatives import load_forward_derivatives
from priors import zoo


def filled(network: nn.Module, seed: int = 0) -> nn.Module:
    """With random weights, biases and statistics, in evaluation mode."""
    random = torch.Generator().manual_seed(seed)
    for name, one in network.named_parameters():
        if one.ndim < 2:
            one.data.copy_(0.3 * torch.randn(one.shape, generator=random) + name.endswith("weight"))
        elif not one.any():
            one.data.copy_(0.1 * torch.randn(one.shape, generator=random))
    for name, one in network.named_buffers():
        if name.endswith("running_mean"):
            one.copy_(0.3 * torch.randn(one.shape, generator=random))
        elif name.endswith("running_var"):
            one.copy_(0.5 + torch.rand(one.shape, generator=random))
    return network.eval()


def vit() -> nn.Module:
    return torchvision.models.VisionTransformer(32, 8, 2, 4, 16, 32, num_classes=7)


def swin() -> nn.Module:
    return torchvision.models.SwinTransformer([4, 4], 12, [2, 2], [2, 4], [4, 4], num_classes=7)


def convnext() -> nn.Module:
    setting = torchvision.models.convnext.CNBlockConfig
    return torchvision.models.ConvNeXt([setting(16, 24, 1), setting(24, None, 1)], num_classes=7)


def efficientnet() -> nn.Module:
    settings = [
        torchvision.models.efficientnet.MBConvConfig(1, 3, 1, 32, 16, 1),
        torchvision.models.efficientnet.MBConvConfig(6, 3, 2, 16, 24, 2),
        torchvision.models.efficientnet.FusedMBConvConfig(4, 3, 2, 24, 32, 2),
    ]
    return torchvision.models.EfficientNet(settings, 0.2, num_classes=7, last_channel=64)


def small_resnet() -> nn.Module:
    return torchvision.models.ResNet(torchvision.models.resnet.BasicBlock, [1, 2, 1, 1], num_classes=7)


def zoo_network(name: str):
    return lambda: zoo.build(name, classes=7, image_shape=(3, 32, 32), mean=0.45, std=0.25)


FAMILIES = {
    "resnet": small_resnet,
    "densenet": lambda: torchvision.models.DenseNet(8, (2, 2), 16, num_classes=7),
    "mobilenet v2": lambda: torchvision.models.mobilenet_v2(num_classes=7, width_mult=0.35),
    "mobilenet v3": lambda: torchvision.models.mobilenet_v3_small(num_classes=7),
    "efficientnet": efficientnet,
    "convnext": convnext,
    "vit": vit,
    "swin": swin,
    "vgg": zoo_network("vgg-8"),
    "wide resnet": zoo_network("wrn-16-1"),
}


@pytest.fixture(scope="module", autouse=True)
def forward_derivatives():
    """Loaded, which makes torch warn of its own function."""
    load_forward_derivatives()


@pytest.fixture(scope="module")
def networks():
    made = {}

    def network(name: str, dtype: torch.dtype) -> nn.Module:
        if name not in made:
            torch.manual_seed(0)
            made[name] = filled(FAMILIES[name]())
        return copy.deepcopy(made[name]).to(dtype)

    return network


def images(count=3, side=32, dtype=torch.float64, seed=1):
    return torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(
        dtype
    )


@pytest.mark.parametrize(("dtype", "most"), [(torch.float64, 1e-10), (torch.float32, 1e-4)], ids=["double", "single"])
@pytest.mark.parametrize("name", FAMILIES)
def test_the_sum_is_the_output(networks, name, dtype, most):
    network, x = networks(name, dtype), images(dtype=dtype)
    found = decompose(network, x, [1, 5, 3])
    with torch.no_grad():
        expected = network(x)[torch.arange(3), torch.tensor([1, 5, 3])]
    torch.testing.assert_close(found.output, expected, rtol=1e-4, atol=1e-5)
    assert found.residual.max() <= most
    # as said, and said by the terms that are there
    whole = found.input_term + sum(term.total for term in found.terms)
    size = found.output.abs() + found.input_term.abs() + sum(term.total.abs() for term in found.terms)
    torch.testing.assert_close(found.residual, (found.output - whole).abs() / size, rtol=1e-6, atol=most / 10)
    assert whole.abs().min() > 0
    assert sum(found.by_source().values()).numpy() == pytest.approx((whole - found.input_term).numpy(), rel=1e-3)
    assert sum(found.by_layer().values()).numpy() == pytest.approx((whole - found.input_term).numpy(), rel=1e-3)


@pytest.mark.parametrize("name", FAMILIES)
def test_one_derivative_along_the_image_gives_all_terms_at_once(networks, name):
    """f(x) - Df(x) x, by forward-mode differentiation of the whole network; and the slopes are autograd's."""
    network, x = networks(name, torch.float64), images(2)
    with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        output, slope = torch.func.jvp(network, (x,), (x,))
    found = decompose(network, x, 2)
    torch.testing.assert_close(sum(term.total for term in found.terms), (output - slope)[:, 2], rtol=1e-8, atol=1e-10)
    leaf = x.clone().requires_grad_()
    (expected,) = torch.autograd.grad(network(leaf)[:, 2].sum(), leaf)
    torch.testing.assert_close(found.jacobian, expected)


@pytest.mark.parametrize("name", ["densenet", "vit", "swin", "convnext", "efficientnet"])
def test_images_together_are_images_alone(networks, name):
    """Also where windows or tokens share the axis of the images, and where that is not the first."""
    network, x = networks(name, torch.float64), images(4)
    together = decompose(network, x, 1)
    for number in range(4):
        alone = decompose(network, x[number : number + 1], 1)
        assert len(alone.terms) == len(together.terms)
        for one, other in zip(alone.terms, together.terms, strict=True):
            assert (one.layer, one.operation, one.execution, one.source) == (
                other.layer,
                other.operation,
                other.execution,
                other.source,
            )
            torch.testing.assert_close(one.total[0], other.total[number], rtol=1e-8, atol=1e-11)
            assert (one.map is None) == (other.map is None)


def test_batches_split_themselves(networks):
    network, x = networks("wide resnet", torch.float64), images(5)
    whole, split = decompose(network, x, 1), decompose(network, x, 1, memory=1)
    assert torch.equal(whole.target, split.target) and split.images.shape == x.shape
    for one, other in zip(whole.terms, split.terms, strict=True):
        torch.testing.assert_close(one.total, other.total)
        torch.testing.assert_close(one.map, other.map)


def test_maps_and_values_add_up_to_totals(networks):
    network, x = networks("efficientnet", torch.float64), images(2)
    for term in decompose(network, x, keep="values").terms:
        torch.testing.assert_close(term.value.flatten(1).sum(1), term.total)
        if term.map is not None:
            torch.testing.assert_close(term.map.flatten(1).sum(1), term.total)
            assert term.map.shape == (2, *term.value.shape[2:])
    assert all(term.value is None for term in decompose(network, x).terms)
    assert all(term.map is None for term in decompose(network, x, keep="totals").terms)


class Hidden(nn.Module):
    """Example 1 of the paper: one hidden layer."""

    def __init__(self, bias: bool = True):
        super().__init__()
        self.one, self.two = nn.Linear(6, 5, bias=bias), nn.Linear(5, 3, bias=bias)

    def forward(self, x):
        return self.two(self.one(x).relu())


def test_example_1():
    """y = w2 psi^T w1 x + w2 psi^T b1 + b2."""
    torch.manual_seed(0)
    network, x = Hidden().double(), torch.randn(4, 6, dtype=torch.float64)
    found = decompose(network, x, 1, keep="values")
    slope = (network.one(x) > 0).double() * network.two.weight[1]
    torch.testing.assert_close(found.jacobian, (slope @ network.one.weight).detach())
    one, two = found.terms
    torch.testing.assert_close(one.value, (slope * network.one.bias).detach())
    torch.testing.assert_close(two.total, network.two.bias[1].detach().expand(4))
    assert (one.layer, one.source, two.layer, two.source) == ("one", "bias", "two", "bias")


def test_proposition_1():
    """Without biases there is the slope alone."""
    torch.manual_seed(0)
    found = decompose(Hidden(bias=False).double(), torch.randn(4, 6, dtype=torch.float64), 0)
    assert found.terms == () and found.residual.max() < 1e-15
    torch.testing.assert_close(found.input_term, found.output)


def test_proposition_2_by_source():
    """Terms of parameters are their slopes times themselves, by autograd; batch norm's are those of its own bias."""
    torch.manual_seed(0)
    network = filled(
        nn.Sequential(
            nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 5, 3), nn.Flatten(), nn.Linear(20, 2)
        )
    ).double()
    x = images(1, side=6)
    found = decompose(network, x, 1, keep="values")
    network(x)[0, 1].backward()
    sources = found.by_source()
    explicit = sum((network[at].bias * network[at].bias.grad).sum() for at in (0, 3, 5))
    torch.testing.assert_close(sources["bias"][0], explicit.detach())
    norm = network[1]
    own = norm.bias - norm.weight * norm.running_mean / (norm.running_var + norm.eps).sqrt()
    torch.testing.assert_close(sources["batch norm"][0], (own * norm.bias.grad).sum().detach())
    assert sources["activation"] == 0 and sources["constant"] == 0


def test_proposition_3():
    """Noise of factors xi ~ N(1, sigma^2) on the biases adds sigma^2 |b df/db|^2 to the squared error.

    20,000 draws of the square of a normal variable of variance 1 have a mean of standard error .01; five of them are
    exceeded by chance in fewer than one of a million seeds.
    """
    torch.manual_seed(0)
    network, x, sigma = Hidden().double(), torch.randn(1, 6, dtype=torch.float64), 1e-3
    found = decompose(network, x, 2, keep="values")
    squares = sum(term.value.square().sum() for term in found.terms)
    factors = 1 + sigma * torch.randn(20_000, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        inner = (x @ network.one.weight.T + factors[:, :5] * network.one.bias).relu()
        noisy = inner @ network.two.weight[2] + factors[:, 5:] @ (torch.eye(3)[2].double() * network.two.bias)
        error = (found.output - noisy).square().mean()
    assert float(error / (sigma**2 * squares)) == pytest.approx(1, abs=0.05)


def test_scales_that_cancel_change_no_term():
    """Section 5: a layer's weights and bias times alpha, and the next one's weights over alpha."""
    torch.manual_seed(0)
    network, x = Hidden().double(), torch.randn(4, 6, dtype=torch.float64)
    other = copy.deepcopy(network)
    with torch.no_grad():
        other.one.weight *= 8
        other.one.bias *= 8
        other.two.weight /= 8
    one, two = (decompose(network, x, 1, keep="values") for network in (network, other))
    torch.testing.assert_close(one.jacobian, two.jacobian)
    for a, b in zip(one.terms, two.terms, strict=True):
        torch.testing.assert_close(a.value, b.value)


class Around(nn.Module):
    """A function around a layer that it may call as often as it likes."""

    def __init__(self, function):
        super().__init__()
        self.layer, self.function = nn.Linear(4, 4), function

    def forward(self, x):
        return self.function(self.layer, x)


def in_place(layer, x):
    y = layer(x)
    functional.relu_(y)  # what it gives is not asked for: y itself is another now
    return y + layer(y)


def written_into(layer, x):
    y = layer(x)
    y[:, 0] = 1.5
    return layer(y)


OPERATIONS = {
    "a layer used three times": lambda layer, x: layer(layer(layer(x).relu())),
    "a ReLU in place": in_place,
    "SiLU in place": lambda layer, x: functional.silu(layer(x), inplace=True),
    "written into": written_into,
    "over the image itself": lambda layer, x: layer(x.sub_(0.5).div_(0.25)),
    "a product": lambda layer, x: layer(x) * x + layer(x) ** 2,
    "a matrix product": lambda layer, x: (layer(x)[:, :, None] @ x[:, None]).sum(2),
    "einsum": lambda layer, x: torch.einsum("bi,bj->bij", layer(x), x).sum(2),
    "a quotient": lambda layer, x: layer(x) / (1 + x.abs().sum(1, keepdim=True)),
    "a reciprocal": lambda layer, x: 1 / (2 + layer(x).abs()),
    "a choice": lambda layer, x: torch.where(layer(x) > 0, layer(x), layer(x).exp() - 1),
    "constants beside": lambda layer, x: torch.cat([layer(x), torch.ones(len(x), 2)], 1)[:, 1:5] - 0.3,
    "a maximum with a constant": lambda layer, x: torch.maximum(layer(x), torch.full((4,), 0.1)),
    "a maximum over units": lambda layer, x: layer(x) - layer(x).max(1, keepdim=True).values,
    "clamped": lambda layer, x: layer(x).clamp(-0.2, 0.2),
    "sorted": lambda layer, x: layer(x).sort(1).values,
    "standardised": lambda layer, x: layer(x) / layer(x).std(1, keepdim=True),
    "softmax": lambda layer, x: layer(x).softmax(1),
    "another axis for the images": lambda layer, x: (layer(x).T + 0.5).tanh().T,
    "without a slope": lambda layer, x: layer(x) * layer(x).detach(),
    "an unused branch": lambda layer, x: (layer(x).tanh(), layer(x))[1],
    "no function of the image": lambda layer, x: layer(torch.ones(len(x), 4)),
    "no forward derivative": lambda layer, x: torch.cdist(layer(x), layer.weight),
    "a Fourier transform": lambda layer, x: torch.fft.ifft(torch.fft.fft(layer(x)).exp()).real,
    "recomputed on the way back": lambda layer, x: torch.utils.checkpoint.checkpoint(layer, x, use_reentrant=False),
}


@pytest.mark.parametrize("operation", OPERATIONS)
def test_operations_of_all_kinds(operation):
    torch.manual_seed(0)
    network = Around(OPERATIONS[operation]).double()
    if operation in ("constants beside", "a maximum with a constant", "no function of the image"):
        network.float()
    x = torch.randn(5, 4, dtype=network.layer.weight.dtype)
    found = decompose(network, x, 2)
    assert found.residual.max() <= (1e-14 if x.dtype == torch.float64 else 1e-6)
    with torch.no_grad():
        torch.testing.assert_close(found.output, network(x.clone())[:, 2])
    assert all(one.requires_grad for one in network.parameters()), "as before"


def test_executions_are_told_apart():
    torch.manual_seed(0)
    network = Around(OPERATIONS["a layer used three times"]).double()
    terms = decompose(network, torch.randn(2, 4, dtype=torch.float64), 0).terms
    assert [(term.layer, term.operation, term.execution) for term in terms] == [
        ("layer", "linear", n) for n in range(3)
    ]
    assert len({float(term.total[0]) for term in terms}) == 3


def test_the_normalisation_inside_a_classifier_is_a_term(networks):
    """(x - mean) / deviation: what is no parameter, but taken off."""
    first, *_ = decompose(networks("vgg", torch.float64), images(2), 0).terms
    assert first.operation == "sub" and first.source == "constant" and first.total.abs().min() > 0


def test_a_margin_is_the_difference_of_two_logits(networks):
    network, x = networks("resnet", torch.float64), images(2)
    logits = network(x).detach()
    target = logits.argmax(1)
    runner_up = logits.scatter(1, target[:, None], -torch.inf).argmax(1)
    margin = decompose(network, x, of="margin")
    one, other = decompose(network, x, target), decompose(network, x, runner_up)
    torch.testing.assert_close(margin.output, one.output - other.output)
    for three in zip(margin.terms, one.terms, other.terms, strict=True):
        torch.testing.assert_close(three[0].total, three[1].total - three[2].total, rtol=1e-6, atol=1e-12)


def test_numpy_by_hand():
    """GELU, one unit: f = w gelu(v x + b) with gelu's derivative by finite differences."""
    v, b, w, x = 1.3, -0.4, 2.0, 0.7

    class Unit(nn.Module):
        def forward(self, given):
            return w * functional.gelu(v * given + b)

    def gelu(z):
        return z * 0.5 * (1 + torch.erf(torch.tensor(z / 2**0.5, dtype=torch.float64)).item())

    z, step = v * x + b, 1e-6
    slope = (gelu(z + step) - gelu(z - step)) / (2 * step)
    found = decompose(Unit(), torch.tensor([[x]], dtype=torch.float64), 0)
    constant, activation = found.terms
    assert constant.total.item() == pytest.approx(w * slope * b, rel=1e-8)
    assert activation.total.item() == pytest.approx(w * (gelu(z) - slope * z), rel=1e-8)
    assert np.isclose(found.input_term.item(), w * slope * v * x, rtol=1e-8)
