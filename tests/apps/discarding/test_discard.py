"""`penult analyse discard`, from its words to its files."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import nn

from analysis import discarded_information, feature_spread
from apps.command.cli import main
from apps.command.config import Unsaid, Where
from apps.data import sources
from apps.data.image_set import ImageSet
from apps.discarding import measuring
from apps.discarding.decoders import decoded_run, trained_decoder
from apps.discarding.figures import draw_maps
from apps.discarding.layer import LayerFeatures
from apps.discarding.measuring import Entropies, Measured, Spread
from apps.discarding.networks import Looked
from apps.discarding.settings import DiscardSettings, Noise
from apps.discarding.shown import Shown
from apps.models.representation import representation
from apps.runs.run import Run
from apps.seeds import derive
from apps.training.session import start
from priors import zoo

CPU = ("--device", "cpu", "--threads", 1)
QUICK = ("--method", "linear", "--grid", 4, "--probes", 4, "--shown", 2)
DECODER = ("--decoder-width", 2, "--decoder-images", 70, "--epochs", 1, "--ru-steps", 2, "--ru-measured", 4)


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    """A convolutional network of digits. Not to be written into."""
    runs = tmp_path_factory.mktemp("discard")
    words = ["--data", "digits", "--arch", "convnet", "--epochs", "0.5", "--name", "net", "--device", "cpu"]
    assert main(["train", "classifier", *words, "--threads", "1", "--runs", str(runs)]) == 0
    return runs / "net"


def pictures(folder: Path, count: int = 3, side: int = 12) -> Path:
    """Grey ones, with a mask each of the upper left quarter and boxes of the same."""
    for name in ("pictures", "masks"):
        (folder / name).mkdir()
    drawn = np.random.default_rng(0)
    for number in range(count):
        levels = drawn.integers(0, 256, (side, side), np.uint8)
        Image.fromarray(levels).save(folder / "pictures" / f"{number}.png")
        mask = np.zeros((side, side), np.uint8)
        mask[: side // 2, : side // 2] = 255
        Image.fromarray(mask).save(folder / "masks" / f"{number}.png")
    boxes = {f"{number}.png": [0, 0, side // 2, side // 2] for number in range(count)}
    (folder / "boxes.json").write_text(json.dumps(boxes))
    return folder / "pictures"


def read(folder: Path, entry: int = -1) -> tuple[dict, dict[str, torch.Tensor]]:
    return json.loads((folder / "discard.json").read_text())[entry], load_file(folder / "discard-maps.safetensors")


@pytest.mark.parametrize("method", ["linear", "solve"])
def test_numbers_are_those_of_the_library(penult, run, tmp_path, method):
    words = ("--taps", "norm1,logits", "--images", 5, "--alpha", 1e-3, *QUICK, "--runs", "runs", *CPU)
    words += ("--method", method, "--sid-check", 8)
    given = {"method": method, "check": 8, "alpha": 1e-3, "grid": 4, "probes": 4}
    if method == "solve":
        words += ("--sid-steps", 3, "--sid-samples", 2)
        given |= {"steps": 3, "samples": 2}
    said = penult("analyse", "discard", run, *words)
    assert said.status == 0, said.err
    folder = tmp_path / "runs" / "net-discarded"
    files = {path.name for path in folder.iterdir() if path.name != "parts"}
    assert files == {"discard.png", "discard-sid.png", "discard.json", "discard-maps.safetensors"}
    entry, maps = read(folder)
    network, x = zoo.load(run).eval(), sources.load("digits", "test").images[:5] / 255
    seed = derive(0, "discarding") % 2**31
    for layer in ("norm1", "logits"):
        own = LayerFeatures(representation(network, layer, (1, 8, 8)))
        spread = feature_spread(own, x, samples=4, seed=seed)
        found = discarded_information(own, x, delta=spread.mean, seed=seed, **given)
        torch.testing.assert_close(maps[f"net/{layer}/sid"].double(), found.entropy, atol=1e-5, rtol=1e-5)
        scores = entry["scores"]["net"][layer]
        assert scores["SID"] == pytest.approx(float(found.mean.mean()), abs=1e-5)
        assert scores["SID error"] == pytest.approx(float(found.mean.std() / math.sqrt(5)), abs=1e-5)
        assert scores["SID an image"] == pytest.approx(64 * scores["SID"])
        assert scores["delta"] == pytest.approx(spread.mean, rel=1e-5)
        assert f"{scores['SID']:.4f}" in said.out
    assert "squared pixel values in [0, 1]" in " ".join(said.out.split()) and entry["images"] == 5


def test_the_same_command_reads_what_is_there_and_another_alpha_is_another_entry(penult, run, tmp_path, monkeypatch):
    words = ("--taps", "logits", "--images", 3, *QUICK, "--shown", 0, "--out", "there", *CPU)
    assert penult("analyse", "discard", run, *words).status == 0
    first = read(tmp_path / "there")

    def never(*given, **options):
        raise AssertionError("measured again")

    with monkeypatch.context() as patched:
        patched.setattr(measuring, "discarded_information", never)
        patched.setattr(measuring, "feature_spread", never)
        said = penult("analyse", "discard", run, *words)
        assert said.status == 0, said.err
    again = read(tmp_path / "there")
    assert again[0] == first[0] and torch.equal(again[1]["net/logits/sid"], first[1]["net/logits/sid"])
    assert penult("analyse", "discard", run, *words, "--alpha", 1e-2).status == 0
    entries = json.loads((tmp_path / "there" / "discard.json").read_text())
    assert [entry["noise"]["alpha"] for entry in entries] == [1.5e-4, 1e-2]
    # The noise is ten times as wide in the square root, where nothing is at the cap.
    apart = entries[1]["scores"]["net"]["logits"]["SID"] - entries[0]["scores"]["net"]["logits"]["SID"]
    assert 0 < apart <= math.log(1e-2 / 1.5e-4) / 2 + 1e-6


@pytest.mark.parametrize("where", ["masks", "boxes"])
def test_concentration_of_pictures_with_objects(penult, run, tmp_path, where):
    folder = pictures(tmp_path)
    Image.fromarray(np.full((12, 12), 255, np.uint8)).save(tmp_path / "masks" / "1.png")
    boxes = json.loads((tmp_path / "boxes.json").read_text())
    (tmp_path / "boxes.json").write_text(json.dumps(boxes | {"1.png": [0, 0, 12, 12]}))
    given = ("--masks", "masks") if where == "masks" else ("--boxes", "boxes.json")
    said = penult(
        "analyse", "discard", run, "--images", folder, *given, "--taps", "norm2", *QUICK, "--out", "there", *CPU
    )
    assert said.status == 0, said.err
    assert "concentration is without 1 image, of which the object covers all or nothing: 1.png" in said.out
    entry, maps = read(tmp_path / "there")
    assert maps["masks"][0].tolist() == [[i < 4 and j < 4 for j in range(8)] for i in range(8)]
    expected = []
    for number in (0, 2):
        cells = maps["net/norm2/sid"][number, 0].double()
        whole = cells.repeat_interleave(2, 0).repeat_interleave(2, 1)
        inside = maps["masks"][number]
        expected.append(float(whole[~inside].mean() - whole[inside].mean()))
    scores = entry["scores"]["net"]["norm2"]
    assert scores["concentration"] == pytest.approx(sum(expected) / 2, abs=1e-5)
    assert scores["concentration images"] == 2 and (tmp_path / "there" / "discard-sid.png").is_file()


def test_a_decoder_is_trained_for_each_layer(penult, run, tmp_path):
    words = (
        "--metrics",
        "ru",
        "--taps",
        "norm2",
        "penultimate",
        "--images",
        3,
        *QUICK,
        *DECODER,
        "--runs",
        "runs",
        *CPU,
    )
    said = penult("analyse", "discard", run, *words)
    assert said.status == 0, said.err
    entry, maps = read(tmp_path / "runs" / "net-discarded")
    assert set(maps) == {"net/norm2/ru", "net/penultimate/ru"} and maps["net/norm2/ru"].shape == (3, 1, 8, 8)
    scores = entry["scores"]["net"]["norm2"]
    assert math.isfinite(scores["RU"]) and scores["RU failed"] == 0 and "SID" not in scores
    made = decoded_run(Run(tmp_path / "runs" / "net-discarded-norm2"))
    assert made.representation.layer == "norm2" and made.model.feature_shape == (32, 4, 4)
    # Of a finished run nothing is done again.
    before = trained_decoder(Run(tmp_path / "runs" / "net-discarded-norm2")).state_dict()
    said = penult("analyse", "discard", run, *words, "--variant", "authors")
    assert said.status == 0 and "is finished already" in said.out
    after = trained_decoder(Run(tmp_path / "runs" / "net-discarded-norm2")).state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    lower = read(tmp_path / "runs" / "net-discarded")[0]["scores"]["net"]["norm2"]["RU"]
    assert lower < scores["RU"]
    # A decoder of another width, or of another layer under that name, is refused before anything is done.
    said = penult("analyse", "discard", run, *words, "--decoder-width", 3)
    assert said.status == 2 and "decoder_width: 2 before, 3 now" in said.err
    (tmp_path / "runs" / "net-discarded-norm2").rename(tmp_path / "runs" / "net-discarded-norm1")
    said = penult("analyse", "discard", run, *words, "--taps", "norm1")
    assert said.status == 2 and "site: body.norm2 before, body.norm1 now" in said.err


def test_several_networks_are_measured_side_by_side(penult, run, tmp_path):
    other = tmp_path / "runs" / "mlp"
    words = ["--data", "digits", "--arch", "mlp", "--penultimate", 5, "--epochs", "0.1", "--name", "mlp"]
    assert penult("train", "classifier", *words, *CPU, "--runs", "runs").status == 0
    words = ("--images", 2, "--against", other, *QUICK, "--shown", 1, "--out", "there", *CPU)
    said = penult("analyse", "discard", run, *words)
    assert said.status == 0, said.err
    scores = read(tmp_path / "there")[0]["scores"]
    assert list(scores) == ["net", "mlp"] and list(scores["net"])[-1] == "logits" == list(scores["mlp"])[-1]
    said = penult("analyse", "discard", run, *words, "--taps", "norm1")
    assert said.status == 2 and "unknown layer 'norm1'" in said.err


def test_networks_in_folders_of_one_name_are_kept_apart(penult, run, tmp_path, monkeypatch):
    words = ["--data", "digits", "--arch", "mlp", "--penultimate", 5, "--epochs", "0.1", "--name", run.name]
    assert penult("train", "classifier", *words, *CPU, "--runs", "others").status == 0
    words = ("--taps", "logits", "--images", 2, "--against", f"others/{run.name}", *QUICK, "--out", "there", *CPU)
    assert penult("analyse", "discard", run, *words).status == 0
    names = [f"{run.parent.name}/net", "others/net"]
    assert list(read(tmp_path / "there")[0]["scores"]) == names

    def never(*given, **options):
        raise AssertionError("measured again")

    monkeypatch.setattr(measuring, "discarded_information", never)
    monkeypatch.setattr(measuring, "feature_spread", never)
    said = penult("analyse", "discard", run, *words)  # what one has kept, the other has not taken away
    assert said.status == 0, said.err


def test_what_does_not_go_together_is_refused(penult, run, tmp_path):
    folder = pictures(tmp_path)
    (tmp_path / "black").mkdir()
    (tmp_path / "large").mkdir()
    for number in range(3):
        Image.fromarray(np.zeros((12, 12), np.uint8)).save(tmp_path / "black" / f"{number}.png")
        Image.fromarray(np.full((13, 12), 255, np.uint8)).save(tmp_path / "large" / f"{number}.png")
    (tmp_path / "outside.json").write_text(json.dumps({f"{number}": [3, 3, 30, 9] for number in range(3)}))
    for words, said in (
        (("--metrics", "sdi"), "unknown metric 'sdi': did you mean 'sid'"),
        (("--metrics", "concentration"), "give --masks or --boxes"),
        (("--masks", "masks"), "--masks without a folder of pictures"),
        (("--images", folder, "--masks", "masks", "--boxes", "boxes.json"), "leave one out"),
        (("--images", folder, "--masks", "black"), "covers all or nothing, as nothing of"),
        (("--images", folder, "--masks", "large"), "is 13x12 pixels, and its picture"),
        (("--images", folder, "--boxes", "outside.json"), "sticks out of its picture"),
        (("--images", "elsewhere"), "--images elsewhere is no folder"),
        (("--images", 0), "--images 0: 1 or more"),
        (("--alpha", 0), "--alpha 0"),
        (("--delta", "all"), "unknown delta 'all'"),
        (("--delta", -1), "--delta -1"),
        (("--delta", 1, "--tau", 0.1), "leave one out"),
        (("--grid", 16), "the images are 8x8 pixels"),
        (("--probes", 0), "--probes 0"),
        (("--ru-samples", 3), "an even number"),
        (("--taps", "norm9"), "unknown layer 'norm9': did you mean 'norm"),
        (("--taps", "zzz"), "(known: logits, penultimate"),
        (("--taps", "auto", "norm1"), "stands alone"),
        (("--taps", "logits", "head"), "these are one layer"),
        (("--metrics", "ru", "--decoder-images", 10**6), "training images"),
        (("--against", run), "is there already"),
        (("--against", run.parent / ".." / run.parent.name / run.name), "has the weights of"),
        (("--images", folder, "--masks", "masks", "--metrics", "sid"), "objects are for concentration"),
    ):
        found = penult("analyse", "discard", run, "--grid", 4, "--images", 2, *words, "--out", "there", *CPU)
        assert found.status == 2, words
        assert said in found.err and found.err.count("\n") == 1, (words, found.err)
        assert not (tmp_path / "there").exists()


class Breaking(nn.Module):
    """Features that are not finite for bright images, and 0 for black ones."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.head = nn.Conv2d(1, 4, 3, bias=False), nn.Linear(4, 3)

    def forward(self, x):
        there = x / (x.flatten(1).mean(1) < 0.9)[:, None, None, None]
        return self.head(self.conv(there.square()).mean((2, 3)))


