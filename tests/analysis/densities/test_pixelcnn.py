"""PixelCNN++: its size, what each pixel sees, and that its density is one."""

from itertools import product

import pytest
import torch
import torch.nn.functional as F
from pixel_models import every_image, small

from analysis.densities.logistics import LogisticMixture
from analysis.densities.pixelcnn import PixelCNN
from analysis.densities.streams import GatedLayer, concat_elu
from analysis.densities.weight_norm import WeightNormConv
from priors.errors import InputError


@pytest.mark.parametrize(
    ("layers", "filters", "channels", "count"),
    [(5, 160, 3, 53_659_080), (3, 64, 1, 5_462_144), (3, 196, 3, 50_954_712)],
    ids=["Salimans et al. 2017", "MNIST", "CIFAR"],
)
def test_it_has_as_many_parameters_as_published(layers, filters, channels, count):
    def parameters(*context) -> int:
        with torch.device("meta"):
            model = PixelCNN((channels, 32, 32), context, layers=layers, filters=filters)
        return sum(parameter.numel() for parameter in model.parameters())

    assert parameters() == count
    for context in ((10,), (32, 12, 12)):
        assert parameters(*context) == count + context[0] * 2 * filters * (12 * layers + 4)


@pytest.mark.parametrize(("channels", "context"), [(1, ()), (3, ()), (1, (3,)), (3, (2, 3, 3))])
def test_a_pixel_sees_all_before_it_and_nothing_else(channels, context):
    """By gradient: exactly nothing from itself or later, of whatever channel, and something from its neighbours."""
    model = small((channels, 8, 8), context)
    images = torch.rand(1, channels, 8, 8, dtype=torch.float64, requires_grad=True)
    given = torch.randn(1, *context, dtype=torch.float64, requires_grad=True) if context else None
    outputs = model(images, given)
    for row, column in product((0, 1, 3, 4, 7), (0, 1, 2, 5, 7)):
        wanted = (images,) if given is None else (images, given)
        sees, *of_context = torch.autograd.grad(outputs[:, :, row, column].square().sum(), wanted, retain_graph=True)
        sees = sees.abs().sum((0, 1)).flatten()
        here = 8 * row + column
        assert not sees[here:].any()
        if column:
            assert sees[here - 1] > 0
        if row:
            assert (sees[here - 8 - (column > 0) : here - 8 + 2 - (column == 7)] > 0).all()
        assert all(gradient.any() for gradient in of_context)


def test_a_colour_sees_those_before_it():
    """Summed over blue, a pixel's probability has no gradient in what gives blue; over green as well, none in green's.

    So red's does not depend on green nor blue, and green's not on blue.
    """
    torch.manual_seed(0)
    kinds = torch.arange(100) // 10  # logit; means, log scales of red, green, blue; green by red; blue by red, by green
    blues, greens = torch.isin(kinds, torch.tensor([3, 6, 8, 9])), torch.isin(kinds, torch.tensor([2, 5, 7]))
    outputs = torch.randn(100, dtype=torch.float64, requires_grad=True)
    level = torch.arange(256, dtype=torch.float64) / 255
    pixels = torch.cartesian_prod(torch.tensor([0.2], dtype=torch.float64), level, level)[:, :, None, None]
    nats = LogisticMixture().log_prob(outputs[None, :, None, None].expand(len(pixels), -1, 1, 1), pixels)
    over_blue = nats.view(256, 256).logsumexp(1)
    for marginal, unseen, seen in (
        (over_blue[70], blues, greens),
        (over_blue.logsumexp(0), blues | greens, kinds == 1),
    ):
        (gradient,) = torch.autograd.grad(marginal, outputs, retain_graph=True)
        assert gradient[unseen].abs().max() < 1e-10 and gradient[seen].abs().max() > 1e-3


def test_probabilities_of_all_images_sum_to_one():
    """Of all 2^16 images of 4 x 4 black and white pixels, in a context."""
    found = every_image()[2]
    assert float(found.logsumexp(0).exp()) == pytest.approx(1.0, abs=1e-10)
    assert float(found.std()) > 0.1, "and it is no uniform distribution"


