"""Smallest changes of images against closed forms: linear networks, with and without the box, and a curved one."""

import math

import pytest
import torch
from torch import nn

from analysis import judged_perturbation, minimal_perturbation
from priors.errors import InputError


def linear(classes: int = 5, size: tuple[int, ...] = (3, 4, 4), scale: float = 1.0) -> nn.Sequential:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(math.prod(size), classes))
    nn.init.normal_(network[1].weight, std=scale)
    return network.eval()


def nearest(network: nn.Sequential, image: torch.Tensor, target: int) -> float:
    """The smallest change to where a class is as large as all others, by a general solver of quadratic programmes."""
    from scipy.optimize import minimize

    weight, bias = network[1].weight.detach().double().numpy(), network[1].bias.detach().double().numpy()
    flat = image.double().flatten().numpy()
    others = [number for number in range(len(weight)) if number != target]
    rows = weight[target] - weight[others]
    start = rows @ flat + bias[target] - bias[others]
    found = minimize(
        lambda change: change @ change,
        0 * flat,
        jac=lambda change: 2 * change,
        bounds=list(zip(-flat, 1 - flat, strict=True)),
        constraints={"type": "ineq", "fun": lambda change: rows @ change + start, "jac": lambda change: rows},
        method="SLSQP",
        options={"maxiter": 500, "ftol": 1e-12},
    )
    return float((found.x @ found.x) ** 0.5) if found.success else math.nan


def test_between_two_classes_of_a_linear_network_it_is_the_distance_to_their_boundary():
    """|z_k - z_y| / |w_k - w_y|, inside the box: to a thousandth, and never below it."""
    network = linear(classes=2, scale=3.0)
    images = 0.45 + 0.1 * torch.rand(40, 3, 4, 4, generator=torch.Generator().manual_seed(1))
    targets = 1 - network(images).argmax(1)
    weight, logits = network[1].weight.detach().double(), network(images).detach().double()
    exact = (logits[:, 1] - logits[:, 0]).abs() / (weight[1] - weight[0]).norm()
    found = minimal_perturbation(network, images, targets)
    assert bool(found.reached.all()) and not bool(found.already.any())
    ratio = found.norm / exact
    assert ratio.min() > 1 - 1e-5 and ratio.max() < 1.001
    assert torch.equal(found.norm, (found.images.double() - images.double()).flatten(1).norm(dim=1))
    assert torch.equal(network(found.images).argmax(1), targets)


@pytest.mark.parametrize("low", [0.3, 0.0], ids=["inside", "at the box"])
def test_among_many_classes_it_is_that_of_a_quadratic_programme(low):
    """Within a few per cent and never below, also where pixels cannot be darker than black."""
    network = linear(classes=6, scale=1.0)
    images = low + 0.4 * torch.rand(12, 3, 4, 4, generator=torch.Generator().manual_seed(2))
    if not low:
        images = (images - 0.2).clamp_min(0)
        assert (images == 0).float().mean() > 0.3
    targets = network(images).topk(3).indices[:, 2]
    exact = torch.tensor([nearest(network, *pair) for pair in zip(images, targets.tolist(), strict=True)])
    assert bool(exact.isfinite().all())
    found = minimal_perturbation(network, images, targets, steps=200)
    assert bool(found.reached.all())
    ratio = found.norm / exact
    assert ratio.min() > 1 - 1e-5 and ratio.max() < 1.05 and ratio.mean() < 1.02
    assert found.images.min() >= 0 and found.images.max() <= 1


class Ball(nn.Module):
    """Class 1 outside of a sphere about a point, class 0 inside: the distance is the radius less that to the point."""

    def __init__(self, centre: torch.Tensor, radius: float):
        super().__init__()
        self.centre, self.radius = centre, radius

    def forward(self, images):
        away = (images - self.centre).flatten(1).square().sum(1) - self.radius**2
        return torch.stack([torch.zeros_like(away), away], 1)


