import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torchvision import models

from priors.errors import InputError
from priors.model.classifier_prior import ClassifierPrior
from priors.reading.heads import find_head, last_linear, read_head
from priors.reading.taps import find_module
from priors.zoo import wrap


def test_head_of_torchvision_models():
    for network, name in (
        (models.resnet18(), "fc"),
        (models.mobilenet_v3_small(), "classifier.3"),
        (models.vit_b_32(), "heads.head"),
        (models.shufflenet_v2_x0_5(), "fc"),
        (models.DenseNet(4, (2, 2), 8), "classifier"),
    ):
        found = find_head(network)
        assert found == (name, find_module(network, name)[1]) == find_head(network, name) == last_linear(network)


def test_ambiguous_and_impossible_heads_are_said():
    two = nn.ModuleDict({"body": nn.Conv2d(3, 8, 3), "left": nn.Linear(8, 5), "right": nn.Linear(8, 4)})
    with pytest.raises(InputError, match="several final linear layers: name the head, one of left, right"):
        find_head(two)
    assert find_head(two, "left") == ("left", two["left"])
    with pytest.raises(InputError, match="'body' is a Conv2d: a linear layer"):
        find_head(two, "body")
    with pytest.raises(InputError, match="did you mean 'right'"):
        find_head(two, "rihgt")
    with pytest.raises(InputError, match="no linear layer"):
        find_head(nn.Sequential(nn.Conv2d(3, 8, 3)))
    with pytest.raises(InputError, match=r"last layer of Sequential is '1', a Conv2d.*linear layers: 0"):
        find_head(nn.Sequential(nn.Linear(3, 3), nn.Conv2d(3, 8, 3)))
    reversed_order = nn.ModuleDict({"head": nn.Linear(8, 5), "hidden": nn.Linear(9, 8)})
    with pytest.raises(InputError, match="one of head, hidden"):
        find_head(reversed_order)


def test_a_parametrised_head_is_found():
    net = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.utils.parametrizations.weight_norm(nn.Linear(5, 3, bias=False)))
    assert find_head(net) == ("2", net[2])


def test_find_head_of_an_mlp_is_its_last_layer_also_where_widths_repeat():
    net = nn.Sequential(*(nn.Linear(10, 10) for _ in range(3)))
    assert find_head(net) == ("2", net[2])
    assert find_head(copy.deepcopy(net))[0] == "2"


# Which layer is the head, where one pass tells.


class Own(nn.Module):
    """A network with more linear layers than it uses, in an order that tells nothing."""

    def __init__(self, *unused, body=None, after=None):
        super().__init__()
        self.body = body or nn.Sequential(nn.Flatten(), nn.Linear(48, 16), nn.ReLU())
        self.fc = nn.Linear(16, 4)
        self.after = after or nn.Identity()
        self.unused = nn.ModuleList(unused)

    def forward(self, images):
        return self.after(self.fc(self.body(images)))


class Auxiliary(Own):
    """In training it returns what a second head gives, too, which is registered last."""

    def __init__(self):
        super().__init__(
            nn.Conv2d(3, 8, 1),
            nn.Linear(8, 4),
            body=nn.Sequential(nn.Conv2d(3, 16, 4), nn.AdaptiveAvgPool2d(1), nn.Flatten()),
        )

    def forward(self, images):
        logits = super().forward(images)
        return (logits, self.unused[1](self.unused[0](images).mean((2, 3)))) if self.training else logits


class WithFeatures(Own):
    def forward(self, images):
        features = self.body(images)
        return {"logits": self.fc(features), "features": features}


class Sum(Own):
    def __init__(self):
        super().__init__(nn.Linear(16, 4))

    def forward(self, images):
        return super().forward(images) + self.unused[0](self.body(images))


HEADS = {
    "a projection that could take the logits": lambda: Own(nn.Linear(4, 8)),
    "a projection beside the head": lambda: Own(nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, 8)),
    "an unused layer of another kind": lambda: Own(nn.Conv2d(3, 8, 3)),
    "its logits go on through a softmax": lambda: Own(nn.Linear(4, 8), after=nn.LogSoftmax(1)),
    "its logits are a view": lambda: Own(nn.Linear(4, 4), after=nn.Unflatten(1, (4, 1))),
    "an auxiliary head": Auxiliary,
    "features beside the logits": WithFeatures,
    "it draws": lambda: Own(nn.Linear(4, 8), after=Noise()),
}


