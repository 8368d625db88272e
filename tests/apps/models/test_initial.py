"""Weights that a training starts from: what fits is taken, and what is wrong is said."""

import json

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from apps.models.initial import start_from
from priors import ClassifierPrior, zoo
from priors.errors import InputError


def mlp(classes=10, seed=5, **options):
    torch.manual_seed(seed)
    return zoo.build("mlp", classes=classes, image_shape=(1, 8, 8), penultimate=6, **options)


def tensors(network) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in network.state_dict().items()}


def test_all_of_a_run_is_taken_with_its_normalisation(trained):
    network, run = mlp(), zoo.load(trained / "classifier")
    assert not torch.equal(network.mean, run.mean)
    found = start_from(network, str(trained / "classifier"), "--arch mlp")
    images = torch.rand(5, 1, 8, 8)
    assert torch.equal(network.eval()(images), run(images)) and torch.equal(network.mean, run.mean)
    assert found.new == () and found.taken == found.weights == sum(one.numel() for one in run.parameters())
    assert found.said().endswith("/classifier: 50,380 of 50,380 weights are taken, all there are.")
    again = start_from(mlp(seed=6), str(trained / "classifier"), "--arch mlp")
    assert again.digest == found.digest and len(found.digest) == 16


def as_a_run(network, folder):
    zoo.save(network, folder)
    (folder / "config.json").write_text(json.dumps({"verb": "train classifier", "config": {}}))
    (folder / "result.json").write_text("{}")
    return str(folder)


@pytest.mark.parametrize("classes", [["cat", "dog"], ["cat", "eel", "dog"]])
def test_the_final_layer_is_drawn_anew_where_the_classes_differ(tmp_path, classes):
    """In number, or as a run knows, in their order."""
    network, run = mlp(classes), mlp(["cat", "dog", "eel"], seed=1).eval()
    drawn = tensors(network)
    found = start_from(network, as_a_run(run, tmp_path / "run"), "--arch mlp")
    assert found.new == ("head.weight", "head.bias")
    assert torch.equal(network.head.weight, drawn["head.weight"]) and torch.equal(network.head.bias, drawn["head.bias"])
    images = torch.rand(5, 1, 8, 8)
    assert torch.equal(network.eval().penultimate(images), run.penultimate(images))
    assert "new: head.weight, head.bias (the classes are others); 2 of the tensors there are not taken." in found.said()


def test_what_has_another_shape_is_left(trained):
    network = mlp(head_bias=False)
    assert start_from(network, str(trained / "classifier"), "--arch mlp").new == ()
    torch.manual_seed(0)
    wider = zoo.build("mlp", classes=10, image_shape=(1, 8, 8), penultimate=7)
    drawn = tensors(wider)
    found = start_from(wider, str(trained / "classifier"), "--arch mlp")
    assert "head.weight" in found.new and "head.bias" not in found.new and len(found.new) == 3
    assert all(torch.equal(wider.state_dict()[name], drawn[name]) for name in found.new)
    assert "the classes are others" not in found.said()


class Own(nn.Module):
    def __init__(self, classes=4):
        super().__init__()
        self.conv, self.norm, self.out = nn.Conv2d(1, 6, 3), nn.BatchNorm2d(6), nn.Linear(6, classes)

    def forward(self, images):
        return self.out(self.norm(self.conv(images)).relu().mean((2, 3)))


@pytest.mark.parametrize("before", ["", "module.", "model.module._orig_mod."])
def test_a_file_of_anybodys_is_taken_by_its_names(tmp_path, before):
    """Those of a user's module, and of torchvision's within a network of the zoo."""
    theirs = Own(classes=7)
    theirs.norm.running_mean.normal_()
    save_file({f"{before}{name}": tensor for name, tensor in theirs.state_dict().items()}, tmp_path / "own.safetensors")
    network = zoo.wrap(Own(), image_shape=(1, 8, 8))
    found = start_from(network, str(tmp_path / "own.safetensors"), "--arch import:own:Own")
    assert found.new == ("mean", "std", "network.out.weight", "network.out.bias")
    for name in ("conv.weight", "norm.running_mean", "norm.num_batches_tracked"):
        assert torch.equal(network.network.state_dict()[name], theirs.state_dict()[name]), name


