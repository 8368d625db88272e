"""What torch.compile must be able to take, or to leave alone.

All in one other process: the checks that pytest hangs on jaxtyping's annotations cannot be compiled, and loading the
compiler takes seconds.
"""

import subprocess
import sys
from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch.distributions import kl_divergence
from torch.nn.functional import normalize

from priors import ClassifierPrior, SphericalCauchy
from priors.reading.heads import find_head
from priors.reading.taps import tap
from priors.spherical_cauchy.moebius import moved
from priors.vmf import HypersphericalUniform, VonMisesFisher
from priors.vmf.cosine import von_mises_fisher
from priors.vmf.transport import rsample
from priors.zoo import build


def test_taps_the_prior_and_draws():
    _run(
        tapped_modules_run_eagerly_and_compiled_afterwards,
        the_prior_compiles_as_one_graph,
        samples_compiled_are_those_of_the_same_seed,
    )


@pytest.mark.slow
def test_networks_divergences_and_gradients_of_draws():
    _run(
        networks_compile_as_one_graph,
        draws_and_their_gradients_compile_as_one_graph,
        distributions_compile_without_graph_breaks,
        distributions_compile_by_inductor,
    )


def _run(*checks: Callable[[], None]) -> None:
    names = [check.__name__ for check in checks]
    done = subprocess.run([sys.executable, __file__, *names], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]


def tapped_modules_run_eagerly_and_compiled_afterwards():

    graphs = []

    def backend(graph, inputs):
        graphs.append(graph)
        return graph.forward

    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(6, 5), nn.ReLU(inplace=True), nn.Linear(5, 3))
    x = torch.randn(4, 6)
    expected, hidden = net(x), net[0](x)
    whole = torch.compile(net, backend=backend)
    assert torch.equal(whole(x), expected) and len(graphs) == 1
    for _ in range(2):
        with tap(whole, ["0", "_orig_mod.2:input"]) as taps:
            assert torch.equal(whole(x), expected)
        assert torch.equal(taps["0"], hidden) and torch.equal(taps["_orig_mod.2:input"], hidden.relu())
        assert len(graphs) == 1
    assert torch.equal(whole(x), expected) and len(graphs) == 1, "compiled code is used again"
    assert find_head(whole)[0] == "2"

    part = nn.Sequential(torch.compile(net, backend=backend), nn.Linear(3, 2))
    part(x)
    with tap(part, ["0.0", "0", "1:input"]) as taps:
        part(x)
    assert (
        torch.equal(taps["0.0"], hidden) and torch.equal(taps["0"], expected) and torch.equal(taps["1:input"], expected)
    )

    net.compile(backend=backend)
    net(x)
    with tap(net, ["0"]) as taps:
        net(x)
    assert torch.equal(taps["0"], hidden)


def networks_compile_as_one_graph():
    for name in ("mlp", "convnet", "wrn-16-1", "resnet-20"):
        network = build(name, classes=3, image_shape=(3, 8, 8), penultimate=5).eval()
        images = torch.rand(2, 3, 8, 8)
        with torch.no_grad():
            assert torch.equal(torch.compile(network, backend="eager", fullgraph=True)(images), network(images))


def the_prior_compiles_as_one_graph():
    prior = ClassifierPrior.from_weight(torch.randn(4, 64), [1, 20, 80, 5])
    activations, labels = torch.randn(7, 64), torch.tensor([0, 3, 1])
    scored = torch.compile(prior.log_prob, backend="eager", fullgraph=True)(activations)
    assert torch.equal(scored, prior.log_prob(activations))

    def direction(labels):
        return prior.distributions(labels).loc

    assert torch.equal(torch.compile(direction, backend="eager", fullgraph=True)(labels), prior.loc[labels])