class Noise(nn.Module):
    def forward(self, x):
        torch.randn(3)
        return x


@pytest.mark.parametrize("case", HEADS)
def test_one_pass_tells_which_linear_layer_is_the_head(case):
    net = HEADS[case]().train()
    before, random = copy.deepcopy(net.state_dict()), torch.get_rng_state()
    assert find_head(net) == ("fc", net.fc) == find_head(net, image_shape=(3, 4, 4))
    prior = ClassifierPrior.from_classifier(net, 20)
    assert torch.equal(prior.weight, net.fc.weight)
    assert net.training and all(module.training for module in net.modules())
    assert torch.equal(torch.get_rng_state(), random)
    assert all(torch.equal(before[name], tensor) for name, tensor in net.state_dict().items())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in net.modules())


class Twice(Own):
    """One head under two names, as where old weights must still fit."""

    def __init__(self, after=None):
        super().__init__(nn.Linear(16, 4), after=after)
        self.classifier = self.fc


def test_one_head_under_two_names_is_one():
    for net in (Twice(), Twice(nn.LogSoftmax(1))):
        assert find_head(net)[1] is net.fc
    net = nn.ModuleDict({"fc": nn.Linear(16, 4)})
    net["classifier"] = net["fc"]
    assert find_head(net)[1] is last_linear(net)[1] is net["fc"]


def test_weights_that_are_buffers_make_a_head_as_well():
    net = Own(nn.Linear(4, 8))
    for layer in net.modules():
        for name, parameter in list(layer.named_parameters(recurse=False)):
            delattr(layer, name)
            layer.register_buffer(name, parameter.detach())
    assert find_head(net)[0] == "fc" and not list(net.parameters())
    net.fc.register_forward_hook(lambda module, args, logits: logits / 2)
    assert torch.equal(ClassifierPrior.from_classifier(net, 20).weight, net.fc.weight / 2)


def test_where_a_pass_cannot_tell_nothing_is_guessed():
    with pytest.raises(InputError, match="several final linear layers: name the head, one of fc, unused.0"):
        find_head(Sum())
    # A pass that fails on all images that are tried: the order of registration is what there is.
    odd = Own(nn.Linear(4, 8), body=nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(4 * 9, 16)))
    assert find_head(odd)[0] == "unused.0" and find_head(odd, image_shape=(3, 5, 5))[0] == "fc"
    with pytest.raises(InputError, match="the head 'unused.0' takes no part in the network's pass"):
        wrap(odd).penultimate(torch.rand(2, 3, 5, 5))
    assert wrap(odd, image_shape=(3, 5, 5)).head is odd.fc


def test_a_pass_gives_lazy_layers_no_shape():
    net = nn.Sequential(nn.Flatten(), nn.LazyLinear(16), nn.ReLU(), nn.Linear(16, 4))
    assert find_head(net)[0] == "3" and isinstance(net[1], nn.LazyLinear)
    net(torch.rand(2, 5, 7))
    assert net[1].in_features == 35 and find_head(net)[0] == "3"


# What a head applies: by hand, from the layer's outputs.


def by_hand(layer):
    """The weight that a layer applies, from its outputs for the unit vectors."""
    layer.eval()
    with torch.no_grad():
        return (layer(torch.eye(layer.in_features)) - layer(torch.zeros(1, layer.in_features))).T


class LowRank(nn.Linear):
    """A frozen weight with a trained correction of low rank, added in each pass."""

    def __init__(self, m, classes):
        super().__init__(m, classes)
        self.down, self.up = nn.Parameter(torch.randn(2, m)), nn.Parameter(torch.randn(classes, 2))

    def forward(self, x):
        return F.linear(x, self.weight, self.bias) + x @ self.down.T @ self.up.T


class Standardised(nn.Linear):
    def forward(self, x):
        weight = (self.weight - self.weight.mean(1, keepdim=True)) / self.weight.std(1, keepdim=True)
        return F.linear(x, weight, self.bias)


def warmed(layer):
    layer.register_forward_hook(lambda module, args, logits: logits / 2)
    return layer


