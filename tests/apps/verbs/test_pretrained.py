"""Networks with trained weights on a data set of other classes: fine-tuning on the command line."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torchvision import models

from apps.command.own_code import _named
from apps.models.named import classifier
from priors import zoo

SHARED = ["--device", "cpu", "--threads", 1, "--lr", 1e-3, "--batch-size", 8, "--epochs", 1]


@pytest.fixture
def three(penult):
    """Three classes of colour images, 24 to train on."""
    source = np.random.default_rng(0)
    sets = {}
    for split, count in (("train", 24), ("test", 9)):
        sets[f"x_{split}"] = source.integers(256, size=(count, 32, 32, 3), dtype=np.uint8)
        sets[f"y_{split}"] = np.arange(count) % 3
    np.savez("three.npz", classes=np.array(["ant", "bee", "cat"]), **sets)
    _named.clear()
    return "three.npz"


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """The folder where torch keeps downloads, with weights of two networks in it."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    folder = tmp_path / "torch" / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    torch.manual_seed(0)
    network = models.shufflenet_v2_x0_5()
    url = models.get_model_weights("shufflenet_v2_x0_5").DEFAULT.url
    torch.save(network.state_dict(), folder / url.rpartition("/")[2])
    return folder, network


def test_a_run_begins_with_trained_weights_and_a_new_head_and_needs_no_download_later(penult, three, hub, caplog):
    folder, reference = hub
    words = ["train", "classifier", "--data", three, "--arch", "torchvision:shufflenet_v2_x0_5:DEFAULT", *SHARED]
    words += ["--snapshots", 0, "--name", "fine"]
    said = penult(*words)
    assert said.status == 0, said.err
    assert "the final layer is drawn anew for 3 classes" in caplog.text
    begun, done = zoo.load("runs/fine/snapshots/step-0"), zoo.load("runs/fine")
    state = reference.state_dict()
    assert begun.mean.tolist() == pytest.approx([0.485, 0.456, 0.406])
    for name, tensor in begun.body.state_dict().items():
        assert torch.equal(tensor, state[name]), name
    assert done.class_names == ("ant", "bee", "cat") and done.image_shape == (3, 32, 32)
    assert done.provenance["weights"] == "torchvision:shufflenet_v2_x0_5:DEFAULT, the final layer new"
    assert not torch.equal(done.body.conv1[0].weight, state["conv1.0.weight"])
    assert zoo.describe("runs/fine")["architecture"]["name"] == "torchvision:shufflenet_v2_x0_5"

    folder.rename(folder.with_name("gone"))
    assert penult("evaluate", "runs/fine", "--device", "cpu").status == 0
    again = penult(*words)
    assert again.status == 0 and "is finished already" in again.out, again.err


def test_a_student_and_an_encoder_with_trained_weights(penult, three, hub):
    """Before the first step, the weights are those of the file."""
    weights = hub[1].state_dict()
    common = ["--data", three, *SHARED]
    name = "torchvision:shufflenet_v2_x0_5:DEFAULT"
    said = penult("distill", "ce", "--student", name, *common, "--snapshots", 0, "--name", "student")
    assert said.status == 0, said.err
    begun = zoo.load("runs/student/snapshots/step-0")
    assert torch.equal(begun.body.conv5[0].weight, weights["conv5.0.weight"]) and begun.classes == 3
    said = penult("train", "autoencoder", "--arch", name, "--code", "pooled", *common, "--snapshots", 0, "--name", "a")
    assert said.status == 0, said.err
    from apps.models.named import layered

    begun = layered("runs/a/snapshots/step-0")
    assert torch.equal(begun.encoder.conv5[0].weight, weights["conv5.0.weight"])
    assert begun.mean.tolist() == pytest.approx([0.485, 0.456, 0.406])


def test_networks_of_timm_are_trained_and_are_models(penult, three, tmp_path, monkeypatch):
    """With weights from a file in the Hub's place: a MODEL by name, and a run that begins with them."""
    timm = pytest.importorskip("timm")
    from dataclasses import replace

    from safetensors.torch import save_file

    torch.manual_seed(0)
    network = timm.create_model("test_resnet", num_classes=1000)
    known = timm.models._registry._model_pretrained_cfgs
    name = next(full for full in timm.models.get_arch_pretrained_cfgs("test_resnet"))
    file = tmp_path / "timm.safetensors"
    save_file(network.state_dict(), file)
    monkeypatch.setitem(known, name, replace(known[name], file=str(file), hf_hub_id=None, url=""))
    model = classifier("timm:test_resnet")
    images = torch.rand(2, *model.image_shape)
    with torch.no_grad():
        expected = network.eval()((images - model.mean.view(-1, 1, 1)) / model.std.view(-1, 1, 1))
        torch.testing.assert_close(model(images), expected)
    assert model.image_shape == timm.get_pretrained_cfg("test_resnet").input_size and model.class_names[0] == "tench"
    said = penult("prior", "timm:test_resnet", "--concentration", 20)
    assert said.status == 0 and "tench" in said.out, said.err

    words = ["train", "classifier", "--data", three, *SHARED, "--snapshots", 0, "--arch"]
    said = penult(*words, "timm:test_resnet:pretrained", "--name", "fine")
    assert said.status == 0, said.err
    file.unlink()
    begun = zoo.load("runs/fine/snapshots/step-0")
    weight = next(iter(network.named_parameters()))
    assert torch.equal(begun.body.get_parameter(weight[0]), weight[1]) and begun.classes == 3
    refused = penult(*words, "timm:test_resnett", "--name", "no")
    assert refused.status == 2 and "did you mean 'timm:test_resnet'" in refused.err and not Path("runs/no").exists()