def samples_compiled_are_those_of_the_same_seed():
    """The draws are left to PyTorch's own generator, and no two of them are taken for one."""
    loc = torch.nn.functional.normalize(torch.randn(64, 128), dim=-1)
    kappa = torch.full((64,), 20.0)

    def two(loc, kappa):
        return rsample(loc, kappa), rsample(loc, kappa)

    found = []
    for function in (two, torch.compile(two, backend="aot_eager", fullgraph=True)):
        torch.manual_seed(0)
        mean, concentration = loc.clone().requires_grad_(), kappa.clone().requires_grad_()
        first, second = function(mean, concentration)
        assert not torch.equal(first, second)
        gradients = torch.autograd.grad((first * second).sum(), (mean, concentration))
        found.append((first, second, *gradients))
    for eager, compiled in zip(*found, strict=True):
        torch.testing.assert_close(compiled, eager)


def draws_and_their_gradients_compile_as_one_graph():
    for law, m in [(von_mises_fisher, m) for m in (2, 3, 5, 20)] + [(moved, 2), (moved, 9)]:
        loc = normalize(torch.randn(16, m), dim=-1).requires_grad_()
        kappa = torch.rand(16).mul(50).requires_grad_()
        found = []
        for function in (
            lambda loc, kappa, law=law: rsample(loc, kappa, None, law),
            torch.compile(
                lambda loc, kappa, law=law: rsample(loc, kappa, None, law), fullgraph=True, backend="aot_eager"
            ),
        ):
            torch.manual_seed(0)
            z = function(loc, kappa)
            found.append((z, *torch.autograd.grad(z.square().mul(torch.arange(m)).sum(), (loc, kappa))))
        for eager, compiled in zip(*found, strict=True):
            assert torch.allclose(eager, compiled, atol=1e-5), m


def _loss(loc, concentration, prior_loc, prior_concentration):
    posterior, prior = VonMisesFisher(loc, concentration), VonMisesFisher(prior_loc, prior_concentration)
    uniform = HypersphericalUniform(loc.shape[-1], dtype=loc.dtype, device=loc.device)
    total = kl_divergence(posterior, uniform) + kl_divergence(posterior, prior) + posterior.log_prob(prior_loc)
    return total.sum() + (posterior.mean + posterior.variance).square().sum() + posterior.entropy().sum()


def _of_cauchy(loc, concentration, prior_loc, prior_concentration):
    posterior, prior = SphericalCauchy(loc, concentration), VonMisesFisher(prior_loc, prior_concentration)
    total = kl_divergence(posterior, prior) + kl_divergence(posterior, SphericalCauchy(prior_loc, concentration))
    return (total + posterior.log_prob(prior_loc) + posterior.entropy()).sum() + posterior.variance.square().sum()


def _divergence(loc, concentration):  # at a second dimension the compiler tries a symbolic one
    return kl_divergence(VonMisesFisher(loc, concentration), HypersphericalUniform(loc.shape[-1])).sum()


def distributions_compile_without_graph_breaks(backend: str = "aot_eager"):
    compiled = {f: torch.compile(f, fullgraph=True, backend=backend) for f in (_loss, _divergence, _of_cauchy)}
    for function, m in ((_loss, 20), (_divergence, 20), (_divergence, 5), (_of_cauchy, 20), (_of_cauchy, 7)):
        torch.manual_seed(0)
        loc, other = normalize(torch.randn(2, 16, m), dim=-1)
        k, r = 30 * torch.rand(2, 16)
        inputs = [loc.requires_grad_(), k.requires_grad_(), other, r.requires_grad_()]
        inputs = inputs[:2] if function is _divergence else inputs
        live = [x for x in inputs if x.requires_grad and not (function is _divergence and x is loc)]
        expected, found = function(*inputs), compiled[function](*inputs)
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
        for a, b in zip(torch.autograd.grad(found, live), torch.autograd.grad(expected, live), strict=True):
            torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


def distributions_compile_by_inductor():
    distributions_compile_without_graph_breaks("inductor")


if __name__ == "__main__":
    torch.set_num_threads(1)
    for name in sys.argv[1:]:
        globals()[name]()