WAYS = {
    "weight_norm, old": lambda: nn.utils.weight_norm(nn.Linear(6, 4)),
    "weight_norm, new": lambda: nn.utils.parametrizations.weight_norm(nn.Linear(6, 4)),
    "spectral_norm, old": lambda: nn.utils.spectral_norm(nn.Linear(6, 4)),
    "spectral_norm, new": lambda: nn.utils.parametrizations.spectral_norm(nn.Linear(6, 4)),
    "orthogonal": lambda: nn.utils.parametrizations.orthogonal(nn.Linear(6, 4)),
    "a forward of its own": lambda: LowRank(6, 4),
    "standardised": lambda: Standardised(6, 4),
    "a hook on its output": lambda: warmed(nn.Linear(6, 4)),
    "no bias": lambda: nn.utils.weight_norm(nn.Linear(6, 4, bias=False)),
}


@pytest.mark.filterwarnings("ignore:`torch.nn.utils.weight_norm`")
@pytest.mark.parametrize("way", WAYS)
def test_a_prior_has_the_weight_that_the_head_applies_also_after_loading_another(way):
    torch.manual_seed(0)
    trained = nn.Sequential(nn.Flatten(), WAYS[way]())
    trained(torch.rand(5, 1, 2, 3))  # in training mode: spectral norm takes a step
    expected = by_hand(trained[1])
    torch.manual_seed(1)
    fresh = nn.Sequential(nn.Flatten(), WAYS[way]())
    fresh(torch.rand(5, 1, 2, 3))
    fresh.load_state_dict(trained.state_dict())
    state = {name: tensor.clone() for name, tensor in fresh.state_dict().items()}
    random = torch.get_rng_state()
    prior = ClassifierPrior.from_classifier(fresh, 20)
    torch.testing.assert_close(prior.weight, expected, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close((prior.loc * F.normalize(expected, dim=1)).sum(1), torch.ones(4))
    if trained[1].bias is None:
        assert prior.bias is None
    else:
        torch.testing.assert_close(prior.bias, trained[1](torch.zeros(1, 6)).detach()[0])
    # Nothing else has changed: the modes, what is learnt, torch's random numbers.
    assert fresh.training and fresh[1].training and torch.equal(torch.get_rng_state(), random)
    assert all(torch.equal(state[name], tensor) for name, tensor in fresh.state_dict().items())


@pytest.mark.filterwarnings("ignore:`torch.nn.utils.weight_norm`")
def test_a_weight_that_is_stored_or_computed_exactly_is_read_to_the_bit():
    torch.manual_seed(0)
    for dtype in (torch.float32, torch.float64, torch.bfloat16):
        plain = nn.Linear(7, 3).to(dtype)
        assert torch.equal(read_head(plain).weight, plain.weight) and torch.equal(read_head(plain).bias, plain.bias)
        normed = nn.utils.weight_norm(nn.Linear(7, 3)).to(dtype)
        normed.weight_g.data.mul_(3)
        found = read_head(normed).weight
        normed(torch.zeros(1, 7, dtype=dtype))
        assert found.dtype == dtype and torch.equal(found, normed.weight)


def test_heads_that_no_weight_can_be_read_off_are_said():
    class Cosine(nn.Linear):
        def forward(self, x):
            return 10 * F.linear(F.normalize(x), F.normalize(self.weight))

    class Sequences(nn.Linear):
        def forward(self, x):
            batch, steps, width = x.shape
            return super().forward(x.mean(1))

    class Named(nn.Linear):
        def forward(self, x, *, scale):
            return scale * super().forward(x)

    for layer, said in (
        (Cosine(6, 4), r"the head '1', a Cosine, gives something else than weight \. a \+ bias"),
        (Sequences(6, 4), "the head '1', a Sequences, cannot be run on vectors of its own: not enough values"),
        (Named(6, 4), "the head '1', a Named, cannot be run on vectors of its own: .*'scale'"),
        (nn.LazyLinear(4), "the head '1' has no weight yet: run the network on some images first"),
    ):
        with pytest.raises(InputError, match=said) as error:
            ClassifierPrior.from_classifier(nn.Sequential(nn.Flatten(), layer), 20)
        assert "\n" not in str(error.value)


@pytest.mark.filterwarnings("ignore:`torch.nn.utils.weight_norm`")
def test_a_class_whose_weight_is_not_finite_is_still_named():
    layer = nn.utils.weight_norm(nn.Linear(6, 4))
    layer.weight_v.data[2, 3] = float("nan")
    with pytest.raises(InputError, match="weight of class '2' has values that are not finite"):
        ClassifierPrior.from_classifier(nn.Sequential(nn.Flatten(), layer), 20)
