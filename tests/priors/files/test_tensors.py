import errno
import os
import resource

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from priors.errors import InputError, unknown
from priors.files.tensors import load_weights, read_tensors, write_tensors


def test_tensors_come_back_with_their_metadata(tmp_path):
    weight = torch.randn(3, 4)
    tensors = {
        "weight": weight,
        "turned": weight.T,
        "shared": weight[1:],
        "half": weight.bfloat16(),
        "count": torch.tensor(7),
        "learned": nn.Parameter(weight.clone()),
    }
    path = tmp_path / "new" / "folder" / "x.safetensors"
    write_tensors(path, tensors, {"network": "wrn-16-2"})
    read, metadata = read_tensors(path)
    assert metadata == {"network": "wrn-16-2"} and read.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert read[name].dtype == tensor.dtype and torch.equal(read[name], tensor)
        assert not read[name].requires_grad
    assert read_tensors(path)[0]["weight"].data_ptr() != weight.data_ptr()


def test_a_reader_never_sees_half_a_file(tmp_path, monkeypatch):
    path = tmp_path / "x.safetensors"
    write_tensors(path, {"w": torch.zeros(10)})
    seen = []
    replace = os.replace

    def look(source, target):
        seen.append(torch.equal(read_tensors(path)[0]["w"], torch.zeros(10)))
        seen.append(torch.equal(read_tensors(source)[0]["w"], torch.ones(10)))
        replace(source, target)

    monkeypatch.setattr(os, "replace", look)
    write_tensors(path, {"w": torch.ones(10)})
    assert seen == [True, True] and torch.equal(read_tensors(path)[0]["w"], torch.ones(10))


