"""Weights whose names are not the network's: of wrappers, of trainers, and of tensors that a network has twice."""

import copy
import random

import pytest
import torch
from safetensors.torch import save_model
from torch import nn
from torch.distributions import Distribution
from torch.optim.swa_utils import AveragedModel

from priors.errors import InputError
from priors.files.tensors import load_weights, read_tensors


class Net(nn.Module):
    """A body of two layers, one of them with running statistics, and a head."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
        self.head = nn.Linear(4, 2)

    def forward(self, x):
        return self.head(self.body(x).relu())


class Tied(nn.Module):
    """An encoder and a decoder of one weight."""

    def __init__(self, tied: bool = True):
        super().__init__()
        self.embedding = nn.Embedding(5, 4)
        self.decoder = nn.Linear(4, 5)
        if tied:
            self.decoder.weight = self.embedding.weight


class Transposed(nn.Module):
    """A decoder whose weight is the encoder's, transposed: the same memory."""

    def __init__(self):
        super().__init__()
        self.encoder, self.decoder = nn.Linear(4, 3), nn.Linear(3, 4)
        self.decoder.weight = nn.Parameter(self.encoder.weight.detach().T)


class Views(nn.Module):
    """A square matrix, and its transpose and its first rows in the same memory."""

    def __init__(self):
        super().__init__()
        self.matrix = nn.Parameter(torch.randn(3, 3))
        self.register_buffer("turned", self.matrix.detach().T)
        self.register_buffer("upper", self.matrix.detach()[:2])


def prefixed(prefix):
    return lambda net: {f"{prefix}{name}": tensor for name, tensor in net.state_dict().items()}


def compiled_in_part(net):
    net = copy.deepcopy(net)
    net.body = torch.compile(net.body)
    return net.state_dict()


WRITTEN = {
    "data parallelism": (lambda net: nn.DataParallel(net).state_dict(), "'module.'"),
    "compilation": (lambda net: torch.compile(net).state_dict(), "wrappers"),
    "compilation of a part": (compiled_in_part, "wrappers"),
    "compilation, then data parallelism": (lambda net: nn.DataParallel(torch.compile(net)).state_dict(), "'module.'"),
    "an average of weights": (lambda net: AveragedModel(net).state_dict(), "'module.'"),
    "a trainer": (prefixed("model."), "'model.'"),
    "a checkpoint's part": (prefixed("state_dict."), "'state_dict.'"),
    "several of them": (prefixed("state_dict.model.module._orig_mod."), "'state_dict.model.module.'"),
    "a name that the network has itself": (prefixed("body."), "'body.'"),
}


@pytest.fixture(autouse=True)
def checks():
    """torch.compile switches off the checks of all distributions, for good."""
    before = Distribution._validate_args
    yield
    Distribution.set_default_validate_args(before)


@pytest.fixture
def net():
    torch.manual_seed(0)
    made = Net()
    made(torch.randn(8, 3))
    return made.eval()


def same(one, other):
    return all(torch.equal(tensor, other.state_dict()[name]) for name, tensor in one.state_dict().items())


@pytest.mark.parametrize("case", WRITTEN)
def test_what_wrappers_put_into_names_is_left_out_and_said(net, caplog, case):
    write, said = WRITTEN[case]
    other = Net().eval()
    load_weights(other, write(net), "a.safetensors")
    assert same(net, other)
    (record,) = caplog.records
    assert "a.safetensors" in record.message and said in record.message and "\n" not in record.message


def test_names_that_fit_are_taken_as_they_are_without_a_word(net, caplog):
    other = Net()
    load_weights(other, net.state_dict(), "a.safetensors")
    assert same(net, other) and not caplog.records


@pytest.mark.parametrize("wrapper", [nn.DataParallel, torch.compile])
def test_a_wrapped_network_takes_the_weights_of_what_it_wraps(net, caplog, wrapper):
    """As where the factory of a user wraps its network, and the file is of the bare one."""
    given = net.state_dict()
    other = wrapper(Net().eval())
    load_weights(other, given, "a.safetensors")
    x = torch.randn(2, 3)
    eager = getattr(other, "_orig_mod", other)
    assert torch.equal(eager.eval()(x), net(x)) and len(caplog.records) == 1


def test_one_wrapper_may_stand_for_another(net, caplog):
    """The file is a trainer's, "model.", and the module has a "net." of its own."""
    other = nn.ModuleDict({"net": Net()})
    load_weights(other, prefixed("model.")(net), "a.safetensors")
    assert same(net, other["net"]) and "'model.'" in caplog.text and "'net.'" in caplog.text


def test_a_prefix_is_left_out_only_where_all_names_then_fit(net, caplog):
    before = copy.deepcopy(net.state_dict())
    given = prefixed("module.")(net)
    for wrong, said in (
        ({name: tensor for name, tensor in given.items() if name != "module.head.bias"}, "head.bias is missing"),
        (given | {"module.more": torch.ones(1)}, "module.more is not expected"),
        (given | {"module.head.bias": torch.ones(3)}, r"head.bias has shape \(3,\), expected \(2,\)"),
        (given | {"optimizer.step": torch.ones(1)}, "body.0.weight is missing"),
    ):
        with pytest.raises(InputError, match=said) as error:
            load_weights(net, wrong, "a.safetensors")
        assert "\n" not in str(error.value)
    assert all(torch.equal(before[name], tensor) for name, tensor in net.state_dict().items())
    assert not caplog.records


