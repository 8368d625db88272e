import json

import pytest
import torch
from torch import nn

from priors.errors import InputError
from priors.files.tensors import read_tensors, write_tensors
from priors.zoo import build, describe, load, save


@pytest.fixture
def saved(tmp_path):
    torch.manual_seed(0)
    network = build("mlp", classes=3, image_shape=(1, 4, 4), mean=0.2, hidden=(8, 6), penultimate=5)
    save(network, tmp_path / "run", {"accuracy": 0.75, "epochs": [1, 2]})
    return network, tmp_path / "run"


def test_options_and_extras_come_back(saved):
    network, folder = saved
    assert describe(folder)["extra"] == {"accuracy": 0.75, "epochs": [1, 2]}
    again = load(folder)
    assert again.stages == network.stages and again.architecture["options"] == {"hidden": [8, 6]}
    assert {p.name for p in folder.iterdir()} == {"model.json", "model.safetensors"}
    state = network.state_dict()
    assert all(torch.equal(state[name], tensor) for name, tensor in again.state_dict().items())


def test_a_later_save_replaces_the_earlier(saved):
    _, folder = saved
    other = build("convnet", classes=["a", "b"], image_shape=(1, 8, 8))
    save(other, folder)
    assert load(folder).class_names == ("a", "b") and describe(folder)["extra"] == {}


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda folder: (folder / "model.json").unlink(), "no classifier at .*model.json"),
        (lambda folder: (folder / "model.safetensors").unlink(), "no classifier weights at"),
        (lambda folder: (folder / "model.json").write_text("{"), "not a readable classifier"),
        (lambda folder: (folder / "model.json").write_text("[1]"), "describes no classifier"),
        (lambda folder: (folder / "model.json").write_text('{"format": "x"}'), "describes no classifier: .*not 'x'"),
        (lambda folder: (folder / "model.safetensors").write_bytes(b"12345"), "truncated, or not a safetensors"),
        (lambda folder: edit(folder, penultimate=6), "of different classifiers"),
        (lambda folder: edit_both(folder, name="mpl"), "unknown classifier 'mpl': did you mean 'mlp'"),
        (lambda folder: edit_both(folder, penultimate=6), "do not fit this network: body.penultimate.weight has shape"),
        (lambda folder: edit_both(folder, colour="red"), "unknown option of mlp 'colour'"),
        (lambda folder: edit_both(folder, options=None), "no classifier that can be built"),
        (lambda folder: edit_both(folder, image_shape=[3, 4]), r"image_shape is \[3, 4\]"),
        (lambda folder: drop(folder, "head.bias"), "head.bias is missing"),
        (lambda folder: say_made_of(folder, [7]), "can be built: .*expected a text as its 'data', not list"),
        (lambda folder: say_made_of(folder, {"x": 1}), "can be built: .*expected a text as its 'data', not dict"),
    ],
)
def test_damaged_and_foreign_files_are_said_in_one_line(saved, damage, said):
    damage(saved[1])
    with pytest.raises(InputError, match=said) as error:
        load(saved[1])
    assert "\n" not in str(error.value)


PRETRAINED = {
    "in the name": {"name": "torchvision:resnet18:DEFAULT"},
    "in the options": {"name": "torchvision:resnet18", "options": {"weights": "IMAGENET1K_V1"}},
    "beside the options": {"name": "torchvision:resnet18", "options": {}, "weights": "DEFAULT"},
    "by the pattern's name": {"name": "torchvision:NAME", "options": {"variant": "resnet18", "weights": "DEFAULT"}},
}


@pytest.mark.parametrize("way", PRETRAINED)
def test_a_file_that_names_trained_weights_has_nothing_downloaded(saved, monkeypatch, way):
    asked = []
    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", lambda *given, **options: asked.append(given))
    edit_both(saved[1], **PRETRAINED[way])
    with pytest.raises(InputError, match=r"model.json names trained weights \(torchvision:.*\): a file never has"):
        load(saved[1])
    assert asked == []


def say_made_of(folder, what):
    description = json.loads((folder / "model.json").read_text())
    description["provenance"]["data"] = what
    (folder / "model.json").write_text(json.dumps(description))


def edit(folder, **changes):
    description = json.loads((folder / "model.json").read_text())
    description["architecture"] |= changes
    (folder / "model.json").write_text(json.dumps(description))


def edit_both(folder, **changes):
    edit(folder, **changes)
    description = json.loads((folder / "model.json").read_text())
    tensors, _ = read_tensors(folder / "model.safetensors")
    identity = json.dumps([description["architecture"], None], sort_keys=True)
    write_tensors(folder / "model.safetensors", tensors, {"architecture": identity})


def drop(folder, name):
    tensors, metadata = read_tensors(folder / "model.safetensors")
    del tensors[name]
    write_tensors(folder / "model.safetensors", tensors, metadata)


def test_half_precision_weights_load_into_an_ordinary_network(saved):
    network, folder = saved
    save(network.bfloat16(), folder)
    again = load(folder)
    assert again.head.weight.dtype == torch.float32
    assert torch.equal(again.head.weight, network.head.weight.float())


def test_what_is_no_classifier_is_not_saved(tmp_path):
    from jaxtyping import TypeCheckError

    with pytest.raises((InputError, TypeCheckError)):
        save(nn.Linear(3, 2), tmp_path)
    assert not list(tmp_path.iterdir())