@pytest.mark.parametrize(
    ("method", "batch", "delta"),
    [("linear", 1, "dataset"), ("linear", 4, "image"), ("solve", 1, "image"), ("solve", 4, "dataset")],  # all pairs
)
def test_an_image_that_cannot_be_measured_is_told_and_the_rest_is_kept(monkeypatch, tmp_path, delta, batch, method):
    monkeypatch.setattr(measuring, "_MOST", batch)
    pixels = torch.randint(20, 200, (4, 1, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    pixels[1], pixels[2] = 255, 0
    images = ImageSet("few", "test", pixels, torch.zeros(4, dtype=torch.int64), ("a", "b", "c"))
    network = zoo.wrap(Breaking(), image_shape=(1, 8, 8)).eval()
    layers = {"conv": representation(network, "conv", (1, 8, 8))}
    looked = Looked("few", "few", Unsaid(), network, layers, "few")
    config = DiscardSettings("few", noise=Noise(delta=delta, grid=4, method=method, sid_steps=4))
    found = measuring.Measuring(config, images, None, tmp_path, start(Where(device="cpu"))).of(looked, "conv", None)
    assert found.sid.failed.tolist() == [False, True, False, False]
    assert found.sid.maps.isfinite().flatten(1).all(1).tolist() == [True, False, True, True]
    if method == "linear":  # noise on a black image moves nothing, in the limit: all of it is at the cap
        assert found.sid.capped[2] == 1 and found.sid.capped[[0, 3]].tolist() == [0, 0]


def test_maps_of_images_that_all_failed_are_drawn_empty(tmp_path):
    count, none = 2, torch.full((2,), math.nan, dtype=torch.float64)
    failed = Entropies(torch.full((count, 1, 4, 4), math.nan), none, none, none, none, none.isnan())
    found = Measured("conv", (4, 6, 6), Spread(none, none, 1.0), failed, None, None)
    pixels = torch.zeros(count, 1, 8, 8, dtype=torch.uint8)
    images = ImageSet("few", "test", pixels, torch.zeros(count, dtype=torch.int64), ("a",))
    draw_maps(tmp_path / "maps.png", DiscardSettings("few"), Shown(images, ("0", "1"), None), {"few": [found]}, "sid")
    assert (tmp_path / "maps.png").is_file()


class TestLayerFeatures:
    """A layer's features are those of the whole pass, and what comes after it does not run."""

    def network(self):
        torch.manual_seed(0)
        return zoo.build("convnet", classes=4, image_shape=(1, 8, 8)).eval()

    @pytest.mark.parametrize("layer", ["norm2", "conv3:input", "penultimate", "logits"])
    def test_they_are_those_of_the_whole_pass(self, layer):
        network, images = self.network(), torch.rand(3, 1, 8, 8)
        own = representation(network, layer, (1, 8, 8))
        found = LayerFeatures(own)(images.requires_grad_())
        torch.testing.assert_close(found.detach(), own(images))
        (slope,) = torch.autograd.grad(found.sum(), images)
        assert bool((slope != 0).any())

    def test_what_comes_later_does_not_run(self):
        network, ran = self.network(), []
        network.body.conv3.register_forward_hook(lambda *_: ran.append(3))
        network.body.conv2.register_forward_hook(lambda *_: ran.append(2))
        features = LayerFeatures(representation(network, "norm2", (1, 8, 8)))
        ran.clear()
        features(torch.rand(2, 1, 8, 8))
        assert ran == [2]
        network(torch.rand(2, 1, 8, 8))  # no hook stays behind
        assert ran == [2, 2, 3]