def test_it_starts_as_a_batch_of_data_decides():
    """Every convolution gives that batch mean 0 and its own deviation, in float32 and with whatever dropout is."""
    torch.manual_seed(0)
    model = PixelCNN((3, 16, 16), (5,), layers=2, filters=8, dropout=0.0)
    images, context = (torch.rand(16, 3, 16, 16) * 255).round() / 255, torch.randn(16, 5)
    model.initialise(images, context)
    seen = {}
    layers = [(name, module) for name, module in model.named_modules() if isinstance(module, WeightNormConv)]
    for name, layer in layers:
        layer.register_forward_hook(lambda _, __, out, name=name: seen.__setitem__(name, out.detach()))
    model(images, context)
    assert len(seen) == len(layers)
    for name, layer in layers:
        variance, mean = torch.var_mean(seen[name], (0, 2, 3), correction=0)
        assert mean.abs().max() < 1e-4 * layer.scale, name
        assert torch.allclose(variance.sqrt(), torch.full_like(variance, layer.scale), rtol=1e-3), name
        assert layer.scale == (0.1 if name.endswith("second") else 1.0)


def test_a_layer_is_its_definition():
    """x + a sigmoid(b), written out; what lies beside and the context are added before each activation."""
    torch.manual_seed(0)
    layer = GatedLayer(4, "down-right", 4, 3, 0.0, 0.0).double()
    x, beside = torch.randn(2, 2, 4, 6, 6, dtype=torch.float64)
    context = torch.randn(2, 3, 6, 6, dtype=torch.float64)

    def conv(one: WeightNormConv, y):
        size = one.direction.flatten(1).norm(dim=1)
        weight = one.direction * (one.length / size)[:, None, None, None]
        left, top = weight.shape[3] - 1, weight.shape[2] - 1
        return F.conv2d(F.pad(y, (left, 0, top, 0)), weight, one.bias)

    def active(y):
        return torch.cat([F.elu(y), F.elu(-y)], 1)

    c = conv(layer.first, active(x)) + conv(layer.beside, active(beside))
    a, b = (conv(layer.second, active(c)) + F.conv2d(context, layer.context.weight)).chunk(2, 1)
    found = layer(x, concat_elu(x), (concat_elu(beside),), context)
    assert torch.allclose(found, x + a * b.sigmoid(), rtol=1e-12, atol=1e-12)


def test_dropout_is_of_elements():
    """Of 2 x 8 x 400 values about half are dropped, and no channel as a whole (which would be so once in 1e115)."""
    layer = GatedLayer(4, "down", 0, 0, 0.5, 0.0).train()
    seen = []
    layer.second.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    torch.manual_seed(0)
    x = torch.randn(2, 4, 20, 20)
    layer(x, concat_elu(x), (), None)
    dropped = (seen[0] == 0).float()
    assert 0.45 < dropped.mean() < 0.55 and bool((dropped.mean((2, 3)) < 0.7).all())


def test_bf16_gives_float32_likelihoods():
    torch.manual_seed(0)
    model = PixelCNN((1, 8, 8), layers=1, filters=8).eval()
    images = (torch.rand(4, 1, 8, 8) * 255).round() / 255
    model.initialise(images)
    with torch.no_grad():
        plain = model.log_prob(images)
        with torch.autocast("cpu", torch.bfloat16):
            mixed = model.log_prob(images)
    assert mixed.dtype == torch.float32 and torch.allclose(mixed, plain, rtol=0.02)


@pytest.mark.parametrize(
    ("build", "said"),
    [
        (lambda: PixelCNN((1, 28, 30)), "multiples of 4 were expected; pad them to 28x32"),
        (lambda: PixelCNN((2, 8, 8)), r"images of 2 channels: 1 \(grey\) or 3"),
        (lambda: PixelCNN((1, 8, 8), (3, 4)), r"a context of shape \(3, 4\)"),
        (lambda: PixelCNN((1, 8, 8), (0,)), r"a context of shape \(0,\)"),
        (lambda: PixelCNN((1, 8, 8), layers=0), "layers is 0"),
        (lambda: PixelCNN((1, 8, 8), dropout=1.0), "dropout is 1.0"),
        (lambda: PixelCNN((1, 8, 8), distribution=LogisticMixture()), "1 channels and a distribution of 3"),
        (lambda: small((1, 8, 8))(torch.zeros(1, 1, 8, 4)), r"images of shape \(1, 8, 4\): \(1, 8, 8\) was"),
        (lambda: small((1, 8, 8), (3,))(torch.zeros(2, 1, 8, 8)), "a context of shape None"),
        (lambda: small((1, 8, 8))(torch.zeros(2, 1, 8, 8), torch.zeros(2, 3)), r"of shape \(2, 3\): None was"),
        (lambda: small((1, 8, 8), (3,))(torch.zeros(2, 1, 8, 8), torch.zeros(2, 4)), r"\(2, 4\): \(2, 3\) was"),
    ],
)
def test_what_does_not_fit_is_refused(build, said):
    with pytest.raises(InputError, match=said):
        build()
