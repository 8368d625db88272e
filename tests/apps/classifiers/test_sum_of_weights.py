"""What becomes of the sum of a final layer's weights, against torch's own optimisers in float64."""

import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from apps.classifiers.gauges.sum_of_weights import has_law, kept
from apps.command.config import Optimisation
from apps.training.schedule import learning_rate, resets_momentum
from apps.training.task import build_optimizer


def trained(make, rates, resets=()) -> tuple[torch.Tensor, torch.Tensor]:
    """The final layer's weight before each update and after the last, of a small network; and its hidden layer's."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 5)).double()
    images, labels = torch.randn(40, 6, dtype=torch.float64), torch.arange(40) % 5
    optimizer = make(network)
    head, hidden = [network[2].weight.detach().clone()], [network[0].weight.detach().clone()]
    for step, rate in enumerate(rates):
        optimizer.param_groups[0]["lr"] = rate
        if step in resets:
            optimizer.state.clear()
        part = slice(8 * (step % 5), 8 * (step % 5) + 8)
        cross_entropy(network(images[part]), labels[part]).backward()
        optimizer.step()
        optimizer.zero_grad()
        head.append(network[2].weight.detach().clone())
        hidden.append(network[0].weight.detach().clone())
    return torch.stack(head), torch.stack(hidden)


@pytest.mark.parametrize("decay", [0.0, 0.02])
def test_plain_descent_shrinks_the_sum_by_the_product_of_its_decays(decay):
    rates = np.linspace(0.5, 0.1, 60)
    head, hidden = trained(lambda net: torch.optim.SGD(net.parameters(), lr=1, weight_decay=decay), rates)
    product = np.cumprod([1, *(1 - rates * decay)])
    total = head.sum(1).numpy()
    np.testing.assert_allclose(total, product[:, None] * total[0], rtol=1e-12)
    assert (head[-1] - head[0] * product[-1]).abs().max() > 0.1, "the rows themselves move"
    other = hidden.sum(1).numpy()
    assert np.abs(other[-1] - product[-1] * other[0]).max() > 0.01, "no other layer has this law"


@pytest.mark.parametrize("optimizer", ["sgd", "momentum"])
@pytest.mark.parametrize(
    "schedule",
    [{"schedule": "cosine"}, {"schedule": "step"}, {"schedule": "step", "reset_momentum": True}, {"warmup": 1.0}],
)
def test_with_momentum_the_sum_follows_the_optimisers_recursion(optimizer, schedule):
    config = Optimisation(epochs=4.0, optimizer=optimizer, lr=0.1, weight_decay=0.02, **schedule)
    warmup = 15 if "warmup" in schedule else 0
    rates = [learning_rate(config, step, 60, warmup) for step in range(60)]
    resets = [step for step in range(60) if resets_momentum(config, step, 60)]
    assert resets == ([18, 36, 48] if config.reset_momentum else [])
    head, _ = trained(lambda net: build_optimizer([net], config), rates, resets)
    share = kept(config, 60)
    total = head.sum(1).numpy()
    assert share[0] == 1 and share[-1] < 0.97
    np.testing.assert_allclose(total, share[:, None] * total[0], rtol=1e-12)


def test_with_momentum_the_sum_falls_about_as_the_exponential_says():
    config = Optimisation(epochs=10.0, optimizer="sgd", lr=0.1, weight_decay=5e-4, schedule="cosine")
    rates = sum(learning_rate(config, step, 9375, 0) for step in range(9375))
    assert kept(config, 9375)[-1] == pytest.approx(math.exp(-5e-4 * rates / (1 - 0.9)), rel=0.01)


def test_adam_has_no_law():
    """Its sum moves even without decay."""
    head, _ = trained(lambda net: torch.optim.Adam(net.parameters()), [0.01] * 60)
    assert (head[-1].sum(0) - head[0].sum(0)).abs().max() > 0.05
    assert not has_law(Optimisation()) and not has_law(Optimisation(optimizer="adamw"))
    assert has_law(Optimisation(optimizer="sgd")) and not has_law(Optimisation(optimizer="sgd", ema=0.99))
