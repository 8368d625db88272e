"""A density of the user's own in PixelCNN++'s place, and code that runs only where the command line names it."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from apps.command.own_code import _named
from apps.data import sources
from apps.data.image_set import split_validation
from apps.inverting.inverted import inverted_run
from apps.inverting.own_density import OwnDensity
from priors.errors import InputError

MINE = """
import torch
from torch import nn

class Independent(nn.Module):
    '''Each pixel on its own, 256 ways, by a table for each of a few contexts' signs.'''

    def __init__(self, image_shape, context_shape):
        super().__init__()
        self.image_shape = image_shape
        self.table = nn.Parameter(torch.zeros(*image_shape, 256))
        self.given = nn.Linear(context_shape[0], 256, bias=False) if context_shape else None
        if self.given is not None:
            nn.init.zeros_(self.given.weight)

    def logits(self, context, n):
        found = self.table[None].expand(n, *self.table.shape)
        return found if context is None else found + self.given(context)[:, None, None, None]

    def log_prob(self, images, context):
        levels = (images * 255).round().long()
        found = self.logits(context, len(images)).log_softmax(-1)
        return found.gather(-1, levels[..., None]).flatten(1).sum(1)

    def sample(self, context):
        n = context if isinstance(context, int) else len(context)
        logits = self.logits(None if isinstance(context, int) else context, n)
        return torch.distributions.Categorical(logits=logits).sample() / 255

class Bytes(Independent):
    def sample(self, context):
        return 255 * super().sample(context)

class Silent(Independent):
    def sample(self, context):
        raise ValueError("not yet")

class Random(nn.Module):
    def __init__(self):
        super().__init__()
        self.head = nn.Linear(64, 10)

    def forward(self, images):
        return self.head(images.flatten(1))

class Viewing(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.convolution, self.head = nn.Conv2d(3, 4, 3), nn.Linear(4 * 6 * 6, 2)

    def forward(self, images):
        found = self.convolution(images)
        return self.head(found.view(len(found), -1))

class Wrong(Independent):
    def log_prob(self, images, context):
        return super().log_prob(images, context).mean()

def nothing(image_shape, context_shape):
    return nn.Linear(2, 2)

class Network(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.body, self.head = nn.Sequential(nn.Flatten(), nn.Linear(64, 12), nn.ReLU()), nn.Linear(12, 10)

    def forward(self, images):
        return self.head(self.body(images))
"""
COMMON = ["--decoder-epochs", 0, "--test-images", 40, "--device", "cpu", "--threads", 1, "--shown", 2, "--n", 2]


@pytest.fixture(autouse=True)
def mine(monkeypatch, tmp_path, penult):
    Path("mine.py").write_text(MINE)
    monkeypatch.syspath_prepend(str(Path.cwd()))
    monkeypatch.delitem(__import__("sys").modules, "mine", raising=False)
    yield
    _named.clear()


def test_it_is_trained_scored_drawn_and_resumed(penult, trained):
    """Without context, and with steps enough, its NCE is that of the training images' own frequencies."""
    words = [
        "analyse",
        "invert",
        trained / "classifier",
        "--taps",
        "none,logits",
        "--density",
        "import:mine:Independent",
    ]
    words += ["--epochs", 12, "--lr", 0.3, "--batch-size", 64, "--name", "own", "--distances", 2, *COMMON]
    said = penult(*words)
    assert said.status == 0, said.err
    none, logits = json.loads(Path("runs/own/inversion.json").read_text())["layers"]
    images = split_validation(sources.load("digits", "train"), 1437 // 12)[0].images.long().flatten(1)
    test = sources.load("digits", "test").images[:40].long().flatten(1)
    counts = torch.zeros(64, 256, dtype=torch.float64)
    for pixel in range(64):
        counts[pixel] = torch.bincount(images[:, pixel], minlength=256).double() + 0.05  # a softmax gives nothing 0
    expected = float((counts / counts.sum(1, keepdim=True)).log()[torch.arange(64), test].sum(1).mean())
    assert none["NCE"] == pytest.approx(expected, abs=4) and -64 * math.log(256) < none["NCE"] - 100
    assert logits["NCE"] != none["NCE"]
    with Image.open("runs/own/sheet.png") as drawn:
        assert np.array(drawn).std() > 10
    stored = json.loads(Path("runs/own-logits/config.json").read_text())["config"]
    assert stored["density"] == "import:mine:Independent" and "filters" not in stored
    again = penult(*words)
    assert again.status == 0 and again.out.count("is finished already") == 2
    other = penult("analyse", "invert", trained / "classifier", "--taps", "logits", "--name", "own", *COMMON)
    assert other.status == 2 and "another configuration" in other.err and other.err.count("\n") == 1


def test_draws_hang_on_the_seed_and_their_image_alone(penult, trained):
    words = ["analyse", "invert", trained / "classifier", "--taps", "logits", "--density", "import:mine:Independent"]
    assert penult(*words, "--epochs", 1, "--name", "own", *COMMON).status == 0
    inverted, images = inverted_run("runs/own-logits"), torch.rand(3, 1, 8, 8)
    draws = inverted.draw(images, 4, 0)
    assert draws.shape == (3, 4, 1, 8, 8) and torch.equal((draws * 255).round() / 255, draws)
    assert torch.equal(inverted.draw(images[:2], 4, 0), draws[:2])
    assert not torch.equal(inverted.draw(images, 4, 1), draws)


def test_nothing_is_run_because_a_file_says_so(penult, trained):
    words = ["analyse", "invert", "import:mine:Network", "--data", "digits", "--taps", "head"]
    said = penult(*words, "--layers", 1, "--filters", 3, "--epochs", 0.1, "--name", "network", *COMMON)
    assert said.status == 0, said.err
    words = ["analyse", "invert", trained / "classifier", "--taps", "logits", "--density", "import:mine:Independent"]
    assert penult(*words, "--epochs", 0.1, "--name", "own", *COMMON).status == 0
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (8, 8), np.uint8)).save("photo.png")
    for run, code in (("network-head", "import:mine:Network"), ("own-logits", "import:mine:Independent")):
        _named.clear()
        draw = ["sample", f"runs/{run}", "--image", "photo.png", "--device", "cpu", "--n", 2, "--out", f"{run}.png"]
        Path("mine.py").write_text("raise SystemExit('it ran')")
        refused = penult(*draw)
        assert refused.status == 2 and f"by --allow {code}, to run it" in refused.err and refused.err.count("\n") == 1
        Path("mine.py").write_text(MINE)
        said = penult(*draw, "--allow", code)
        assert said.status == 0, said.err


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--density", "import:mine:Nobody"], "unknown factory of mine 'Nobody'"),
        (["--density", "import:mine:nothing"], "a Linear has no log_prob"),
        (["--density", "import:mine:Network"], "Network((1, 8, 8), (10,)) raised TypeError"),
        (["--density", "import:mine:Wrong"], "log_prob gave () for 2 images: one number an image was expected"),
        (["--density", "import:mine:Bytes"], "sample gave values that are not k / 255"),
        (["--density", "import:mine:Silent"], "sample raised ValueError: not yet"),
        (["--density", "import:mine:Independent", "--filters", 3], "--filters with --density import:mine:Independent"),
        (["--density", "pixelcn"], "unknown density 'pixelcn': did you mean 'pixelcnn'"),
    ],
)
def test_what_is_no_density_is_refused(penult, trained, flags, said):
    found = penult("analyse", "invert", trained / "classifier", "--taps", "logits", "--device", "cpu", *flags)
    assert found.status == 2 and said in found.err and found.err.count("\n") == 1
    assert not Path("runs").exists() or not list(Path("runs").glob("*/metrics.jsonl"))


