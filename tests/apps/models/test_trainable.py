"""Networks before their training: of the user's own, and with trained weights."""

import sys
from pathlib import Path

import pytest
import torch
from own_networks import MINE
from safetensors.torch import save_file
from torch import nn

from apps.command.config import Own
from apps.models.trainable import trainable
from priors.errors import InputError
from priors.zoo.wrapped import Wrapped

CLASSES = tuple("abcdefghij")
SHAPE = (1, 8, 8)


@pytest.fixture
def mine(monkeypatch, tmp_path):
    """The module of the user's own, which is in the current folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    Path("mine.py").write_text(MINE)
    import mine

    yield mine
    del sys.modules["mine"]


def made(name, own=None, classes=CLASSES, shape=SHAPE, **options):
    return trainable(f"import:mine:{name}", classes, shape, own or Own(), lambda: ([0.25], [0.5]), **options)


@pytest.mark.parametrize("name", ["net", "plain", "flat", "ten", "lazy", "Counting"])
def test_it_is_the_users_module_with_the_weights_that_it_draws(mine, name):
    """The factory is called with what it names; what is tried before the training changes no number and no mode."""
    torch.manual_seed(5)
    reference = {
        "net": lambda: mine.Maps(10, SHAPE),
        "plain": lambda: mine.Maps(10, SHAPE, norm=False),
        "flat": lambda: mine.flat(CLASSES, 8),
        "ten": mine.ten,
        "lazy": lambda: _settled(mine.lazy(10)),
        "Counting": lambda: mine.Counting(10),
    }[name]()
    torch.manual_seed(5)
    network = made(name)
    assert isinstance(network, Wrapped) and network.code == f"import:mine:{name}"
    assert network.class_names == CLASSES and network.image_shape == SHAPE
    assert network.mean.tolist() == [0.25] and network.std.tolist() == [0.5]
    assert all(module.training for module in network.modules())
    theirs, ours = reference.state_dict(), network.network.state_dict()
    assert theirs.keys() == ours.keys() and all(torch.equal(theirs[key], ours[key]) for key in theirs)
    images = torch.rand(3, *SHAPE)
    with torch.no_grad():
        assert torch.equal(network.eval()(images), reference.eval()((images - 0.25) / 0.5))


def _settled(network):
    with torch.no_grad():
        network(torch.zeros(2, *SHAPE))
    return network


def test_what_the_code_does_not_say_is_said_beside(mine):
    network = made("net", Own(mean=(0.1,), std=(0.3,), head="out", taps=("conv1", "conv2")))
    assert network.mean.tolist() == pytest.approx([0.1]) and network.std.tolist() == pytest.approx([0.3])
    assert network.stages == ("network.conv1", "network.conv2") and network.head_name == "network.out"


def test_weights_of_a_file_are_what_it_begins_with(mine):
    save_file({name: torch.full_like(value, 0.5) for name, value in mine.ten().state_dict().items()}, "w.safetensors")
    network = made("ten,weights=w.safetensors")
    assert all(bool((weight == 0.5).all()) for weight in network.parameters())
    assert network.code == "import:mine:ten"  # a run holds its own weights


def test_half_precision_is_trained_in_single(mine, caplog):
    assert next(made("half").parameters()).dtype == torch.float32
    assert "in float32" in caplog.text


WRONG = {
    "raises": ("raises", {}, "raises(classes=10) raised ZeroDivisionError: no classes today"),
    "no module": ("text", {}, "gave a str, expected a torch.nn.Module"),
    "unknown factory": ("nett", {}, "did you mean 'net'"),
    "other classes": ("ten", {"classes": ("a", "b", "c")}, "gives 10 logits, and there are 3 classes: let the factory"),
    "no linear head": ("headless", {}, "has no linear layer"),
    "other images": ("wide", {}, "cannot take images of 1x8x8"),
    "odd error": ("Odd", {}, "it cannot take images of 1x8x8 (channels x height x width): KeyError: 'images'"),
    "more than logits": ("Pair", {}, "gives a tuple: logits of shape (2, 10) were expected"),
    "not to be copied": ("Locked", {}, "it cannot be copied (TypeError"),
    "not to be saved": ("Noted", {}, "its state holds '_extra_state', which is no tensor"),
    "nothing to train": ("frozen", {}, "there is nothing to train"),
    "unknown tap": ("net", {"own": Own(taps=("convv1",))}, "did you mean 'conv1'"),
    "unknown head": ("net", {"own": Own(head="outt")}, "did you mean 'out'"),
    "mean of three": ("net", {"own": Own(mean=(0.1, 0.2, 0.3))}, "mean has 3 values"),
    "no weights": ("ten,weights=none.safetensors", {}, "none.safetensors"),
    "no setting": ("ten,weihgts=none.safetensors", {}, "did you mean 'weights'"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_cannot_be_trained_is_said_before(mine, case):
    name, options, said = WRONG[case]
    with pytest.raises(InputError) as error:
        made(name, **options)
    assert said in str(error.value) and "\n" not in str(error.value)


def test_networks_known_by_name_say_it_themselves():
    def unasked():
        raise AssertionError("the images' own statistics are not asked for")

    with pytest.raises(InputError, match="--student-mean, --student-taps with mlp: it is known"):
        trainable("mlp", CLASSES, SHAPE, Own(mean=(0.5,), taps=("a",)), unasked, flag="--student-")
    with pytest.raises(InputError, match="unknown classifier 'mpl': did you mean 'mlp'"):
        trainable("mpl", CLASSES, SHAPE, Own(), unasked)


def test_trained_weights_keep_their_normalisation_and_fresh_ones_take_the_images(monkeypatch, tmp_path):
    from torchvision import models

    torch.manual_seed(0)
    reference = models.shufflenet_v2_x0_5()
    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", lambda *a, **k: dict(reference.state_dict()))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    tuned, fresh = (
        trainable(f"torchvision:shufflenet_v2_x0_5{weights}", CLASSES, (3, 32, 32), Own(), lambda: ([0.25], [0.5]))
        for weights in (":DEFAULT", "")
    )
    assert tuned.mean.tolist() == pytest.approx([0.485, 0.456, 0.406]) and fresh.mean.tolist() == [0.25] * 3
    assert torch.equal(tuned.body.stage3[0].branch2[0].weight, reference.stage3[0].branch2[0].weight)
    assert tuned.head.out_features == 10 and tuned.class_names == CLASSES
    assert isinstance(tuned.head, nn.Linear)
