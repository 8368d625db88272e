"""One pass over a set: order, resumption, and two processes that give what one gives."""

import os

import pytest
import torch
from flipping import flip

from apps.data import first_process
from apps.data import sweep as module
from apps.data.image_set import ImageSet
from apps.data.sweep import fewer_if_large, sweep
from apps.seeds import generator
from priors.errors import InputError
from priors.files.tensors import read_tensors


def images(count=23):
    pixels = torch.randint(0, 256, (count, 1, 4, 4), generator=torch.manual_seed(0), dtype=torch.uint8)
    return ImageSet("noise", "test", pixels, torch.arange(count) % 3, tuple("abc"))


def measure(batch):
    """A float, a bool, a matrix, and noise that the batch's number names."""
    noise = torch.rand(len(batch), generator=generator("cpu", 0, "noise", batch.number))
    return {
        "mean": batch.images.double().mean((1, 2, 3)),
        "dark": batch.images[:, 0, 0, 0] < 0.5,
        "index": batch.index,
        "pixels": batch.images.flatten(1),
        "noise": noise,
    }


class Counting:
    def __init__(self, stop_after=10**9):
        self.batches, self.stop_after = [], stop_after

    def __call__(self, batch):
        if len(self.batches) == self.stop_after:
            raise KeyboardInterrupt
        self.batches.append(batch.number)
        return measure(batch)


@pytest.mark.parametrize("batch_size", [1, 5, 23, 100])
def test_rows_come_in_the_order_of_the_set(batch_size):
    found = images()
    result = sweep(found, measure, batch_size=batch_size)
    assert result["index"].tolist() == list(range(23))
    expected = found.images.flatten(1).float() / 255
    assert torch.equal(result["pixels"], expected) and torch.equal(result["dark"], expected[:, 0] < 0.5)
    assert torch.equal(result["mean"], expected.double().mean(1)) and result["mean"].dtype == torch.float64


@pytest.fixture
def mapped(monkeypatch):
    """Rows go into files, however few they are, and two batches at a time."""
    monkeypatch.setattr(first_process, "_MAPPED_FROM", 0)
    monkeypatch.setattr(module, "_FLUSHED_EVERY", 2)