def test_a_network_with_other_weights_each_time_is_refused(penult):
    found = penult("analyse", "invert", "import:mine:Random", "--data", "digits", "--taps", "logits", *COMMON)
    assert found.status == 2 and "has other weights each time it is made: give it weights by" in found.err


@pytest.mark.slow
def test_a_network_that_needs_the_usual_layout_gets_it(penult):
    """`view` after a convolution does not take images that are laid out with their channels last."""
    rng = np.random.default_rng(0)
    sets = {
        f"{part}_{split}": rng.integers(0, most, shape, np.uint8)
        for split, count in (("train", 60), ("test", 40))
        for part, most, shape in (("x", 256, (count, 8, 8, 3)), ("y", 2, (count,)))
    }
    np.savez("colour.npz", **sets)
    words = ["analyse", "invert", "import:mine:Viewing", "--data", "colour.npz", "--taps", "convolution,logits"]
    said = penult(*words, "--layers", 1, "--filters", 3, "--epochs", 1, "--name", "viewing", *COMMON)
    assert said.status == 0, said.err
    words = ["--epochs", 1, "--decoder-epochs", 1, "--against", "runs/viewing-logits"]
    words += ["--density", "import:mine:Independent"]
    words = ["analyse", "invert", "import:mine:Viewing", "--data", "colour.npz", "--taps", "logits", *COMMON, *words]
    said = penult(*words, "--name", "other", "--shown", 0)
    assert said.status == 0, said.err
    _named.clear()
    own = penult(*words[:-4], "--against", "runs/other-logits", "--name", "third", "--shown", 0)
    assert own.status == 2 and "by --allow import:mine:Independent" in own.err
    own = penult(*words, "--against", "runs/other-logits", "--name", "third", "--shown", 0)
    assert own.status == 0 and "+0.00 +- 0.00" in own.out, own.err


def test_a_sample_of_another_shape_is_refused():
    class Mute(torch.nn.Module):
        def log_prob(self, images, context):
            return images.flatten(1).sum(1)

        def sample(self, context):
            return torch.zeros(len(context), 3)

    density = OwnDensity(Mute(), (1, 2, 2), (5,))
    with pytest.raises(InputError, match=r"sample gave \(4, 3\) for 4 contexts: \(4, 1, 2, 2\) was expected"):
        density.sample(torch.zeros(4, 5))
