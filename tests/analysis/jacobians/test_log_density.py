"""The decomposition of the log-density of a class under a prior: where activations point, and what turns them there."""

import pytest
import torch
import torchvision
from torch import nn

from analysis import decompose
from priors import ClassifierPrior, InputError, zoo

SHAPE = (3, 16, 16)


def classifier(name="convnet-half") -> nn.Module:
    torch.manual_seed(0)
    return zoo.build(name, classes=5, image_shape=SHAPE, mean=0.45, std=0.25, penultimate=12).eval().double()


def images(count=3, shape=SHAPE):
    return torch.rand(count, *shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def gauged(network, space, directions):
    """A prior that was measured, so that no two of its classes are alike."""
    random = torch.Generator().manual_seed(2)
    m = network.head.in_features
    evidence = torch.randn(60, m, generator=random).abs() + torch.rand(60, 1, generator=random)
    given = {"activations": evidence, "labels": torch.arange(60) % 5}
    return ClassifierPrior.from_classifier(network, "mle", space=space, directions=directions, **given)


@pytest.mark.parametrize(("space", "directions"), [("raw", "weights"), ("centred", "centred"), ("whitened", "fitted")])
def test_the_sum_is_the_log_density_of_the_direction(space, directions):
    network, x = classifier(), images()
    prior = gauged(network, space, directions).double()
    found = decompose(network, x, [4, 0, 2], of="log-density", prior=prior)
    with torch.no_grad():
        activations = network.penultimate(x)
    expected = [
        prior[label].log_prob(row) for label, row in zip([4, 0, 2], _directions(prior, activations), strict=True)
    ]
    torch.testing.assert_close(found.output, torch.stack(expected))
    assert found.residual.max() < 1e-12
    whole = found.input_term + sum(term.total for term in found.terms)
    torch.testing.assert_close(whole, found.output, rtol=1e-10, atol=1e-9)
    leaf = x.clone().requires_grad_()
    density = prior.log_prob(network.penultimate(leaf))[torch.arange(3), [4, 0, 2]].sum()
    torch.testing.assert_close(found.jacobian, torch.autograd.grad(density, leaf)[0])


def _directions(prior, activations):
    there = prior.space.bring(activations)
    return there / there.norm(dim=1, keepdim=True)


def test_what_makes_activations_longer_says_nothing():
    """All before the normalisation adds up to 0; it gives kappa cos, and constants what the density has beside."""
    network, x = classifier(), images()
    prior = ClassifierPrior.from_classifier(network, torch.linspace(3.0, 40.0, 5)).double()
    found = decompose(network, x, 3, of="log-density", prior=prior)
    own = [term for term in found.terms if term.layer == "log-density"]
    before = found.input_term + sum(term.total for term in found.terms if term.layer != "log-density")
    assert before.abs().max() < 1e-12 and found.input_map.abs().max() > 1e-4
    cosines = _directions(prior, network.penultimate(x).detach()) @ prior.loc[3]
    activation = sum(term.total for term in own if term.source == "activation")
    torch.testing.assert_close(activation, prior.concentration[3] * cosines)
    constant = sum(term.total for term in own if term.source == "constant")
    torch.testing.assert_close(constant, found.output - prior.concentration[3] * cosines)
    assert {term.source for term in own} <= {"activation", "constant"} and own == list(found.terms[-len(own) :])


def test_the_margin_of_densities_is_the_log_odds_of_two_classes():
    network, x = classifier(), images()
    prior = ClassifierPrior.from_classifier(network, 20.0).double()
    found = decompose(network, x, of="margin", prior=prior)
    posterior = prior.posterior(network.penultimate(x)).detach()
    first, second = posterior.topk(2).values.unbind(1)
    torch.testing.assert_close(found.output, (first / second).log())
    assert torch.equal(found.target, posterior.argmax(1)) and found.residual.max() < 1e-11


def test_a_prior_is_brought_to_the_network_and_left_as_it_was():
    network, x = classifier(), images()
    prior = ClassifierPrior.from_classifier(network, 20.0).float()
    found = decompose(network, x, 1, of="log-density", prior=prior)
    assert found.residual.max() < 1e-12 and found.output.dtype == torch.float64 and prior.loc.dtype == torch.float32
    single = decompose(network.float(), x, 1, of="log-density", prior=prior)
    assert single.output.dtype == torch.float32 and single.residual.max() < 1e-5
    torch.testing.assert_close(single.output.double(), found.output, rtol=1e-4, atol=1e-4)


def test_networks_of_others_have_penultimate_activations_too():
    """By one dry pass, or by the layer's name; one image and several are decomposed alike."""
    torch.manual_seed(0)
    network = torchvision.models.ResNet(torchvision.models.resnet.BasicBlock, [1, 1, 1, 1], num_classes=5)
    network, x = network.eval().double(), images(3, (3, 32, 32))
    prior = ClassifierPrior.from_classifier(network, 30.0)
    found = decompose(network, x, 2, of="log-density", prior=prior)
    named = decompose(network, x[1:2], 2, of="log-density", prior=prior, head="fc")
    assert found.residual.max() < 1e-12
    torch.testing.assert_close(named.output, found.output[1:2])
    for one, other in zip(named.terms, found.terms, strict=True):
        torch.testing.assert_close(one.total, other.total[1:2], rtol=1e-7, atol=1e-9)


class Tokens(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(16, 5)

    def forward(self, x):
        return self.fc(x[:, 0]).mean(1)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"of": "log-density"}, "of='log-density' is under a prior: give prior="),
        ({"of": "logit", "prior": 8}, "a prior has no part in a logit"),
        ({"of": "margin", "head": "head"}, "no prior is given"),
        ({"of": "log-density", "prior": 9}, "the prior is of activations of 9 dimensions, and the head 'head' takes"),
        ({"of": "log-density", "prior": 0, "head": "heads"}, "unknown module 'heads': did you mean 'head'"),
        ({"of": "log-density", "prior": 0, "head": "body"}, "a linear layer"),
        ({"of": "log-density", "prior": 0, "target": 5}, "classes 0 to 4 were expected"),
    ],
)
def test_bad_input_is_said_in_a_line(options, said):
    network, options = classifier(), dict(options)
    m = options.get("prior") or network.head.in_features
    if "prior" in options:
        options["prior"] = ClassifierPrior.from_weight(torch.randn(5, m), 5.0)
    with pytest.raises(InputError, match=said) as caught:
        decompose(network, images(), **options)
    assert "\n" not in str(caught.value)


def test_activations_that_are_no_vectors_are_refused():
    prior = ClassifierPrior.from_weight(torch.randn(5, 16), 5.0)
    with pytest.raises(InputError, match=r"the head is given \(1, 16, 16\): one vector an image was expected"):
        decompose(Tokens().double(), images(), 0, of="log-density", prior=prior)