def test_torchvisions_names_are_found_in_a_network_of_the_zoo(tmp_path):
    from torchvision.models import shufflenet_v2_x0_5

    torch.manual_seed(1)
    theirs = shufflenet_v2_x0_5(num_classes=4)
    save_file(theirs.state_dict(), tmp_path / "x.safetensors")
    network = zoo.build("torchvision:shufflenet_v2_x0_5", classes=3, image_shape=(3, 32, 32))
    found = start_from(network, str(tmp_path / "x.safetensors"), "--arch x")
    assert found.new == ("mean", "std", "head.weight", "head.bias") and found.left == 2
    assert torch.equal(network.body.conv5[0].weight, theirs.conv5[0].weight)


def file_of(tmp_path, **changed):
    found = {**tensors(mlp()), **changed}
    save_file(found, tmp_path / "w.safetensors")
    return str(tmp_path / "w.safetensors")


def test_what_is_not_finite_is_refused_and_nothing_is_taken(tmp_path):
    network = mlp(seed=1)
    before, weight = tensors(network), torch.rand(10, 6)
    weight[3, 2] = float("nan")
    with pytest.raises(InputError, match="w.safetensors are not finite: head.weight holds 1 of 60 numbers"):
        start_from(network, file_of(tmp_path, **{"head.weight": weight}), "--arch mlp")
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())


def test_numbers_are_rounded_to_the_networks(tmp_path):
    network, whole = mlp(seed=1), tensors(mlp())
    half = {name: tensor.half() for name, tensor in whole.items()}
    start_from(network, file_of(tmp_path, **half), "--arch mlp")
    assert network.head.weight.dtype == torch.float32
    torch.testing.assert_close(network.head.weight.detach(), whole["head.weight"], rtol=1e-3, atol=1e-4)
    quantised = {name: (100 * tensor).to(torch.int8) for name, tensor in whole.items()}
    with pytest.raises(InputError, match="nothing in it but perhaps a final layer fits"):
        start_from(network, file_of(tmp_path, **quantised), "--arch mlp")


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda there: "nowhere", "unknown run 'nowhere'"),
        (lambda there: str(there / "runs/clasifier"), "did you mean '.*runs/classifier'"),
        (lambda there: "gone.safetensors", "there is no .*gone.safetensors|gone.safetensors"),
        (lambda there: "torchvision:resnet18", "expected the folder of a run or a .safetensors file; weights that tor"),
        (lambda there: str(there / "runs/hvae"), "hvae is .*, not a classifier"),
        (lambda there: str(there / "w.pt"), "w.pt: expected the folder of a run, or a file ending in .safetensors"),
        (lambda there: str(there / "cut.safetensors"), "cut.safetensors is not readable as weights: truncated"),
        (lambda there: str(there / "prior.safetensors"), "fits --arch mlp by name and shape: it holds "),
        (lambda there: str(there / "vgg"), "by name and shape: it holds a vgg-8; give weights of the same arch"),
    ],
)
def test_what_cannot_be_is_said_in_a_line(trained, tmp_path, make, said):
    (tmp_path / "runs").symlink_to(trained)
    torch.save({}, tmp_path / "w.pt")
    (tmp_path / "cut.safetensors").write_bytes((trained / "classifier/model.safetensors").read_bytes()[:-100])
    ClassifierPrior.from_weight(torch.rand(10, 6), 20).save(tmp_path / "prior.safetensors")
    other = zoo.build("vgg-8", classes=10, image_shape=(1, 8, 8))
    as_a_run(other, tmp_path / "vgg")
    with pytest.raises(InputError, match=said) as raised:
        start_from(mlp(), make(tmp_path), "--arch mlp")
    assert "\n" not in str(raised.value)
