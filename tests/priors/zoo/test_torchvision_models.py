import re
import urllib.error

import pytest
import torch
from torch import nn
from torchvision import models

from priors.errors import InputError
from priors.zoo import build, load, save

MEAN, STD = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1), torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A stand-in for torch's download folder: put weights there, and they count as downloaded."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))

    def put(variant, state, weights="IMAGENET1K_V1"):
        folder = tmp_path / "hub" / "checkpoints"
        folder.mkdir(parents=True, exist_ok=True)
        torch.save(state, folder / models.get_model_weights(variant)[weights].url.rpartition("/")[2])

    return put


def without_noise(network):
    """Batch norm with statistics that differ, so that weights of another layer would show."""
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.uniform_(layer.running_var, 0.5, 1.5)
    return network.eval()


def test_published_weights_come_with_classes_size_and_normalisation(hub, tmp_path):
    torch.manual_seed(0)
    reference = without_noise(models.mobilenet_v3_small())
    hub("mobilenet_v3_small", reference.state_dict())
    network = build("torchvision:mobilenet_v3_small:DEFAULT").eval()
    images = torch.rand(2, 3, 224, 224)
    with torch.no_grad():
        expected = reference((images - MEAN) / STD)
        torch.testing.assert_close(network(images), expected)
    assert network.image_shape == (3, 224, 224) and network.classes == 1000
    assert network.class_names[0] == "tench" and len(set(network.class_names)) == 1000
    assert network.provenance == {"weights": "torchvision:mobilenet_v3_small:DEFAULT"}

    save(network, tmp_path / "run")
    (tmp_path / "hub" / "checkpoints").rename(tmp_path / "gone")
    again = load(tmp_path / "run")
    with torch.no_grad():
        torch.testing.assert_close(again(images), expected)
    assert again.provenance == network.provenance and again.class_names == network.class_names


def test_densenets_old_names_are_read(hub):
    torch.manual_seed(0)
    reference = without_noise(models.densenet121())
    old = {
        re.sub(r"(denselayer\d+\.(?:norm|conv))([12]\.)", r"\1.\2", name): tensor
        for name, tensor in reference.state_dict().items()
    }
    assert old.keys() != reference.state_dict().keys()
    hub("densenet121", old)
    network = build("torchvision:densenet121", weights="IMAGENET1K_V1", image_shape=(3, 32, 32)).eval()
    images = torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(network(images), reference((images - MEAN) / STD))


def test_googlenet_leaves_out_its_auxiliary_heads_and_its_own_normalisation(hub):
    torch.manual_seed(0)
    reference = without_noise(models.GoogLeNet(transform_input=True, init_weights=False))
    hub("googlenet", reference.state_dict())
    network = build("torchvision:googlenet:DEFAULT", image_shape=(3, 64, 64)).eval()
    images = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(network(images), reference((images - MEAN) / STD), rtol=1e-4, atol=1e-5)
    assert not any("aux" in name for name, _ in network.named_parameters())


@pytest.mark.parametrize("variant", ["shufflenet_v2_x0_5", "mobilenet_v3_small"])
def test_fresh_networks_have_torchvisions_parameters(variant):
    network = build(f"torchvision:{variant}", classes=1000, image_shape=(3, 64, 64))
    published = models.get_model_weights(variant).DEFAULT.meta["num_params"]
    assert sum(p.numel() for p in network.parameters()) == published
    torch.testing.assert_close(network.mean, MEAN.flatten())
    torch.testing.assert_close(network.std, STD.flatten())
    own = build(f"torchvision:{variant}", classes=4, image_shape=(3, 64, 64), mean=0.5, std=0.25)
    assert own.mean.tolist() == [0.5] * 3 and own.std.tolist() == [0.25] * 3
    assert own.head.out_features == 4


def test_vision_transformers_are_made_for_the_images():
    network = build("torchvision:vit_b_32", classes=3, image_shape=(3, 64, 64)).eval()
    assert network(torch.rand(1, 3, 64, 64)).shape == (1, 3) and len(network.stages) == 4


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("resnet81", {}, "unknown classifier 'torchvision:resnet81': did you mean 'torchvision:resnet18'"),
        (
            "resnet18:IMAGENET1K_V3",
            {},
            "unknown weights of torchvision:resnet18 'IMAGENET1K_V3': did you mean 'IMAGENET1K_V1'",
        ),
        ("resnet18", {"classes": None}, "classes is needed"),
        ("resnet18", {"image_shape": (1, 32, 32)}, "takes images of 3 channels, not 1"),
        ("alexnet", {"image_shape": (3, 16, 16)}, "alexnet cannot take images of 16x16"),
        ("squeezenet1_0", {}, "squeezenet1_0 has no linear head to read a prior from"),
        ("vit_b_32", {"image_shape": (3, 64, 96)}, "square"),
        ("vit_b_32", {"image_shape": (3, 50, 50)}, "vit_b_32 cannot take images of 50x50"),
    ],
)
def test_what_does_not_suit_is_said_in_one_line(name, options, said):
    with pytest.raises(InputError, match=said) as error:
        build(f"torchvision:{name}", **{"classes": 3, "image_shape": (3, 64, 64), **options})
    assert "\n" not in str(error.value)