def test_missing_truncated_and_foreign_files_are_said_in_one_line(tmp_path):
    good = tmp_path / "good.safetensors"
    write_tensors(good, {"w": torch.zeros(100)})
    payload = good.read_bytes()
    for number, content in enumerate(
        [payload[:-1], payload[: len(payload) // 2], payload[:4], b"", b"PK\x03\x04 a pickle"]
    ):
        bad = tmp_path / f"{number}.safetensors"
        bad.write_bytes(content)
        with pytest.raises(InputError, match=f"{number}.safetensors is not readable as prior: truncated") as error:
            read_tensors(bad, "prior")
        assert "\n" not in str(error.value)
    for missing in (tmp_path / "none.safetensors", tmp_path):
        with pytest.raises(InputError, match="no prior at"):
            read_tensors(missing, "prior")


def test_a_shortage_of_open_files_is_no_damage(tmp_path):
    """Where it were, a training would find all of its states damaged."""
    write_tensors(tmp_path / "a", {"w": torch.zeros(2)})
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
        with pytest.raises(OSError, match="Too many open files"):
            read_tensors(tmp_path / "a")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert read_tensors(tmp_path / "a")[0]["w"].tolist() == [0, 0]


def test_weights_must_fit_exactly(tmp_path):
    module = nn.Linear(3, 2)
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    for tensors, said in (
        ({"weight": torch.ones(2, 3)}, "bias is missing"),
        ({"weight": torch.ones(2, 3), "bias": torch.ones(2), "more": torch.ones(1)}, "more is not expected"),
        ({"weight": torch.ones(3, 2), "bias": torch.ones(2)}, r"weight has shape \(3, 2\), expected \(2, 3\)"),
        ({f"x{i}": torch.ones(1) for i in range(4)}, "and 3 more"),
    ):
        with pytest.raises(InputError, match=f"weights in a.file do not fit this network.*{said}"):
            load_weights(module, tensors, "a.file")
        assert all(torch.equal(before[name], tensor) for name, tensor in module.state_dict().items())
    load_weights(module, {"weight": torch.ones(2, 3), "bias": torch.zeros(2)}, "a.file")
    assert torch.equal(module(torch.ones(1, 3)), torch.full((1, 2), 3.0))


def test_weights_must_be_numbers_of_the_networks_kind():
    module = nn.BatchNorm1d(2)
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    for name, tensor, said in (
        ("weight", torch.tensor([3, -7]), "weight holds int64, expected float32"),
        ("bias", torch.tensor([200, 7], dtype=torch.uint8), "bias holds uint8, expected float32"),  # quantised
        ("running_var", torch.tensor([True, False]), "running_var holds bool, expected float32"),
        ("weight", torch.ones(2, dtype=torch.complex64), "weight holds complex64, expected float32"),
        ("num_batches_tracked", torch.tensor(1.5), "num_batches_tracked holds float32, expected int64"),
        ("num_batches_tracked", torch.tensor(float("nan")), "num_batches_tracked holds float32, expected int64"),
    ):
        with pytest.raises(InputError, match=f"do not fit this network: {said}"):
            load_weights(module, before | {name: tensor}, "a.file")
        assert all(torch.equal(before[name], tensor) for name, tensor in module.state_dict().items())
    # Precision is no kind, and a file of half precision has its counts in it, too.
    load_weights(module, {name: tensor.half() for name, tensor in before.items()}, "a.file")
    assert all(torch.equal(before[name], tensor) for name, tensor in module.state_dict().items())
    load_weights(module, before | {"num_batches_tracked": torch.tensor(5, dtype=torch.int32)}, "a.file")
    assert module.num_batches_tracked == 5


@pytest.mark.parametrize(
    ("of", "dtype", "given", "said"),
    [
        (torch.half, torch.float32, 1e5, "value holds numbers that are too large for float16"),
        (torch.float32, torch.float64, -1e39, "value holds numbers that are too large for float32"),
        (torch.uint8, torch.int64, 300, "value holds int64, expected uint8"),
        (torch.int32, torch.int64, 2**40, "value holds int64, expected int32"),
        (torch.bool, torch.int64, 2, "value holds int64, expected bool"),
        (torch.int64, torch.float32, 1e30, "value holds float32, expected int64"),
    ],
)
def test_numbers_that_the_networks_type_does_not_have_are_refused(of, dtype, given, said):
    module = nn.Module()
    module.register_buffer("value", torch.ones(2, dtype=of))
    with pytest.raises(InputError, match=said):
        load_weights(module, {"value": torch.tensor([0, given], dtype=dtype)}, "a.file")
    assert module.value.tolist() == [1, 1]
    load_weights(module, {"value": torch.tensor([0, 1], dtype=dtype)}, "a.file")
    assert module.value.tolist() == [0, 1]


def test_layers_without_a_shape_are_said_and_states_that_are_no_tensors_stay():
    class Counting(nn.Linear):
        def get_extra_state(self):
            return {"calls": 7}

        def set_extra_state(self, state):
            raise AssertionError("no file of tensors has one")

    weights = {"weight": torch.ones(2, 3), "bias": torch.zeros(2)}
    module = Counting(3, 2)
    load_weights(module, weights, "a.file")
    assert torch.equal(module.weight, torch.ones(2, 3))
    with pytest.raises(InputError, match="weight has no shape yet .* run the network on some images first"):
        load_weights(nn.LazyLinear(2), weights, "a.file")


def test_unknown_names_offer_the_nearest():
    assert "did you mean 'mnist'" in str(unknown("data set", "mnits", ["digits", "mnist"]))
    assert "did you mean" not in str(unknown("data set", "zzz", ["digits", "mnist"]))
    assert str(unknown("run", "x", [])) == "unknown run 'x' (none exist)"
    many = str(unknown("class", "x", range(1000), "give a number"))
    assert "1000 in all" in many and many.endswith("; give a number") and len(many) < 400
    assert isinstance(unknown("run", "x", []), ValueError)


def test_a_file_that_memory_has_no_room_for_is_not_called_damaged(tmp_path, monkeypatch):
    """As torch says of 120 MB under `ulimit -v`: an error without a number."""
    write_tensors(tmp_path / "a.safetensors", {"a": torch.ones(3)})

    def short(path, framework):
        raise RuntimeError(f"unable to mmap 120000120 bytes from file <{path}>: Cannot allocate memory (12)")

    monkeypatch.setattr("priors.files.tensors.safe_open", short)
    with pytest.raises(OSError, match="cannot be read now .*Cannot allocate memory") as raised:
        read_tensors(tmp_path / "a.safetensors")
    assert (raised.value.errno, raised.value.filename) == (errno.ENOMEM, str(tmp_path / "a.safetensors"))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.int64, torch.uint8, torch.bool])
def test_what_is_written_is_what_the_library_writes(tmp_path, dtype):
    """Each tensor's name, type, shape and bytes, whatever its layout; and no copy of it is made for that."""
    wide = torch.arange(24).reshape(2, 3, 4).to(dtype)
    tensors = {"a": wide, "t": wide.transpose(0, 2), "none": wide[:0], "one": wide[1, 1, 1], "byte": torch.ones(3) > 0}
    write_tensors(tmp_path / "own", tensors, {"kind": "test"})
    save_file({name: tensor.contiguous().clone() for name, tensor in tensors.items()}, tmp_path / "theirs")
    own, theirs = load_file(tmp_path / "own"), load_file(tmp_path / "theirs")
    assert own.keys() == theirs.keys()
    for name, tensor in theirs.items():
        assert own[name].dtype == tensor.dtype and torch.equal(own[name], tensor), name
    assert read_tensors(tmp_path / "own")[1] == {"kind": "test"}