def test_a_file_with_one_name_of_tied_weights(tmp_path):
    """`safetensors.torch.save_model` leaves out the other name; its metadata says so."""
    torch.manual_seed(1)
    net, other = Tied(), Tied()
    save_model(net, str(tmp_path / "a.safetensors"))
    tensors, metadata = read_tensors(tmp_path / "a.safetensors")
    assert len(tensors) < len(net.state_dict())
    load_weights(other, tensors, "a.safetensors", metadata)
    assert same(net, other)
    again = Tied()
    load_weights(again, tensors, "a.safetensors")  # the memory that the network shares is enough
    assert same(net, again)


def test_tied_weights_of_other_strides():
    """One name of a matrix and its transpose sets both; a slice of the memory is not all of it."""
    net, other = Transposed(), Transposed()
    given = {name: tensor for name, tensor in net.state_dict().items() if name != "decoder.weight"}
    load_weights(other, given, "a.safetensors")
    assert same(net, other)
    part = nn.ParameterDict({"whole": torch.zeros(4)})
    part["slice"] = nn.Parameter(part["whole"].detach()[:2])
    load_weights(part, {"whole": torch.arange(4.0)}, "a.safetensors")
    assert part["slice"].tolist() == [0, 1]
    with pytest.raises(InputError, match="whole is missing"):
        load_weights(part, {"slice": torch.zeros(2)}, "a.safetensors")


def test_tied_weights_of_a_network_that_ties_none_and_under_a_prefix(tmp_path, caplog):
    torch.manual_seed(1)
    net = Tied()
    save_model(nn.ModuleDict({"model": net}), str(tmp_path / "a.safetensors"))
    tensors, metadata = read_tensors(tmp_path / "a.safetensors")
    apart = Tied(tied=False)
    load_weights(apart, tensors, "a.safetensors", metadata)
    assert same(net, apart) and torch.equal(apart.decoder.weight, apart.embedding.weight) and "'model.'" in caplog.text
    with pytest.raises(InputError, match="is missing"):  # nothing says what the other name is
        load_weights(Tied(tied=False), tensors, "a.safetensors")


def test_tied_weights_that_differ_in_the_file_are_refused():
    """Only those that are copied last would be left."""
    torch.manual_seed(1)
    with pytest.raises(InputError, match=r"decoder.weight and embedding.weight share memory in it, and are different"):
        load_weights(Tied(), Tied(tied=False).state_dict(), "a.safetensors")
    both = Tied().state_dict()
    net = Tied()
    load_weights(net, both, "a.safetensors")
    assert torch.equal(net.decoder.weight, both["decoder.weight"])


def test_metadata_does_not_turn_what_the_network_has_as_a_transpose_or_a_slice():
    """A file says no more than which names share memory: written as it is, the transpose would set the matrix."""
    net, other = Views(), Views()
    load_weights(other, {"matrix": net.matrix.detach()}, "a", {"turned": "matrix", "upper": "matrix", "format": "pt"})
    assert same(net, other)
    load_weights(other, {name: 2 * tensor for name, tensor in net.state_dict().items()}, "a")
    assert torch.equal(other.matrix, 2 * net.matrix) and torch.equal(other.turned, 2 * net.matrix.T)


@pytest.mark.parametrize("name", ["turned", "upper"])
def test_a_transpose_or_a_slice_with_other_numbers_is_refused(name):
    net = Views()
    before = copy.deepcopy(net.state_dict())
    wrong = before | {name: before[name] + torch.eye(3)[: len(before[name])]}
    with pytest.raises(InputError, match=f"matrix and {name} share memory in it, and are different there"):
        load_weights(net, wrong, "a.safetensors")
    assert all(torch.equal(before[key], tensor) for key, tensor in net.state_dict().items())


def grown(source: random.Random) -> nn.Module:
    """A network of a few numbers, under names that wrappers use as well."""
    net = nn.Module()
    for _ in range(source.randint(1, 5)):
        place = net
        for part in source.choices(["module", "model", "a", "b"], k=source.randint(0, 3)):
            if not hasattr(place, part):
                place.add_module(part, nn.Module())
            place = getattr(place, part) if isinstance(getattr(place, part), nn.Module) else place
        leaf = source.choice(["w", "v", "a", "module"])
        if not hasattr(place, leaf):
            place.register_parameter(leaf, nn.Parameter(torch.zeros(1)))
    return net


def test_no_number_is_ever_put_where_another_belongs():
    """Networks and wrappers at random, some names lost: all is as it was written, or nothing was taken."""
    loaded = 0
    for seed in range(150):
        source = random.Random(seed)
        net = grown(source)
        truth = {name: torch.tensor([1.0 + number]) for number, name in enumerate(net.state_dict())}
        before = source.choices(["module", "model", "a", "state_dict", "_orig_mod"], k=source.randint(0, 3))
        given = {".".join((*before, name)): tensor for name, tensor in truth.items()}
        if len(given) > 1 and seed % 5 == 0:
            del given[source.choice(list(given))]
        try:
            load_weights(net, given, "a.safetensors")
        except InputError:
            assert len(given) < len(truth) and not any(net.state_dict().values())
        else:
            assert net.state_dict() == truth
            loaded += 1
    assert loaded > 100