def test_weights_that_cannot_be_had_or_do_not_fit_are_said(hub, monkeypatch):
    hub("shufflenet_v2_x0_5", {"conv1.0.weight": torch.zeros(1)})
    with pytest.raises(InputError, match="weights IMAGENET1K_V1 of torchvision:shufflenet_v2_x0_5 do not fit"):
        build("torchvision:shufflenet_v2_x0_5:DEFAULT")

    def offline(*_, **__):
        raise urllib.error.URLError("no route to host")

    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", offline)
    with pytest.raises(InputError, match=r"no route to host.*: put http\S+ at \S+shufflenet\S+\.pth") as error:
        build("torchvision:shufflenet_v2_x0_5:DEFAULT")
    assert "\n" not in str(error.value)
    with pytest.raises(InputError, match="do not fit|no route"):
        build("torchvision:shufflenet_v2_x0_5:DEFAULT", penultimate=7)


@pytest.mark.parametrize(("variant", "head"), [("resnet18", "fc"), ("mobilenet_v3_small", "classifier.3")])
def test_other_classes_get_a_new_head_and_all_else_is_as_trained(hub, tmp_path, caplog, variant, head):
    torch.manual_seed(0)
    reference = without_noise(getattr(models, variant)())
    hub(variant, reference.state_dict())
    torch.manual_seed(1)
    names = ["ant", "bee", "cat"]
    network = build(f"torchvision:{variant}:DEFAULT", classes=names, image_shape=(3, 64, 64)).eval()
    assert "the final layer is drawn anew for 3 classes" in caplog.text
    assert network.class_names == tuple(names) and network.image_shape == (3, 64, 64)
    assert network.provenance["weights"] == f"torchvision:{variant}:DEFAULT, the final layer new"
    images = torch.rand(2, 3, 64, 64)
    width = reference.get_submodule(head).in_features
    reference.set_submodule(head, nn.Identity())
    with torch.no_grad():  # normalised as the weights expect
        torch.testing.assert_close(network.penultimate(images), reference((images - MEAN) / STD))
    # As torch draws a linear layer, or as the network's own code does: anyhow from the generator, and anew each time.
    assert network.head.weight.shape == (3, width) and 0.001 < network.head.weight.std() < 0.05
    again = build(f"torchvision:{variant}:DEFAULT", classes=names, image_shape=(3, 64, 64))
    assert not torch.equal(again.head.weight, network.head.weight)

    save(network, tmp_path / "run")
    (tmp_path / "hub" / "checkpoints").rename(tmp_path / "gone")
    read = load(tmp_path / "run")
    with torch.no_grad():
        assert torch.equal(read(images), network(images)) and torch.equal(read.std, network.std)


def test_whether_a_head_is_new_hangs_on_the_classes(hub):
    reference = models.shufflenet_v2_x0_5()
    hub("shufflenet_v2_x0_5", reference.state_dict())

    def keeps(**options):
        network = build("torchvision:shufflenet_v2_x0_5:DEFAULT", image_shape=(3, 32, 32), **options)
        return torch.equal(network.head.weight, reference.fc.weight)

    trained = models.get_model_weights("shufflenet_v2_x0_5").DEFAULT.meta["categories"]
    assert keeps() and keeps(classes=1000) and keeps(classes=trained)
    assert keeps(classes=[f"n{number:08d}" for number in range(1000)])  # WordNet's, in ImageNet's order
    assert not keeps(classes=[f"kind {number}" for number in range(1000)]) and not keeps(classes=7)
    # A new final layer may be of any width; the trained one is of its own.
    network = build("torchvision:shufflenet_v2_x0_5:DEFAULT", classes=7, image_shape=(3, 32, 32), penultimate=5)
    assert network.head.weight.shape == (7, 5) and torch.equal(network.body.conv1[0].weight, reference.conv1[0].weight)


def test_trained_heads_are_kept(hub):
    hub("shufflenet_v2_x0_5", models.shufflenet_v2_x0_5().state_dict())
    for options in ({"penultimate": 7}, {"head_bias": False}):
        with pytest.raises(InputError, match="with weights keeps its head of 1024 inputs"):
            build("torchvision:shufflenet_v2_x0_5:DEFAULT", **options)
