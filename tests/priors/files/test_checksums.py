"""A damaged file is never read as if it were whole, and weights that are no numbers are refused."""

import json
import zlib

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import nn

from priors.errors import InputError
from priors.files import checksums
from priors.files.tensors import load_weights, read_tensors, write_tensors
from priors.model.classifier_prior import ClassifierPrior

TENSORS = {
    "weight": torch.arange(12, dtype=torch.float32).reshape(3, 4) / 7,
    "half": torch.ones(3).bfloat16(),
    "count": torch.tensor(7),
}


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "x.safetensors"
    write_tensors(path, TENSORS, {"names": '["a", "ü", "猫"]', "kind": "b"})
    return path


@pytest.fixture
def remarks(caplog, monkeypatch):
    """The lines on files without a checksum, in a process that has read none."""
    monkeypatch.setattr(checksums, "_unchecked", set())
    return lambda: [record.getMessage() for record in caplog.records if record.name == "priors"]


def test_no_flipped_bit_passes(path):
    """Bits of a whole file in turn, in each of its bytes: it is refused, or what is read is what was written."""
    whole = path.read_bytes()
    passed = 0
    for place in range(0, 8 * len(whole), 3):
        content = bytearray(whole)
        content[place // 8] ^= 1 << place % 8
        path.write_bytes(content)
        try:
            read, metadata = read_tensors(path, foreign=True)
        except InputError as error:
            assert str(path) in str(error)
            continue
        passed += 1
        assert read.keys() == TENSORS.keys() and all(torch.equal(read[name], TENSORS[name]) for name in read)
        assert (metadata["names"], metadata["kind"]) == ('["a", "ü", "猫"]', "b")
    assert passed <= 8 * len(checksums.KEY), "only what names the checksum may change"


def test_the_checksum_is_zlibs_of_header_and_bytes(path):
    content = path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    metadata = header.pop("__metadata__")
    stored = metadata.pop("penult_crc32")
    told = json.dumps([header, metadata], sort_keys=True).encode()
    assert stored == f"{zlib.crc32(told + content[8 + length :]):08x}" == checksums.stored_checksum(path)
    assert length % 8 == 0 and load_file(path).keys() == TENSORS.keys(), "safetensors reads it as any other"


def test_the_same_content_gives_the_same_bytes(path, tmp_path):
    write_tensors(tmp_path / "y", dict(reversed(TENSORS.items())), {"kind": "b", "names": '["a", "ü", "猫"]'})
    assert (tmp_path / "y").read_bytes() == path.read_bytes()
    tensors, metadata = read_tensors(path)
    write_tensors(tmp_path / "z", tensors, metadata)
    assert (tmp_path / "z").read_bytes() == path.read_bytes()
    with safe_open(path, "pt") as file:  # whose metadata still has the checksum
        write_tensors(tmp_path / "z", tensors | {"count": torch.tensor(8)}, file.metadata())
    assert read_tensors(tmp_path / "z")[0]["count"] == 8


def test_files_without_a_checksum_are_remarked_on_once_and_foreign_ones_never(tmp_path, remarks):
    for name in ("a", "b", "c"):
        save_file(TENSORS, tmp_path / name)
    read_tensors(tmp_path / "a", foreign=True)
    assert remarks() == []
    for name in ("b", "c", "b"):
        assert torch.equal(read_tensors(tmp_path / name)[0]["weight"], TENSORS["weight"])
    (line,) = remarks()
    assert f"{tmp_path}/b has no checksum" in line and "\n" not in line


def test_damage_is_said_in_a_line_that_names_the_file(path):
    content = bytearray(path.read_bytes())
    content[-1] ^= 64
    path.write_bytes(content)
    for foreign in (False, True):
        with pytest.raises(InputError, match=r"x.safetensors is damaged \(prior\): its checksum") as error:
            read_tensors(path, "prior", foreign=foreign)
        assert "\n" not in str(error.value)


# What is not finite.


@pytest.mark.parametrize("value", [float("inf"), float("-inf"), float("nan")])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.float8_e5m2])
def test_counts_what_is_no_number(value, dtype):
    tensor = torch.ones(2, 3, dtype=torch.float64)
    assert checksums.not_finite(tensor.to(dtype)) == 0
    tensor[1, 2] = tensor[0, 1] = value
    assert checksums.not_finite(tensor.to(dtype)) == 2


def test_a_sum_that_overflows_is_no_damage():
    assert checksums.not_finite(torch.full((4,), 3e38)) == 0
    assert checksums.not_finite(torch.tensor([[1, 2]])) == checksums.not_finite(torch.zeros(0)) == 0


class Masked(nn.Module):
    """As attention has it: a mask of -inf among the buffers."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(3, 2)
        self.register_buffer("mask", torch.full((3, 3), float("-inf")).triu(1))


def test_weights_that_are_not_finite_are_refused_and_masks_are_not():
    module = Masked()
    weights = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    load_weights(module, weights, "a.file")
    for name, place in (("layer.weight", (1, 2)), ("layer.bias", 1), ("mask", (2, 0))):
        damaged = {key: tensor.clone() for key, tensor in weights.items()}
        damaged[name][place] = float("nan")
        with pytest.raises(InputError, match=f"the weights in a.file are not finite: {name} holds ") as error:
            load_weights(module, damaged, "a.file")
        assert "\n" not in str(error.value)
        assert all(torch.equal(tensor, weights[key]) for key, tensor in module.state_dict().items()), "none was taken"


@pytest.mark.parametrize("name", ["weight", "bias", "concentration"])
def test_priors_that_are_not_finite_are_refused(tmp_path, name):
    path = tmp_path / "p.safetensors"
    ClassifierPrior.from_weight(torch.eye(3, 4), 20, torch.zeros(3)).save(path)
    tensors, metadata = read_tensors(path)
    tensors[name].view(-1)[1] = float("inf")
    write_tensors(path, tensors, metadata)
    with pytest.raises(InputError, match=f"p.safetensors are not finite: {name} holds 1 of"):
        ClassifierPrior.load(path)
