"""What --freeze freezes is what a module's output is computed from: found by moving each weight."""

import pytest
import torch
from torch import nn

from apps.models.freezing import freeze
from priors import zoo
from priors.errors import InputError


class Own(nn.Module):
    """A bare parameter, a dropout and a layer that run twice, a branch that the trunk does not hang on."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.place = nn.Parameter(torch.rand(8, 4, 4))
        self.stem, self.norm = nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8, affine=False)
        self.drop, self.early = nn.Dropout(0.5), nn.Dropout(0.5)
        self.twice, self.side = nn.Conv2d(8, 8, 1), nn.Conv2d(8, 8, 1)
        self.late = nn.BatchNorm2d(8)
        self.out = nn.Linear(8, 3)

    def forward(self, images):
        found = self.twice(self.early(self.drop(self.norm(self.stem(images) + self.place))))
        found = self.late(self.twice(found.relu()) + self.side(images.expand(-1, 8, -1, -1)))
        return self.out(self.drop(found).mean((2, 3)))


def moving(network, name) -> set[str]:
    """The parameters that change what a module gives in its last call: each is moved in turn."""
    found, given = set(), []
    module = network.get_submodule(name)
    images = torch.rand(2, *network.image_shape, generator=torch.Generator().manual_seed(1))
    hook = module.register_forward_hook(lambda *args: given.append(args[-1].clone()))
    network.eval()
    with torch.no_grad():
        network(images)
        before = given[-1]
        for path, parameter in network.named_parameters():
            kept = parameter.clone()
            parameter.add_(torch.randn(kept.shape, generator=torch.Generator().manual_seed(2)))
            network(images)
            if not torch.equal(given[-1], before):
                found.add(path)
            parameter.copy_(kept)
    hook.remove()
    network.train()
    return found


def frozen_names(network) -> set[str]:
    return {name for name, one in network.named_parameters() if not one.requires_grad}


@pytest.mark.parametrize("name", ["stem", "norm", "twice", "late"])
def test_what_a_modules_output_hangs_on_is_frozen(name):
    network = zoo.wrap(Own(), image_shape=(1, 4, 4), taps=["norm", "late"])
    expected = moving(network, f"network.{name}")
    rng, modes = torch.random.get_rng_state(), [module.training for module in network.modules()]
    found = freeze(network, name, (1, 4, 4))
    assert frozen_names(network) == expected and 0 < len(expected) < 11
    assert torch.equal(torch.random.get_rng_state(), rng)
    assert [module.training for module in network.modules()] == modes, "the task puts them into evaluation mode"
    total = sum(one.numel() for one in network.parameters())
    assert found.weights == total
    assert found.trained == total - sum(one.numel() for path, one in network.named_parameters() if path in expected)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in network.modules())


def test_what_runs_there_alone_is_in_evaluation_mode():
    """Not what runs behind as well, as the one dropout, nor what holds something that is trained."""
    own = Own()
    names = {module: name for name, module in own.named_modules()}
    first = freeze(zoo.wrap(own, image_shape=(1, 4, 4)), "twice", (1, 4, 4))
    assert {names[module] for module in first.modules} == {"stem", "norm", "early", "twice"}
    body = freeze(zoo.wrap(own, image_shape=(1, 4, 4)), "body", (1, 4, 4))
    held = {names[module] for module in body.modules}
    assert held == {"stem", "norm", "drop", "early", "twice", "side", "late"} and body.trained == 8 * 3 + 3


@pytest.mark.parametrize("what", ["group1", "body.group1", "body.group2.0.norm1"])
def test_stages_of_the_zoo(what):
    network = zoo.build("wrn-16-1", classes=3, image_shape=(1, 8, 8))
    path = what if what.startswith("body.") else f"body.{what}"
    expected = moving(network, path)
    freeze(network, what, (1, 8, 8))
    assert frozen_names(network) == expected
    assert "body.stem.weight" in expected and "head.weight" not in expected


def test_the_network_may_have_no_numbers_yet():
    with torch.device("meta"):
        network = zoo.build("wrn-16-1", classes=3, image_shape=(1, 8, 8))
    other = zoo.build("wrn-16-1", classes=3, image_shape=(1, 8, 8))
    assert freeze(network, "group2", (1, 8, 8)).trained == freeze(other, "group2", (1, 8, 8)).trained
    assert frozen_names(network) == frozen_names(other)


def test_what_nothing_has_trained_is_trained():
    network = zoo.build("wrn-16-1", classes=3, image_shape=(1, 8, 8), penultimate=5)
    new = {"projection.weight", "projection.bias", "body.norm.running_mean"}
    found = freeze(network, "body", (1, 8, 8), new)
    trained = {name for name, one in network.named_parameters() if one.requires_grad}
    assert trained == {"projection.weight", "projection.bias", "head.weight", "head.bias"}
    assert network.body.norm not in found.modules and network.body.group1 in found.modules
    assert network.projection not in found.modules and network not in found.modules


def test_layers_that_take_no_part_are_nothing_to_train():
    own = Own()
    own.spare = nn.Linear(2, 2)
    network = zoo.wrap(own, head="out", image_shape=(1, 4, 4))
    freeze(network, "late", (1, 4, 4))
    with pytest.raises(InputError, match="--freeze out: nothing of the network is left to train"):
        freeze(network, "out", (1, 4, 4))


def test_what_the_user_froze_stays_frozen():
    own = Own()
    own.side.requires_grad_(False)
    freeze(zoo.wrap(own, image_shape=(1, 4, 4)), "stem", (1, 4, 4))
    assert not own.side.weight.requires_grad and own.late.weight.requires_grad


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("gruop1", "unknown module to freeze 'gruop1': did you mean 'group1'.*known: body, body.group2"),
        ("head", "--freeze head: nothing of --arch x is left to train; name an earlier module, or body"),
        ("body.group3.1.dropout", None),
    ],
)
def test_what_cannot_be_frozen_is_said(what, said):
    network = zoo.build("wrn-16-1", classes=3, image_shape=(1, 8, 8))
    if said is None:
        assert freeze(network, what, (1, 8, 8)).trained > 0
        return
    with pytest.raises(InputError, match=said):
        freeze(network, what, (1, 8, 8), called="--arch x")


def test_a_module_that_takes_no_part_is_said():
    own = Own()
    own.unused = nn.Linear(2, 2)
    network = zoo.wrap(own, image_shape=(1, 4, 4), head="out")
    with pytest.raises(InputError, match="network.unused takes no part in a pass of the network"):
        freeze(network, "unused", (1, 4, 4))
    with pytest.raises(InputError, match="has no trained weights there"):
        freeze(network, "body", (1, 4, 4), {name for name, _ in network.named_parameters()})
