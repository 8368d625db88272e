"""timm's networks: as timm itself computes them, with weights from files that the tests write."""

import sys
from dataclasses import replace

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from priors.errors import InputError
from priors.zoo import build, load, save

timm = pytest.importorskip("timm")
MEAN, STD = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1), torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)


@pytest.fixture
def published(tmp_path, monkeypatch):
    """Weights that timm finds in a file instead of the Hub; `published(name, tag)` gives the network they are of."""
    known = timm.models._registry._model_pretrained_cfgs

    def put(name, tag, **changes):
        torch.manual_seed(0)
        network = timm.create_model(name, num_classes=changes.get("num_classes", 1000)).eval()
        for layer in network.modules():
            if isinstance(layer, nn.BatchNorm2d):
                nn.init.uniform_(layer.running_var, 0.5, 1.5)
        file = tmp_path / f"{name}.safetensors"
        save_file(network.state_dict(), file)
        monkeypatch.setitem(
            known, f"{name}.{tag}", replace(known[f"{name}.{tag}"], file=str(file), hf_hub_id=None, url="", **changes)
        )
        return network, file

    return put


def test_published_weights_come_with_classes_size_and_normalisation(published, tmp_path):
    reference, file = published("resnet10t", "c3_in1k")
    network = build("timm:resnet10t:pretrained").eval()
    settings = timm.get_pretrained_cfg("resnet10t")
    assert network.image_shape == settings.input_size == (3, 176, 176)
    assert network.classes == 1000 == len(set(network.class_names))
    assert network.class_names[0] == "tench" and network.class_names[517] == "crane (n03126707)"
    assert network.mean.tolist() == pytest.approx(settings.mean) and network.std.tolist() == pytest.approx(settings.std)
    assert network.provenance == {"weights": "timm:resnet10t:pretrained"}
    images = torch.rand(2, 3, 176, 176)
    with torch.no_grad():
        expected = reference((images - MEAN) / STD)
        torch.testing.assert_close(network(images), expected)
        torch.testing.assert_close(
            network.penultimate(images),
            reference.forward_head(reference.forward_features((images - MEAN) / STD), pre_logits=True),
        )

    save(network, tmp_path / "run")
    file.unlink()  # a run's folder asks for nothing that is not in it
    with torch.no_grad():
        torch.testing.assert_close(load(tmp_path / "run")(images), expected)


def test_other_classes_and_channels_keep_the_trained_body(published, tmp_path, caplog):
    reference, _ = published("resnet10t", "c3_in1k")
    torch.manual_seed(1)
    network = build("timm:resnet10t:c3_in1k", classes=["ant", "bee", "cat"], image_shape=(1, 28, 28)).eval()
    assert "timm:resnet10t:c3_in1k: the final layer is drawn anew for 3 classes" in caplog.text
    assert network.mean.tolist() == pytest.approx([0.449], abs=1e-3)
    state = reference.state_dict()
    assert torch.equal(network.body.layer2[0].conv1.weight, state["layer2.0.conv1.weight"])
    torch.testing.assert_close(  # one channel that stands for three of the same
        network.body.conv1[0].weight, state["conv1.0.weight"].sum(1, keepdim=True), rtol=1e-5, atol=1e-6
    )
    save(network, tmp_path)
    images = torch.rand(2, 1, 28, 28)
    with torch.no_grad():
        assert torch.equal(load(tmp_path)(images), network(images))


def test_as_many_classes_of_other_names_are_other_classes(published):
    reference, _ = published("resnet10t", "c3_in1k")
    same = build("timm:resnet10t:pretrained", classes=1000, image_shape=(3, 32, 32))
    other = build("timm:resnet10t:pretrained", classes=[f"kind {n}" for n in range(1000)], image_shape=(3, 32, 32))
    assert torch.equal(same.head.weight, reference.fc.weight)
    assert not torch.equal(other.head.weight, reference.fc.weight) and other.head.weight.shape == (1000, 512)


@pytest.mark.parametrize(
    ("name", "shape", "stages"),
    [
        ("resnet10t", (3, 32, 32), ["act1", "layer1", "layer2", "layer3", "layer4"]),
        ("vit_tiny_patch16_224", (3, 32, 48), ["blocks.2", "blocks.5", "blocks.8", "blocks.11"]),
        ("mobilenetv3_small_050", (1, 32, 32), None),
        ("convnext_atto", (4, 64, 64), ["stages.0", "stages.1", "stages.2", "stages.3"]),
    ],
)
def test_fresh_networks_are_made_for_their_images(name, shape, stages, tmp_path):
    network = build(f"timm:{name}", classes=5, image_shape=shape, mean=0.4, std=0.2).eval()
    images = torch.rand(2, *shape)
    assert network.mean.tolist() == pytest.approx([0.4] * shape[0])
    assert stages is None or list(network.stages) == [f"body.{stage}" for stage in stages]
    with torch.no_grad():
        logits = network(images)
        assert logits.shape == (2, 5) and torch.equal(network.head(network.penultimate(images)), logits)
    save(network, tmp_path)
    with torch.no_grad():
        assert torch.equal(load(tmp_path)(images), logits)


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("resnet10x", {}, "unknown classifier 'timm:resnet10x': did you mean 'timm:resnet10t'"),
        ("resnet10t:c3_in2k", {}, "unknown weights of timm:resnet10t 'c3_in2k': did you mean 'c3_in1k'"),
        ("resnet18.a1_in1k", {}, "weights are named behind a colon: give timm:resnet18:a1_in1k"),
        ("inception_v3", {"image_shape": (3, 16, 16)}, "timm:inception_v3 cannot take images of 16x16"),
        ("deit_tiny_distilled_patch16_224", {}, "no linear head to read a prior from, but several heads"),
        ("test_resnet", {"classes": None}, "classes is needed"),
    ],
)
def test_what_does_not_suit_is_said_in_one_line(name, options, said):
    with pytest.raises(InputError, match=said) as error:
        build(f"timm:{name}", **{"classes": 3, "image_shape": (3, 64, 64), **options})
    assert "\n" not in str(error.value)


def test_weights_that_cannot_be_had_or_do_not_fit_are_said(published, monkeypatch):
    _, file = published("resnet10t", "c3_in1k")
    save_file({"conv1.0.weight": torch.zeros(1)}, file)
    with pytest.raises(InputError, match="timm:resnet10t cannot be made .* with its weights"):
        build("timm:resnet10t:pretrained", classes=3, image_shape=(3, 64, 64))

    def offline(*_, **__):
        raise ConnectionError("no route to host")

    monkeypatch.setattr(timm, "create_model", offline)
    with pytest.raises(InputError, match="no weights c3_in1k of timm:resnet10t .no route to host.*HF_HOME"):
        build("timm:resnet10t:pretrained")


def test_without_timm_one_line_says_how_to_have_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(InputError, match=r"timm is not installed here .*; install it with pip install timm") as error:
        build("timm:resnet10t", classes=3, image_shape=(3, 64, 64))
    assert "\n" not in str(error.value)
