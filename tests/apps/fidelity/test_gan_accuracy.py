"""GAN-train and GAN-test: against the same done by hand through other verbs, and generators that err a known number of
times."""

import json

import numpy as np
import pytest
import torch
from torch import nn

from apps.data import sources
from apps.data.image_set import ImageSet
from apps.data.sweep import sweep
from apps.fidelity.drawn_set import drawn_set
from apps.fidelity.gan_accuracy import counts_of, gan_test
from apps.models.generator import Generator
from apps.report.contents import contents
from apps.report.scores import headline, protocol
from priors import zoo
from priors.errors import InputError
from priors.files.json_files import write_json
from priors.files.tensors import read_tensors

SEED = 3


def entries(run) -> list[dict]:
    return json.loads((run / "evaluation.json").read_text())


@pytest.fixture
def by_hand(penult, copied, tmp_path):
    """A generator's run, and what `penult sample` draws from it: as many of each digit as there are real ones."""
    run = copied("hvae-l")
    assert penult("sample", run, "--n", 160, "--seed", SEED, "--out", "drawn.npz").status == 0
    with np.load(tmp_path / "drawn.npz") as drawn:
        pixels, labels = drawn["x"], drawn["y"]

    def of(split) -> tuple[np.ndarray, np.ndarray]:
        real = sources.load("digits", split).labels.numpy()
        taken = np.concatenate([np.flatnonzero(labels == label)[: (real == label).sum()] for label in range(10)])
        assert len(taken) == len(real)
        return pixels[taken], labels[taken]

    return run, of


def test_gan_test_is_the_accuracy_on_what_is_sampled(penult, trained, by_hand):
    run, of = by_hand
    pixels, labels = of("test")
    network = zoo.load(trained / "classifier").eval()
    with torch.inference_mode():
        right = network(torch.from_numpy(pixels)[:, None] / 255).argmax(1).numpy() == labels
    words = ["evaluate", run, "--classify-by", trained / "classifier", "--threads", 1]
    said = penult(*words, "--seed", SEED)
    assert (said.status, said.err) == (0, ""), said.err
    (entry,) = entries(run)
    assert entry["scores"]["GAN-test accuracy"] == pytest.approx(right.mean())
    for label in range(10):
        assert entry["scores"]["GAN-test accuracy by class"][str(label)] == pytest.approx(right[labels == label].mean())
    result = json.loads((trained / "classifier/result.json").read_text())
    assert entry["scores"]["accuracy of the classifier"] == pytest.approx(result["test/accuracy"])
    assert (entry["data"], entry["drawn"], entry["reals"], entry["seed"]) == ("digits", 360, 360, SEED)
    assert f"all {result['test/accuracy']:.2%} {right.mean():.2%}" in " ".join(said.out.split())
    page = contents(run, n=0)
    assert protocol(page, headline(page)).startswith("360 generated images, 360 test images of digits, classifier ")
    # Again: in the same place. By another seed, on other images: beside it. Of likelihoods nothing is touched.
    assert penult(*words, "--seed", SEED).status == 0
    assert entries(run) == [entry]
    assert penult("evaluate", run, "--samples", 2, "--images", 10, "--device", "cpu").status == 0
    assert penult(*words).status == 0 and penult(*words, "--images", 50).status == 0
    kept, likelihood, other, fewer = entries(run)
    assert kept == entry and "ELBO" in likelihood["scores"]
    assert (other["seed"], fewer["first"], fewer["drawn"], fewer["reals"]) == (0, 50, 50, 50)
    assert not list(run.glob("*.parts")) and not (run / "gan-train").exists()


