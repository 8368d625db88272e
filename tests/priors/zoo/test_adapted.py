"""Heads that are no linear layer: the prior is that of the logits which are computed directly."""

import copy
import re

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from priors import ClassifierPrior, find_head, penultimate, tap
from priors.errors import InputError
from priors.zoo import Adapted, load, save, wrap

M, CLASSES = 6, 4


class Convolutional(nn.Module):
    """It ends with a 1x1 convolution, whose maps are averaged."""

    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, M, 3), nn.BatchNorm2d(M), nn.ReLU())
        self.classifier = nn.Conv2d(M, CLASSES, 1)

    def forward(self, images):
        return self.classifier(self.features(images)).mean((2, 3))


class Pooled(Adapted):
    def activations(self, images):
        return self.network.features(images).mean((2, 3))  # a linear map and a mean change places

    def logits(self, activations):
        return self.network.classifier(activations[:, :, None, None]).flatten(1)


class Scaled(nn.Module):
    """Cosines of activations and prototypes, times a scale that is learnt."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, M, 3), nn.Flatten(), nn.Linear(M * 36, M))
        self.prototypes = nn.Parameter(torch.randn(CLASSES, M))
        self.scale = nn.Parameter(torch.tensor(7.0))

    def forward(self, images):
        return self.scale * F.cosine_similarity(self.body(images)[:, None], self.prototypes, dim=2)


class Cosine(Adapted):
    def activations(self, images):
        return F.normalize(self.network.body(images))

    def logits(self, activations):
        return self.network.scale * F.linear(activations, F.normalize(self.network.prototypes))


TABLE, SHIFT = torch.randn(CLASSES, M, generator=torch.Generator().manual_seed(1)), torch.arange(float(CLASSES))


class Bare(Adapted):
    """A function without parameters behind a network that gives features."""

    def activations(self, images):
        return self.network(images)

    def logits(self, activations):
        return activations @ TABLE.to(activations).T + SHIFT.to(activations)


def made(kind):
    """A network, its adapter, and by hand: its logits, activations, weight and bias."""
    torch.manual_seed(0)
    if kind is Pooled:
        network = Convolutional()
        network.features[1].running_mean.normal_(), network.features[1].running_var.uniform_(0.5, 2)
        weight, bias = network.classifier.weight[:, :, 0, 0], network.classifier.bias
        return network, Pooled(network, M), network, weight, bias
    if kind is Cosine:
        network = Scaled()
        lengths = network.prototypes.square().sum(1, keepdim=True).sqrt()
        return network, Cosine(network, M), network, 7.0 * network.prototypes / lengths, None
    network = nn.Sequential(nn.Conv2d(3, M, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    return network, Bare(network, M), lambda images: network(images) @ TABLE.T + SHIFT, TABLE, SHIFT


KINDS = pytest.mark.parametrize("kind", [Pooled, Cosine, Bare])
IMAGES = torch.rand(5, 3, 8, 8, generator=torch.Generator().manual_seed(0))


@KINDS
def test_the_prior_is_that_of_the_logits(kind):
    network, adapted, logits, weight, bias = made(kind)
    network.eval(), adapted.eval()
    torch.testing.assert_close(adapted(IMAGES), logits(IMAGES))
    for module in (adapted, wrap(adapted, image_shape=(3, 8, 8), class_names=list("abcd"))):
        prior = ClassifierPrior.from_classifier(module, concentration=20)
        torch.testing.assert_close(prior.weight, weight.detach())
        assert (prior.bias is None) == (bias is None)
        given = penultimate(module, IMAGES) @ prior.weight.T + (0 if prior.bias is None else prior.bias)
        torch.testing.assert_close(given, logits(IMAGES).detach())
        torch.testing.assert_close(prior.loc, F.normalize(weight.detach()))
    assert prior.class_names == tuple("abcd")


@KINDS
def test_it_has_the_surface_of_a_classifier(kind):
    _, adapted, logits, weight, _ = made(kind)
    wrapped = wrap(adapted, image_shape=(3, 8, 8)).eval()
    assert find_head(adapted) == ("head", adapted.head) and wrapped.head is adapted.head
    assert wrapped.classes == CLASSES and wrapped.head.in_features == M and "AffineHead" in repr(wrapped)
    with tap(wrapped, [wrapped.penultimate_tap, wrapped.head_name]) as taps:
        wrapped(IMAGES)
    torch.testing.assert_close(taps[wrapped.head_name], logits(IMAGES))
    torch.testing.assert_close(taps[wrapped.penultimate_tap], wrapped.penultimate(IMAGES))
    assert not any(name.startswith("network.head") for name in wrapped.state_dict()), "no weights of its own"


def test_training_moves_the_networks_weights_and_the_head_follows():
    network, adapted, *_ = made(Cosine)
    names = [name for name, _ in adapted.head.named_parameters()]
    assert names == ["network.prototypes", "network.scale"]
    assert [name for name, _ in made(Pooled)[1].head.named_parameters("x")] == [
        "x.network.classifier.weight",
        "x.network.classifier.bias",
    ]
    assert list(made(Bare)[1].head.parameters()) == list(adapted.head.parameters(recurse=False)) == []
    before = adapted.head.weight.detach()
    optimizer = torch.optim.SGD(adapted.head.parameters(), lr=0.1)
    F.cross_entropy(adapted(IMAGES), torch.arange(5) % CLASSES).backward()
    optimizer.step()
    expected = network.scale * network.prototypes / network.prototypes.norm(dim=1, keepdim=True)
    torch.testing.assert_close(adapted.head.weight, expected)
    assert not torch.allclose(adapted.head.weight, before)
    (slope,) = torch.autograd.grad(adapted.head.weight.sum(), network.scale)
    torch.testing.assert_close(slope, F.normalize(network.prototypes).sum())
    network.scale.requires_grad_(False)
    assert len(list(adapted.head.parameters())) == 2 and not network.scale.requires_grad


@KINDS
def test_a_copy_has_a_head_of_its_own(kind):
    """As averages of weights need it."""
    _, adapted, *_ = made(kind)
    other = copy.deepcopy(wrap(adapted))
    weight = adapted.head.weight.detach().clone()
    with torch.no_grad():
        for one in other.parameters():
            one.mul_(-2).add_(1)
    torch.testing.assert_close(adapted.head.weight, weight, rtol=0, atol=0)
    by_hand = F.linear(other.penultimate(IMAGES), other.head.weight, other.head.bias)
    torch.testing.assert_close(by_hand, other(IMAGES))
    assert kind is Bare or not torch.allclose(other.head.weight, weight)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
@KINDS
def test_other_types(kind, dtype):
    _, adapted, _, weight, _ = made(kind)
    adapted.to(dtype).eval()
    prior = ClassifierPrior.from_classifier(adapted, 20)
    torch.testing.assert_close(prior.weight.float(), weight.detach().float(), rtol=0.03, atol=0.05)
    assert adapted(IMAGES.to(dtype)).dtype == adapted.head.weight.dtype == dtype


@KINDS
def test_weights_come_back_into_another(kind, tmp_path):
    _, adapted, *_ = made(kind)
    save(wrap(adapted, image_shape=(3, 8, 8)).eval(), tmp_path)
    torch.manual_seed(5)
    fresh = {Pooled: Convolutional, Cosine: Scaled, Bare: lambda: made(Bare)[0]}[kind]()
    again = load(tmp_path, kind(fresh, M))
    torch.testing.assert_close(again(IMAGES), adapted.eval()(IMAGES))
    torch.testing.assert_close(again.head.weight, adapted.head.weight)


class Curved(Bare):
    def logits(self, activations):
        return super().logits(activations).square()


class Narrow(Bare):
    def activations(self, images):
        return self.network(images)[:, 1:]


class Broken(Bare):
    def logits(self, activations):
        return self.network.nothing(activations)


class Flat(Bare):
    def logits(self, activations):
        return activations.sum()


class Maps(Bare):
    def logits(self, activations):
        return super().logits(activations)[:, :, None]


@pytest.mark.parametrize(
    ("kind", "width", "said"),
    [
        (Curved, M, "Curved.logits: the head, a AffineHead, gives something else than weight"),
        (Bare, M + 1, r"Bare.logits cannot be called with activations of shape \(N, 7\): mat1 and mat2"),
        (Broken, M, r"Broken.logits cannot be called with .*'Sequential' object has no attribute 'nothing'"),
        (Flat, M, r"Flat.logits: it gives \(\) for one vector of 6 activations: \(1, classes\) was"),
        (Maps, M, r"Maps.logits: it gives \(1, 4, 1\) for one vector"),
    ],
)
def test_what_is_no_head_is_said_in_a_line(kind, width, said):
    with pytest.raises(InputError, match=said) as raised:
        kind(nn.Sequential(nn.Conv2d(3, M, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten()), width)
    assert "\n" not in str(raised.value)


def test_activations_of_another_width_are_said():
    adapted = Narrow(made(Bare)[0], M)
    with pytest.raises(InputError, match=re.escape("Narrow.activations gives (5, 5) for 5 images: (5, 6), as width")):
        adapted(IMAGES)


def test_other_networks_are_shown_the_way():
    with pytest.raises(InputError, match="'classifier' is a Conv2d: a linear layer .* see priors.zoo.Adapted"):
        wrap(Convolutional(), head="classifier")
    with pytest.raises(InputError, match="no linear layer .* to read a prior from; .* see priors.zoo.Adapted"):
        wrap(Convolutional())
