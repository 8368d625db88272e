"""`penult train autoencoder` and what is done with its runs, from words to files."""

import json
import re
import shutil
from pathlib import Path

import pytest
import torch
from PIL import Image

from apps.autoencoders.auto_encoding import AutoEncoding
from apps.autoencoders.kinds import read
from apps.command.cli import main
from apps.command.config import Where
from apps.data import sources
from apps.discarding.decoders import decoded_run
from apps.models.named import layered, open_run
from apps.models.registry import kind_of
from apps.runs.run import Run
from apps.training.session import start
from priors import zoo
from priors.files.tensors import digest_of

CPU = ("--device", "cpu", "--threads", 1)
TRAIN = ("train", "autoencoder", "--data", "digits", "--arch", "convnet-half", "--decoder-width", 4, *CPU)
QUICK = ("--method", "linear", "--grid", 4, "--probes", 4, "--sid-check", 4, "--shown", 1, "--images", 3)


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """A folder with runs of an auto-encoder and of a classifier of one architecture. Not to be written into."""
    runs = tmp_path_factory.mktemp("auto") / "runs"
    place = ["--runs", str(runs), "--epochs", "0.5"]
    assert main([*map(str, TRAIN), *place, "--snapshots", "0", "3", "--name", "ae"]) == 0
    words = ["train", "classifier", "--arch", "convnet-half", "--snapshots", "0", *map(str, CPU), *place]
    assert main([*words, "--name", "net"]) == 0
    return runs


@pytest.fixture
def runs(made, tmp_path) -> Path:
    """Runs that may be written into."""
    return Path(shutil.copytree(made, tmp_path / "runs"))


def test_a_run_says_what_it_found_and_is_read_again(made):
    result, model = json.loads((made / "ae/result.json").read_text()), read(open_run(made / "ae"))
    x = sources.load("digits", "test").images / 255
    with torch.no_grad():
        error = (model(x) - x).square().flatten(1).mean(1).double()
    assert result["test/mean squared error"] == pytest.approx(error.mean().item(), rel=1e-5)
    assert result["test/PSNR"] == pytest.approx((10 * (1 / error).log10()).mean().item(), rel=1e-5)
    assert result["last"]["test mean squared error"] == pytest.approx(error.mean().item(), rel=1e-5)
    with Image.open(made / "ae/reconstructions.png") as drawn:
        assert drawn.size[0] > drawn.size[1] > 50, "ten images in a row, and what is made of them below"
    again = layered(str(made / "ae"))
    assert digest_of(again.state_dict()) == digest_of(model.state_dict()) and again.stages == model.stages
    early = read(open_run(made / "ae/snapshots/step-3"))
    assert digest_of(early.state_dict()) != digest_of(model.state_dict())


def test_the_encoder_starts_as_the_classifier_of_its_seed(made):
    """They differ by what they are trained for alone."""
    network, model = zoo.load(made / "net/snapshots/step-0"), read(Run(made / "ae/snapshots/step-0"))
    own, theirs = model.encoder.state_dict(), network.body.state_dict()
    assert own and all(torch.equal(own[name], theirs[name]) for name in own)
    assert torch.equal(model.mean, network.mean)


def test_a_stopped_training_goes_on_to_the_same_weights(penult, tmp_path, monkeypatch):
    words = (*TRAIN, "--epochs", 0.7, "--checkpoint-every", 5, "--validation", 100)
    assert penult(*words, "--name", "whole").status == 0
    usual, taken = AutoEncoding.losses, []

    def stopping(task, *given):
        taken.append(given)
        if len(taken) == 13:
            raise KeyboardInterrupt
        return usual(task, *given)

    monkeypatch.setattr(AutoEncoding, "losses", stopping)
    assert penult(*words, "--name", "halves").status == 130
    folder = tmp_path / "runs/halves"
    assert [state.name for state in Run(folder).states()][-1] == "step-10"
    assert penult(*words, "--name", "halves").status == 0 and len(taken) == 13 + 15 - 10
    assert (folder / "model.safetensors").read_bytes() == (tmp_path / "runs/whole/model.safetensors").read_bytes()
    result = json.loads((folder / "result.json").read_text())
    assert set(result["best"]) == {"mean squared error", "PSNR"} and "best step" in result
    assert "finished already" in penult(*words, "--name", "whole").out
    refused = penult(*words, "--name", "whole", "--code", "pooled")
    assert refused.status == 2 and "code" in refused.err and refused.err.count("\n") == 1


