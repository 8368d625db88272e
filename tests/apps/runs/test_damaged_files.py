"""One flipped bit, or one number that is none, in a file that verbs read: one line that names it, and no numbers."""

import shutil
from pathlib import Path

import pytest
import torch
from flipping import flip
from safetensors.torch import load_file, save_file

from apps.pretrained import from_pretrained
from priors.errors import InputError
from priors.files import checksums
from priors.files.tensors import read_tensors, write_tensors

FIXTURES = Path(__file__).parent / "formats/0"
SMALL = ("--device", "cpu", "--threads", "1")
VERBS = {
    "evaluate a classifier": ("classifier", ("evaluate", "{run}", *SMALL)),
    "prior": ("classifier", ("prior", "{run}", "--concentration", "20")),
    "export": ("classifier", ("export", "{run}", "out")),
    "report": ("hvae-l", ("report", "{run}")),
    "sample": ("hvae-l", ("sample", "{run}", "--labels", "0", "--n", "1", "--out", "out.png")),
    "evaluate a generator": ("hvae", ("evaluate", "{run}", "--images", "10", *SMALL)),
    "train on a classifier": ("classifier", ("train", "hvae", "--classifier", "{run}", "--latent-dim", "5", *SMALL)),
    "distill": ("classifier", ("distill", "ce+hinton", "--data", "digits", "--teacher", "{run}", *SMALL)),
    "analyse": ("classifier", ("analyse", "normalised", "{run}", *SMALL)),
}


def spoil(path):
    """Put a NaN into the first weight, as a training that diverged does: what is written is whole."""
    tensors, metadata = read_tensors(path)
    name = next(name for name in sorted(tensors) if tensors[name].is_floating_point())
    tensors[name].view(-1)[-1] = float("nan")
    write_tensors(path, tensors, metadata)
    return name


def one_line(said):
    assert said.status == 2 and said.err.count("\n") == 1 and "Traceback" not in said.err, said
    return said.err


@pytest.mark.parametrize(("run", "words"), VERBS.values(), ids=VERBS)
def test_a_flipped_bit_in_a_runs_weights(penult, copied, run, words):
    path = copied(run) / "model.safetensors"
    flip(path)
    said = penult(*(word.format(run=path.parent) for word in words))
    assert f"{path} is damaged" in one_line(said)
    assert "out" not in {file.stem for file in Path().iterdir()}


@pytest.mark.parametrize("verb", ["evaluate a classifier", "evaluate a generator", "sample"])
def test_weights_that_are_not_finite(penult, copied, verb):
    run, words = VERBS[verb]
    path = copied(run) / "model.safetensors"
    name = spoil(path)
    said = penult(*(word.format(run=path.parent) for word in words))
    line = one_line(said)
    assert "are not finite" in line and name in line and str(path.parent) in line


def test_a_saved_prior(penult, trained):
    assert penult("prior", trained / "classifier", "--concentration", "20", "--out", "p.safetensors").status == 0
    words = ("train", "hvae", "--classifier", "p.safetensors", "--latent-dim", "5", *SMALL)
    whole = Path("p.safetensors").read_bytes()
    flip("p.safetensors")
    assert "p.safetensors is damaged (prior)" in one_line(penult(*words))
    Path("p.safetensors").write_bytes(whole)
    name = spoil("p.safetensors")
    assert f"p.safetensors are not finite: {name}" in one_line(penult(*words))


def test_an_export_has_a_checksum_also_where_its_run_has_none(penult, copied):
    run = copied("hvae-l")
    expected, metadata = read_tensors(run / "model.safetensors")
    save_file(load_file(run / "model.safetensors"), run / "model.safetensors", metadata)
    assert checksums.stored_checksum(run / "model.safetensors") is None
    assert penult("export", run, "out").status == 0
    found, kept = read_tensors("out/model.safetensors")
    assert kept == metadata and all(torch.equal(found[name], expected[name]) for name in expected)
    from_pretrained("out")
    flip("out/model.safetensors")
    with pytest.raises(InputError, match=r"out/model.safetensors is damaged"):
        from_pretrained("out")


def test_runs_of_before_are_read_and_that_is_said_once(penult, caplog, monkeypatch, tmp_path):
    """A classifier and its prior: two files, read by two verbs."""
    shutil.copytree(FIXTURES / "finished/classifier", tmp_path / "old")
    shutil.copy(FIXTURES / "images.npz", tmp_path / "images.npz")
    monkeypatch.setattr(checksums, "_unchecked", set())
    for words in (("prior", "old", "--concentration", "20"), ("export", "old", "new")):
        assert penult(*words).status == 0
    lines = [record.getMessage() for record in caplog.records if record.name == "priors"]
    assert len(lines) == 1 and "old/model.safetensors has no checksum" in lines[0]


def test_ones_own_weights_need_none_and_are_finite(penult, caplog, monkeypatch, tmp_path):
    Path("mine.py").write_text(
        "import torch\n\ndef net():\n    torch.manual_seed(0)\n"
        "    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 12), torch.nn.Linear(12, 10))\n"
        "\ndef broken():\n    made = net()\n    made[1].bias.data[3] = float('inf')\n    return made\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(checksums, "_unchecked", set())
    weights = {"1.weight": torch.ones(12, 64), "1.bias": torch.ones(12)}
    weights |= {"2.weight": torch.eye(10, 12), "2.bias": torch.ones(10)}
    save_file(weights, "w.safetensors")
    words = ("prior", "import:mine:net,weights=w.safetensors", "--concentration", "20")
    assert penult(*words).status == 0
    assert not [record for record in caplog.records if record.name == "priors"]
    weights["1.bias"][3] = float("-inf")
    save_file(weights, "w.safetensors")
    assert "the weights in w.safetensors are not finite: 1.bias holds 1 of 12" in one_line(penult(*words))
    said = penult("prior", "import:mine:broken", "--concentration", "20")
    assert "import:mine:broken are not finite: 1.bias" in one_line(said)