def test_gan_train_trains_as_the_verb_does_on_what_is_sampled(penult, by_hand, tmp_path):
    run, of = by_hand
    real = sources.load("digits", "test")
    (x_train, y_train), (x_test, y_test) = of("train"), (real.images[:, 0].numpy(), real.labels.numpy())
    np.savez(tmp_path / "mixed.npz", x_train=x_train, y_train=y_train, x_test=x_test, y_test=y_test)
    flags = ["--penultimate", 5, "--epochs", 2, "--validation", 100, "--lr", 3e-3, "--augment", "flip", "--threads", 1]
    shared = ["train", "classifier", "--device", "cpu", *flags, "--label-smoothing", 0.1, "--no-head-bias"]
    assert penult(*shared, "--data", "digits", "--name", "real").status == 0
    assert penult(*shared, "--data", "mixed.npz", "--name", "generated").status == 0
    words = ["evaluate", run, "--classify-by", "runs/real", "--gan-train", "--seed", SEED, "--device", "cpu"]
    said = penult(*words, "--threads", 1)
    assert (said.status, said.err) == (0, ""), said.err
    (folder,) = (run / "gan-train").iterdir()
    ours, theirs = (read_tensors(place / "model.safetensors")[0] for place in (folder, tmp_path / "runs/generated"))
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    result = json.loads((tmp_path / "runs/generated/result.json").read_text())
    tested, entry = entries(run)
    assert "GAN-train accuracy" not in tested["scores"] and "GAN-test accuracy" not in entry["scores"]
    assert entry["scores"]["GAN-train accuracy"] == pytest.approx(result["test/accuracy"])
    assert (entry["drawn"], entry["reals"]) == (1437, 360) and run / entry["trained_in"] == folder
    assert f"{tested['scores']['GAN-test accuracy']:.2%}" in said.out
    # Again: nothing is trained, nothing changes.
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file() and path.name != ".lock"}
    assert penult(*words, "--threads", 1).status == 0
    assert entries(run) == [tested, entry]
    assert all(path.stat().st_mtime_ns == time for path, time in before.items())
    # What was trained on generated images is no measure of them.
    for more in ([], ["--gan-train"]):
        said = penult("evaluate", run, "--classify-by", folder, *more)
        assert said.status == 2 and "was trained on generated images" in said.err and said.err.count("\n") == 1


class Erring(Generator):
    """Images as bright as their class says, but every fourth of a block as bright as the next class."""

    variant, title = "erring", "Erring"

    def __init__(self, value=0.0):
        super().__init__()
        self.image_shape, self.class_names = (1, 2, 2), tuple("abcd")
        self.value, self.calls = nn.Parameter(torch.tensor(value)), 0

    def description(self):
        return {"model": "erring"}

    def generate(self, labels, generator=None, concentration=None):
        self.calls += 1
        wrong = torch.arange(len(labels)) % 4 == 0
        shade = torch.where(wrong, (labels + 1) % 4, labels) / 3 + self.value
        return shade[:, None, None, None].expand(-1, *self.image_shape)


class Shade(nn.Module):
    """Logits of the nearest of four shades."""

    def __init__(self):
        super().__init__()
        self.head = nn.Linear(1, 4)
        shades = torch.arange(4) / 3
        with torch.no_grad():  # -(x - s)^2 without x^2
            self.head.weight.copy_(2 * shades[:, None])
            self.head.bias.copy_(-shades.square())

    def forward(self, images):
        return self.head(images.flatten(1)[:, :1])


def test_a_known_number_of_errors_is_found(tmp_path):
    counts = (64, 10, 0, 100)
    labels = torch.arange(4).repeat_interleave(torch.tensor(counts))
    test = ImageSet("shades", "test", torch.zeros(174, 1, 2, 2, dtype=torch.uint8), labels, tuple("abcd"))
    assert counts_of(test) == counts
    model, network = Erring().eval(), zoo.wrap(Shade(), class_names=tuple("abcd")).eval()
    found = gan_test(model, network, test, sweep, 0, name="erring", store=tmp_path / "parts")
    assert found.by_class == {"a": 48 / 64, "b": 7 / 10, "d": 75 / 100}
    assert (found.value, found.images) == ((48 + 7 + 75) / 174, 174)
    # What is kept is not drawn again.
    assert model.calls == 4
    assert gan_test(model, network, test, sweep, 0, name="erring", store=tmp_path / "parts") == found
    assert model.calls == 4
    gan_test(model, network, test, sweep, 1, name="erring", store=tmp_path / "parts")
    assert model.calls == 8
    with pytest.raises(InputError, match="10 of the 10 images that erring draws are not finite"):
        drawn_set(Erring(float("nan")).eval(), (10,), sweep, name="erring")