@pytest.mark.usefixtures("mapped")
@pytest.mark.parametrize("batch_size", [1, 5, 23, 100])
def test_rows_in_files_are_those_in_memory(batch_size, tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(first_process.tempfile, "tempdir", None)
    plain, found = (sweep(images(), measure, batch_size=batch_size, first=first) for first in (False, True))
    assert plain.keys() == found.keys()
    for name, values in plain.items():
        assert torch.equal(found[name], values) and found[name].dtype == values.dtype
    assert not list(tmp_path.iterdir())  # nothing is left behind, not even by a kill


def test_rows_are_in_memory_where_no_disk_has_room(monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(first_process, "_MAPPED_FROM", 0)
    monkeypatch.setattr(first_process.os, "posix_fallocate", full)
    assert first_process.on_disk((3, 2), torch.bfloat16).shape == (3, 2)


def test_inference_mode_is_inside_only():
    seen = []

    def function(batch):
        seen.append((torch.is_inference_mode_enabled(), torch.is_grad_enabled()))
        weight = torch.ones(16, requires_grad=True)
        return {"sum": batch.images.flatten(1) @ weight}

    result = sweep(images(), function, batch_size=10)
    assert seen == [(True, False)] * 3 and torch.is_grad_enabled() and not torch.is_inference_mode_enabled()
    # The result is an ordinary tensor, good for training on.
    weight = torch.ones(23, requires_grad=True)
    (result["sum"] * weight).sum().backward()
    assert torch.equal(weight.grad, result["sum"])


def test_gradients_with_regard_to_the_images():
    def saliency(batch):
        pixels = batch.images.requires_grad_()
        (slope,) = torch.autograd.grad(pixels.square().sum(), pixels)
        return {"slope": slope}

    found = images()
    result = sweep(found, saliency, batch_size=10, gradients=True)
    assert torch.allclose(result["slope"], 2 * found.images.float() / 255) and not result["slope"].requires_grad


def test_an_interrupted_sweep_goes_on(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_SECONDS_A_PART", 0)
    straight = sweep(images(), measure, batch_size=5)
    with pytest.raises(KeyboardInterrupt):
        sweep(images(), Counting(stop_after=3), batch_size=5, store=tmp_path / "parts", key={"step": 1})
    rest = Counting()
    result = sweep(images(), rest, batch_size=5, store=tmp_path / "parts", key={"step": 1})
    assert rest.batches == [3, 4]
    assert result.keys() == straight.keys() and all(torch.equal(result[name], straight[name]) for name in straight)
    # Complete: a further one only reads.
    rest = Counting()
    again = sweep(images(), rest, batch_size=5, store=tmp_path / "parts", key={"step": 1})
    assert rest.batches == [] and all(torch.equal(again[name], straight[name]) for name in straight)


@pytest.mark.parametrize("change", ["key", "batch_size", "images"])
def test_parts_of_another_sweep_are_not_used(tmp_path, change):
    options = {"batch_size": 5, "key": {"weights": "a"}}
    sweep(images(), measure, store=tmp_path, **options)
    old = set(tmp_path.iterdir())
    found = images(22) if change == "images" else images()
    options |= {"key": {"key": {"weights": "b"}}, "batch_size": {"batch_size": 6}, "images": {}}[change]
    counting = Counting()
    sweep(found, counting, store=tmp_path, **options)
    assert len(counting.batches) == -(-len(found) // options["batch_size"])
    assert not old & set(tmp_path.iterdir())


@pytest.mark.parametrize("damage", [lambda path: path.write_bytes(path.read_bytes()[:-7]), flip], ids=["cut", "bit"])
def test_damaged_parts_are_computed_again(tmp_path, damage):
    straight = sweep(images(), measure, batch_size=5, store=tmp_path, key={})
    (part,) = tmp_path.iterdir()
    assert read_tensors(part)[0]["4/index"].tolist() == [20, 21, 22]
    damage(part)
    counting = Counting()
    result = sweep(images(), counting, batch_size=5, store=tmp_path, key={})
    assert counting.batches == [0, 1, 2, 3, 4] and torch.equal(result["mean"], straight["mean"])


def test_what_cannot_be_swept(tmp_path):
    with pytest.raises(InputError, match="holds no images"):
        sweep(images().subset([]), measure)
    with pytest.raises(InputError, match="batch size 0"):
        sweep(images(), measure, batch_size=0)
    with pytest.raises(InputError, match="without a key"):
        sweep(images(), measure, store=tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="is a file"):
        sweep(images(), measure, store=tmp_path / "file", key={})
    with pytest.raises(ValueError, match="'mean' has shape .* for a batch of 5 images: expected one row an image"):
        sweep(images(), lambda batch: {"mean": batch.images.mean()}, batch_size=5)
    with pytest.raises(ValueError, match="batch 1 gave .* expected the same names"):
        sweep(images(), lambda batch: {str(batch.number): batch.labels}, batch_size=5)


@pytest.mark.parametrize(("side", "count"), [(8, 500), (64, 500), (224, 40), (4096, 1)])
def test_batches_of_large_images_hold_fewer(side, count):
    shown = torch.zeros(1, 1, 1, 1, dtype=torch.uint8).expand(2, 3, side, side)
    assert fewer_if_large(ImageSet("large", "test", shown, torch.arange(2), ("a", "b"), "made")) == count


def test_no_bar_where_there_is_no_terminal(capsys):
    sweep(images(), measure, description="measuring")
    assert capsys.readouterr() == ("", "")


@pytest.mark.usefixtures("mapped")
def test_an_interrupted_sweep_of_the_first_process_goes_on(tmp_path):
    options = {"batch_size": 2, "store": tmp_path, "key": {"a": 1}, "first": True}
    with pytest.raises(KeyboardInterrupt):
        sweep(images(), Counting(stop_after=5), **options)
    rest = Counting()
    found, expected = sweep(images(), rest, **options), sweep(images(), measure, batch_size=2)
    assert all(torch.equal(found[name], values) for name, values in expected.items())
    assert rest.batches == list(range(4, 12)), "two turns of two batches were stored"
    again = Counting()
    found = sweep(images(), again, **options)
    assert all(torch.equal(found[name], values) for name, values in expected.items()) and not again.batches


PROGRAM = """
import sys, warnings
from pathlib import Path
warnings.simplefilter("error")
import torch
torch.set_num_threads(1)
sys.path.insert(0, sys.argv[1])
from accelerate import Accelerator
from flipping import flip

from apps.data import sweep as module
from apps.data.sweep import sweep
from test_sweep import Counting, images, measure

accelerator = Accelerator(cpu=True)
assert accelerator.num_processes == 2
for count, batch_size in ((23, 5), (23, 2), (24, 6), (23, 100)):
    one = sweep(images(count), measure, batch_size=batch_size)
    two = sweep(images(count), measure, batch_size=batch_size, accelerator=accelerator)
    assert one.keys() == two.keys()
    for name in one:
        assert torch.equal(one[name], two[name]) and one[name].dtype == two[name].dtype, name
    for module._FLUSHED_EVERY in (1, 2, 64):
        first = sweep(images(count), measure, batch_size=batch_size, accelerator=accelerator, first=True)
        assert first.keys() == (one.keys() if accelerator.process_index == 0 else set())
        assert all(torch.equal(one[name], values) for name, values in first.items())

module._SECONDS_A_PART = 0
options = dict(batch_size=5, store=Path(sys.argv[2]), key={"a": 1})
half = Counting(stop_after=1)
try:
    sweep(images(), half, accelerator=accelerator, **options)
except KeyboardInterrupt:
    pass
accelerator.wait_for_everyone()
rest = Counting()
two = sweep(images(), rest, accelerator=accelerator, **options)
one = sweep(images(), measure, batch_size=5)
assert all(torch.equal(one[name], two[name]) for name in one)
assert len(half.batches) == 1 and rest.batches == [[2, 4], [3]][accelerator.process_index]
first = sweep(images(), rest, accelerator=accelerator, first=True, **options)
assert len(rest.batches) == [2, 1][accelerator.process_index], "it is complete"
assert first.keys() == (one.keys() if accelerator.process_index == 0 else set())
assert all(torch.equal(one[name], values) for name, values in first.items())
other = Path(sys.argv[2]) if accelerator.process_index else Path(sys.argv[2] + "-elsewhere")
try:
    sweep(images(), measure, accelerator=accelerator, batch_size=5, store=other, key={"a": 1})
except module.InputError as error:
    assert "different contents" in str(error)
else:
    raise AssertionError("different folders were not noticed")
accelerator.wait_for_everyone()
accelerator.end_training()
if accelerator.process_index == 0:
    print("two processes agree with one")
"""


def test_two_processes_give_what_one_gives(machine, tmp_path):
    (tmp_path / "program.py").write_text(PROGRAM)
    words = [os.path.dirname(__file__), tmp_path / "parts"]
    run = machine(words, program=tmp_path / "program.py", processes=2)
    assert run["status"] == 0, run["errors"]
    assert "two processes agree with one" in run["output"]
