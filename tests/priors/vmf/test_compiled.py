"""What torch.compile must be able to take, or to leave alone.

All in one other process: the checks that pytest hangs on jaxtyping's annotations cannot be compiled, and loading the
compiler takes seconds.
"""

import subprocess
import sys

import torch
from torch import nn

from priors import ClassifierPrior
from priors.taps import find_head, tap
from priors.vmf.transport import rsample
from priors.zoo import build


def test_under_torch_compile():
    subprocess.run([sys.executable, __file__], check=True, timeout=300)


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


if __name__ == "__main__":
    torch.set_num_threads(1)
    tapped_modules_run_eagerly_and_compiled_afterwards()
    networks_compile_as_one_graph()
    the_prior_compiles_as_one_graph()
    samples_compiled_are_those_of_the_same_seed()