BY = "--classify-by {classifier}"
REFUSED = {
    "unconditional": ("{hvae} " + BY, "unconditional HVAE"),
    "no such generator": ("{hvae-c}x " + BY, "unknown run"),
    "unfinished generator": ("unfinished " + BY, "unfinished is not finished"),
    "a classifier as generator": ("{classifier} " + BY, "is a classifier, not a generator"),
    "no such classifier": ("{hvae-c} --classify-by {classifier}s", "--classify-by: unknown run"),
    "unfinished classifier": ("{hvae-c} --classify-by unfinished", "--classify-by: unfinished is not finished"),
    "a generator as classifier": ("{hvae-c} --classify-by {hvae}", "is a generator, not a classifier"),
    "fewer classes": ("{hvae-c} --classify-by few", "few has 4 classes and digits 10"),
    "other classes": ("{hvae-c} --classify-by letters", "class 0 is 'a' there and '0' here"),
    "another shape": ("{hvae-c} --classify-by large", "are 1x8x8 (channels x height x width), those of large 1x9x9"),
    "another verb's": ("{hvae-c} --classify-by distilled --gan-train", "was made by penult distill"),
    "a damaged configuration": ("{hvae-c} --classify-by damaged --gan-train", "no configuration of a classifier"),
    "a foreign classifier": ("{hvae-c} --classify-by import:stranger:own --gan-train", "import:stranger:own is none"),
    "data of another shape": ("{hvae-c} --data large.npz " + BY, "the images of large are 1x9x9"),
    "no classifier": ("{hvae-c} --gan-train", "name that by --classify-by RUN"),
    "a protocol": ("{hvae-c} --protocol fid-all " + BY, "leave one out"),
    "an extractor": ("{hvae-c} --extractor {classifier} " + BY, "give --protocol"),
    "no images": ("{hvae-c} --images 0 " + BY, "expected 1 or more"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_bad_input_ends_in_one_line(penult, trained, tmp_path, name):
    def classifier(folder, classes=10, side=8, verb="train classifier", **config):
        zoo.save(zoo.build("mlp", image_shape=(1, side, side), classes=classes, hidden=(4,)), tmp_path / folder)
        write_json(tmp_path / folder / "config.json", {"verb": verb, "config": {"data": "digits", **config}})
        write_json(tmp_path / folder / "result.json", {})

    classifier("few", 4)
    classifier("letters", tuple("abcdefghij"))
    classifier("large", side=9)
    classifier("distilled", verb="distill")
    classifier("damaged", epochs="ten")
    classifier("unfinished")
    (tmp_path / "unfinished/result.json").unlink()
    (tmp_path / "stranger.py").write_text(
        "from torch import nn\ndef own():\n    return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))\n"
    )
    x, y = np.zeros((20, 9, 9), np.uint8), np.arange(20) % 10
    np.savez(tmp_path / "large.npz", x_train=x, y_train=y, x_test=x, y_test=y)
    words, message = REFUSED[name]
    places = {run: trained / run for run in ("classifier", "hvae", "hvae-c")}
    before = sorted(trained.rglob("*"))
    said = penult("evaluate", *words.format_map(places).split())
    assert (said.status, said.out) == (2, ""), (said.out, said.err)
    assert said.err.startswith("penult: ") and said.err.count("\n") == 1 and len(said.err) < 1000
    assert message in said.err
    assert sorted(trained.rglob("*")) == before