def test_evaluate_adds_scores_and_draws(penult, runs):
    said = penult("evaluate", runs / "ae", "--images", 20, *CPU)
    assert said.status == 0 and "20 test images" in said.out and "PSNR" in said.out, said.err
    (entry,) = json.loads((runs / "ae/evaluation.json").read_text())
    x, model = sources.load("digits", "test").images[:20] / 255, read(open_run(runs / "ae"))
    with torch.no_grad():
        error = (model(x) - x).square().flatten(1).mean(1)
    found = entry["scores"]["mean squared error"]
    assert found["value"] == pytest.approx(error.mean().item(), rel=1e-5)
    assert found["error"] == pytest.approx(error.std().item() / 20**0.5, rel=1e-5)
    listed = penult("ls", "runs").out
    assert re.search(r"ae +train autoencoder +digits +finished +test mean squared error 0\.\d+", listed)
    assert penult("report", runs / "ae").status == 0
    page = (runs / "ae/report.html").read_text()
    assert "auto-encoder of convnet-half on digits, code: maps" in page and "PSNR" in page and "dB" in page


def test_discard_takes_it_beside_a_classifier(penult, runs):
    decoder = ("--decoder-width", 2, "--decoder-images", 70, "--epochs", 0.1, "--ru-steps", 2, "--ru-measured", 4)
    words = ("analyse", "discard", runs / "ae", "--metrics", "sid,ru", "--taps", "code", *QUICK, *decoder, *CPU)
    said = penult(*words)
    assert said.status == 0, said.err
    scores = json.loads((runs / "ae-discarded/discard.json").read_text())[-1]["scores"]["ae"]
    assert list(scores) == ["code"] and {"SID", "RU"} <= set(scores["code"])
    held, model = decoded_run(Run(runs / "ae-discarded-code")), read(open_run(runs / "ae"))
    x = sources.load("digits", "test").images[:3] / 255
    with torch.no_grad():
        torch.testing.assert_close(held.representation(x), model.encode(x))
    both = penult("analyse", "discard", runs / "net", "--against", runs / "ae", *QUICK, *CPU)
    assert both.status == 0, both.err
    found = json.loads((runs / "net-discarded/discard.json").read_text())[-1]["scores"]
    assert list(found["ae"])[-1] == "code" and list(found["net"])[-1] == "logits"
    # An encoder's numbers are the same alone and beside another network, at the same layer.
    assert found["ae"]["code"]["SID"] == pytest.approx(scores["code"]["SID"], abs=1e-6)


def test_spectra_take_its_images(penult, runs):
    said = penult("analyse", "spectrum", runs / "net", "--against", runs / "ae", "--images", 30, *CPU)
    assert said.status == 0, said.err
    run, some = open_run(runs / "ae"), sources.load("digits", "test").subset(range(4))
    with torch.no_grad():
        expected = (read(run)(some.images / 255).clamp(0, 1) * 255).round()
    drawn = kind_of(run).drawn(run, some, start(Where(device="cpu")), 0)
    assert drawn.images.dtype == torch.uint8 and (drawn.images - expected).abs().max() <= 1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("prior", "{ae}"), "is an auto-encoder, not a classifier: give a run of penult train classifier"),
        (("analyse", "saliency", "{ae}", "--images", 2), "is an auto-encoder, not a classifier"),
        (("analyse", "layers", "{ae}"), "is an auto-encoder, not a classifier"),
        (("distill", "ce+hinton", "--teacher", "{ae}", "--student", "mlp"), "is an auto-encoder, not a classifier"),
        (("sample", "{ae}", "--n", 2, "--out", "a.png"), "is an auto-encoder, not a generator"),
        (("export", "{ae}", "out"), "is an auto-encoder, and no classifier or generator"),
        (("evaluate", "{ae}", "--data", "noise.npz"), "noise.npz"),
        (("analyse", "discard", "{ae}", "--taps", "logits", *QUICK), "unknown layer 'logits'"),
        (("analyse", "discard", "{ae}", "--mean", 0.5, *QUICK), "--mean with the run"),
        ((*TRAIN, "--arch", "mlp"), 'mlp makes no maps of images of (8, 8) pixels: give the code "pooled"'),
        ((*TRAIN, "--arch", "convnet-hlaf"), "did you mean 'convnet-half'"),
        ((*TRAIN, "--patience", 2), "--patience counts validations on held-out images"),
        ((*TRAIN, "--decoder-width", 0), "--decoder-width 0"),
    ],
)
def test_what_cannot_be_is_said_in_one_line(penult, made, words, said):
    refused = penult(*(str(word).format(ae=made / "ae") for word in words))
    assert refused.status == 2 and refused.err.count("\n") == 1 and said in refused.err, refused.err


def test_damage_is_said_in_one_line(penult, runs):
    path = runs / "ae/model.json"
    whole = json.loads(path.read_text())
    for key, value in {"width": 10**9, "code": 3, "encoder": None}.items():
        path.write_text(json.dumps(whole | {key: value}))
        said = penult("evaluate", runs / "ae", *CPU)
        assert said.status == 2 and said.err.count("\n") == 1 and "model.json" in said.err, (key, said.err)