def test_of_a_curved_boundary_it_is_the_distance():
    generator = torch.Generator().manual_seed(3)
    centre = torch.full((1, 8, 8), 0.5)
    images = centre + 0.05 * torch.randn(30, 1, 8, 8, generator=generator).clamp(-2, 2)
    away = (images - centre).flatten(1).norm(dim=1)
    out = minimal_perturbation(Ball(centre, 1.0), images, torch.ones(30, dtype=torch.int64))
    assert bool(out.reached.all())
    ratio = out.norm / (1.0 - away)
    assert ratio.min() > 1 - 1e-5 and ratio.max() < 1.02
    small = minimal_perturbation(Ball(centre, 0.1), images, torch.zeros(30, dtype=torch.int64))
    assert bool(small.reached.all())
    ratio = small.norm / (away - 0.1)
    assert ratio.min() > 1 - 1e-5 and ratio.max() < 1.02


def test_a_class_that_is_there_already_takes_nothing():
    network = linear()
    images = torch.rand(7, 3, 4, 4)
    targets = network(images).argmax(1)
    found = minimal_perturbation(network, images, targets, steps=10)
    assert bool(found.already.all()) and bool(found.reached.all())
    assert torch.equal(found.norm, torch.zeros(7).double()) and torch.equal(found.images, images)


def test_what_cannot_be_reached_is_said_to_be_so():
    """Class 2 never has the largest logit: its weight is half the sum of the others'. A dead network has no slopes."""
    network = linear(classes=3)
    with torch.no_grad():
        network[1].weight[2] = (network[1].weight[0] + network[1].weight[1]) / 2
        network[1].bias.copy_(torch.tensor([0.1, 0.1, 0.0]))
    images = torch.rand(4, 3, 4, 4)
    found = minimal_perturbation(network, images, torch.full((4,), 2))
    assert not bool(found.reached.any()) and bool(found.norm.isnan().all())
    assert torch.equal(found.images, images)
    nn.init.zeros_(network[1].weight)
    nn.init.zeros_(network[1].bias)
    dead = minimal_perturbation(network, images, torch.zeros(4, dtype=torch.int64))
    assert not bool(dead.reached.any()), "equal logits are no class"


def test_others_images_are_judged_by_what_they_are():
    network = linear(classes=2, scale=3.0)
    images = torch.full((4, 3, 4, 4), 0.5)
    targets = 1 - network(images).argmax(1)
    does = minimal_perturbation(network, images, targets).images[:1]
    far = images[0] + 10 * (does[0] - images[0]) / (does[0] - images[0]).abs().max()  # reaches it outside the box
    found = judged_perturbation(network, images, torch.stack([does[0], images[0], far, does[0] * math.nan]), targets)
    assert found.reached.tolist() == [True, False, False, False]
    assert found.norm[0] == (does[0].double() - 0.5).norm() and bool(found.norm[1:].isnan().all())


def test_the_same_again_is_the_same_and_a_network_stays_as_it_was():
    network = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(144, 3))
    network.train()
    images, targets = torch.rand(5, 1, 8, 8), torch.tensor([0, 1, 2, 0, 1])
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    with torch.inference_mode():
        one = minimal_perturbation(network, images, targets, steps=20)
    other = minimal_perturbation(network, images, targets, steps=20)
    assert torch.equal(one.images, other.images) and torch.equal(one.norm, other.norm)
    assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())
    assert network.training and all(one.requires_grad and one.grad is None for one in network.parameters())


@pytest.mark.parametrize(
    ("images", "targets", "steps", "said"),
    [
        (torch.rand(2, 3, 4, 4) * 255, torch.tensor([0, 1]), 100, r"values in \[0, 1\]"),
        (torch.rand(2, 3, 4, 4).half(), torch.tensor([0, 1]), 100, "float32 or float64"),
        (torch.rand(2, 3, 4, 4), torch.tensor([0, 5]), 100, "label 5 is out of range: the classes are 0 to 4"),
        (torch.rand(2, 3, 4, 4), torch.tensor([0.0, 1.0]), 100, "class numbers were expected"),
        (torch.rand(2, 3, 4, 4), torch.tensor([0]), 100, "1 labels were given for 2 images"),
        (torch.rand(2, 3, 4, 4), torch.tensor([0, 1]), 9, "steps is 9: a whole number of at least 10"),
        (torch.rand(0, 3, 4, 4), torch.zeros(0, dtype=torch.int64), 100, "of shape"),
    ],
)
def test_what_cannot_be_is_refused_in_a_line(images, targets, steps, said):
    with pytest.raises(InputError, match=said) as error:
        minimal_perturbation(linear(), images, targets, steps=steps)
    assert "\n" not in str(error.value)
