"""`penult analyse coherency`, from its words to its files."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from analysis import discarded_information, feature_spread, halved_network, neighbouring_layers
from apps.command.cli import main
from apps.data import sources
from apps.discarding import measuring
from apps.discarding.coherency import comparing, maps
from apps.discarding.coherency.features import handed_on
from apps.discarding.coherency.maps import class_activation, gap, gradients
from apps.discarding.coherency.results import scored
from apps.discarding.coherency.settings import CoherencySettings
from apps.discarding.layer import LayerFeatures
from apps.discarding.settings import Noise
from apps.models.representation import representation
from apps.scores.kind import Command
from apps.scores.known import found as left_by
from apps.seeds import derive
from priors import InputError, tap, zoo

CPU = ("--device", "cpu", "--threads", 1)
QUICK = ("--method", "linear", "--grid", 4, "--probes", 4, "--sid-check", 4)
DECODER = ("--decoder-width", 4, "--decoder-images", 70, "--epochs", 1, "--ru-steps", 2, "--ru-measured", 4)


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    """A convolutional network of digits. Not to be written into."""
    runs = tmp_path_factory.mktemp("coherency")
    words = ["--data", "digits", "--arch", "convnet-half", "--epochs", "0.5", "--name", "net", "--device", "cpu"]
    assert main(["train", "classifier", *words, "--threads", "1", "--runs", str(runs)]) == 0
    return runs / "net"


def _capped(run: Path, site: str) -> float:
    """Part of the cells whose noise is as large as it may be, in three images of the digits."""
    features = LayerFeatures(representation(zoo.load(run).eval(), site, (1, 8, 8)))
    x, seed = sources.load("digits", "test").images[:3] / 255, derive(0, "discarding") % 2**31
    delta = feature_spread(features, x, samples=4, seed=seed).mean
    found = discarded_information(features, x, delta=delta, method="linear", grid=4, probes=4, check=4, seed=seed)
    return float((found.sigma >= 1).double().mean())


def read(folder: Path) -> dict:
    return json.loads((folder / "coherency.json").read_text())[-1]


def test_numbers_are_those_of_the_library_and_are_read_again(penult, run, tmp_path, monkeypatch):
    words = ("--taps", "conv2", "norm3", "--images", 3, *QUICK, "--runs", "runs", *CPU)
    said = penult("analyse", "coherency", run, *words)
    assert said.status == 0, said.err
    folder = tmp_path / "runs" / "net-coherency"
    files = {path.name for path in folder.iterdir() if path.name != "coherency-parts"}
    assert files == {"coherency.png", "coherency-layers.png", "coherency.json"}
    entry = read(folder)
    network, x = zoo.load(run).eval(), sources.load("digits", "test").images[:3] / 255
    pair = neighbouring_layers(network, x)[1]
    assert entry["pairs"]["relu2"] == {"first": "body.conv2", "norm": "body.norm2", "second": "body.conv3"}
    assert list(entry["scores"]["layers"]) == ["relu2", "norm3"] and entry["images"] == 3
    seed, scores = derive(0, "discarding") % 2**31, entry["scores"]["layers"]["relu2"]
    for name, own in (("SID before", network), ("SID halved after", halved_network(network, pair, x))):
        features = LayerFeatures(representation(own, "relu2", (1, 8, 8)))
        spread = feature_spread(features, x, samples=4, seed=seed)
        given = {"method": "linear", "grid": 4, "probes": 4, "check": 4, "seed": seed}
        found = discarded_information(features, x, delta=spread.mean, **given)
        assert scores[name] == pytest.approx(float(found.mean.mean()), abs=1e-5)
    assert scores["SID after"] == scores["SID before"] and scores["SID change"] == 0 and scores["SID held"] == 1
    assert scores["SID halved change"] > 1e-3
    assert scores["SID failed before"] == 0 == scores["SID failed after"]
    assert scores["SID capped before"] == scores["SID capped after"] == pytest.approx(_capped(run, "relu2"))
    with tap(network, ["body.relu2"]) as taps:
        logits = network(x.requires_grad_())
    (slope,) = torch.autograd.grad(logits.amax(1).sum(), taps["body.relu2"])
    expected = float(slope.flatten(1).norm(dim=1).mean())
    assert scores["gradient before"] == pytest.approx(expected, rel=1e-5)
    assert scores["gradient after"] == pytest.approx(4 * expected, rel=1e-5)
    assert scores["gradient change"] == pytest.approx(3)
    assert scores["Grad-CAM change"] == pytest.approx(0, abs=1e-5)  # weights grow as features shrink
    assert entry["scores"]["SID change"] == 0 and entry["scores"]["held"] == entry["scores"]["asked"] == 4
    assert "it is defined where features are averaged" in entry["gaps"]["relu2"]["CAM"]

    def never(*given, **options):
        raise AssertionError("measured again")

    monkeypatch.setattr(measuring, "discarded_information", never)
    monkeypatch.setattr(measuring, "feature_spread", never)
    monkeypatch.setattr(comparing, "maps_of", lambda *given: never)
    again = penult("analyse", "coherency", run, *words)
    assert again.status == 0 and read(folder) == entry
    assert len(json.loads((folder / "coherency.json").read_text())) == 1
    noise = Noise(method="linear", grid=4, probes=4, sid_check=4)
    config = CoherencySettings(str(run), taps=("conv2", "norm3"), images="3", noise=noise)
    assert scored(config, folder) == entry["scores"]
    assert scored(CoherencySettings(str(run), taps=("conv2",), images="3", noise=noise), folder) is None
    kept = folder / "coherency.json"
    kept.write_text(json.dumps([entry | {"resize": 10}]))
    assert scored(config, folder) is None, "of pictures that were cut otherwise"
    kept.write_text(json.dumps([entry | {"scores": {"SID change": 0.0}}]))
    command = ("analyse", "coherency", str(run), *map(str, words))
    assert left_by(Command(command, folder)) == {"SID change": 0.0}, "without its layers"


def test_a_decoder_is_shared_with_discarding_and_takes_the_scale_back(penult, run, tmp_path):
    common = ("--taps", "relu2", "--images", 2, *QUICK, *DECODER, "--shown", 0, "--runs", "runs", *CPU)
    said = penult("analyse", "discard", run, "--metrics", "ru", *common)
    assert said.status == 0, said.err
    before = json.loads((tmp_path / "runs" / "net-discarded" / "discard.json").read_text())[-1]
    words = ("--metrics", "sid,ru", "--retrained", "--factor", 3, "--halved", "odd", "--baselines", "none")
    said = penult("analyse", "coherency", run, *words, *common)
    assert said.status == 0, said.err
    assert "net-discarded-relu2 is finished already" in said.out
    scores = read(tmp_path / "runs" / "net-coherency")["scores"]["layers"]["relu2"]
    assert scores["RU before"] == pytest.approx(before["scores"]["net"]["relu2"]["RU"], abs=1e-6)
    assert scores["RU after"] == pytest.approx(scores["RU before"], abs=1e-4) and scores["RU held"] == 1
    assert scores["RU retrained before"] == scores["RU before"] and "RU retrained held" not in scores
    assert math.isfinite(scores["RU retrained after"]) and scores["RU retrained change"] > 1e-3
    assert (tmp_path / "runs" / "net-discarded-rescaled-3-relu2" / "result.json").is_file()


def test_all_layers_are_compared_and_the_rest_is_listed(penult, run, tmp_path):
    words = ("--images", 2, *QUICK, "--baselines", "none", "--halved", "none", "--shown", 0, "--out", "there", *CPU)
    said = penult("analyse", "coherency", run, *words)
    assert said.status == 0, said.err
    entry = read(tmp_path / "there")
    assert list(entry["scores"]["layers"]) == ["relu1", "relu2", "relu3", "relu4", "penultimate"]
    assert entry["refused"] == {"head": "it is the network's output, which no layer comes after"}
    assert not (tmp_path / "there" / "coherency.png").exists()
    assert "head" in said.out and "which no layer comes after" in " ".join(said.out.split())


def test_a_dead_layer_is_listed_and_refused_where_it_is_named(penult, run, tmp_path):
    network = zoo.load(run)
    with torch.no_grad():
        network.body.norm3.bias.fill_(-100)  # no ReLU behind it is ever above 0
    zoo.save(network, tmp_path / "dead")
    for file in ("config.json", "result.json"):
        (tmp_path / "dead" / file).write_text((run / file).read_text())
    words = ("--images", 2, *QUICK, "--baselines", "none", "--shown", 0, "--runs", "runs", *CPU)
    said = penult("analyse", "coherency", "dead", *words)
    assert said.status == 0, said.err
    entry = read(tmp_path / "runs" / "dead-coherency")
    assert entry["refused"]["conv3"] == "the layer is dead: no image moves its features"
    assert "relu2" in entry["scores"]["layers"] and "relu3" not in entry["scores"]["layers"]
    said = penult("analyse", "coherency", "dead", "--taps", "relu2", "relu3", *words)
    assert said.status == 2 and "the layer is dead" in said.err


def test_concentration_stays(penult, run, tmp_path):
    drawn = np.random.default_rng(0)
    (tmp_path / "pictures").mkdir()
    for number in range(2):
        Image.fromarray(drawn.integers(0, 256, (8, 8), np.uint8)).save(tmp_path / "pictures" / f"{number}.png")
    (tmp_path / "boxes.json").write_text(json.dumps({f"{number}.png": [0, 0, 4, 4] for number in range(2)}))
    words = ("--images", "pictures", "--boxes", "boxes.json", "--taps", "relu3", *QUICK, "--baselines", "none")
    said = penult("analyse", "coherency", run, *words, "--shown", 0, "--out", "there", *CPU)
    assert said.status == 0, said.err
    scores = read(tmp_path / "there")["scores"]["layers"]["relu3"]
    assert scores["concentration before"] == scores["concentration after"] != 0
    assert scores["concentration change"] == 0 and scores["SID held"] == 1


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--factor", 3, "--tolerance", 1e-12), "SID of relu2 changed by"),
        (("--tolerance", 1000), "SID, filters halved of relu2 changed by"),
    ],
)
def test_what_does_not_hold_fails_after_all_is_kept(penult, run, tmp_path, words, told):
    words = (*words, "--taps", "relu2", "--images", 2, *QUICK, "--baselines", "none", "--shown", 0)
    said = penult("analyse", "coherency", run, *words, "--out", "there", *CPU)
    assert said.status == 1 and f"not coherent: {told}" in said.err and said.err.count("\n") == 1
    assert "NO" in said.out
    scores = read(tmp_path / "there")["scores"]
    assert scores["held"] < scores["asked"]


def test_what_does_not_go_together_is_refused(penult, run, tmp_path):
    for words, said in (
        (("--taps", "logits"), "the scale of head cannot be moved to the next layer: it is the network's output"),
        (("--taps", "norm9"), "unknown layer 'norm9': did you mean 'norm"),
        (("--taps", "norm1", "relu1"), "both are of body.conv1"),
        (("--taps", "conv1:input"), "unknown layer to move a scale from 'conv1:input': did you mean 'conv1'"),
        (("--factor", 1), "--factor 1 changes nothing"),
        (("--factor", 0), "--factor 0"),
        (("--tolerance", 0), "--tolerance 0"),
        (("--retrained",), "add --metrics ru"),
        (("--baselines", "gradcam"), "unknown baseline 'gradcam': did you mean 'grad-cam'"),
        (("--grid", 16), "the images are 8x8 pixels"),
        (("--against", "other"), "--against"),
    ):
        found = penult("analyse", "coherency", run, "--grid", 4, "--images", 2, *words, "--out", "there", *CPU)
        assert found.status == 2, words
        assert said in found.err and found.err.count("\n") == 1, (words, found.err)
        assert not (tmp_path / "there").exists()


class TestMaps:
    """Baselines of features."""

    images = torch.rand(2, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    target = torch.tensor([2, 0])

    def network(self, name: str = "vgg-4"):
        torch.manual_seed(0)
        return zoo.build(name, classes=4, image_shape=(1, 8, 8)).eval()

    def test_cam_adds_up_to_the_logit_less_its_bias(self):
        network = self.network()
        handed, refused = handed_on(network, self.images, ())
        assert [one.name for one in handed] == ["relu1", "relu2", "relu3"] and list(refused) == ["head"]
        assert [gap("cam", one, network, self.images) is None for one in handed] == [False, False, True]
        last = handed[-1]
        found = class_activation(network, last, self.images, self.target)
        logits = network(self.images).gather(1, self.target[:, None])[:, 0]
        torch.testing.assert_close(found.mean((1, 2)), logits - network.head.bias[self.target])
        with pytest.raises(InputError, match="cam: relu1 is not averaged"):
            class_activation(network, handed[0], self.images, self.target)

    def test_gradients_are_slopes(self):
        """By a small step along the slope itself, in double precision: the logit grows by its squared length."""
        network = self.network().double()
        images = self.images.double()
        found = gradients(network, "body.relu2", images, self.target)
        with tap(network, ["body.relu2"]) as taps:
            logits = network(images.requires_grad_())
        (slope,) = torch.autograd.grad(logits.gather(1, self.target[:, None]).sum(), taps["body.relu2"])
        hook = network.body.relu2.register_forward_hook(lambda _, given, output: output + 1e-6 * slope)
        with torch.no_grad():
            grown = (network(images) - logits).gather(1, self.target[:, None])[:, 0] / 1e-6
        hook.remove()
        torch.testing.assert_close(grown, found.square().sum((1, 2)), rtol=1e-4, atol=0)

    def test_what_there_is_no_map_of_has_a_reason(self, monkeypatch):
        network = self.network("convnet-half")
        handed, _ = handed_on(network, self.images, ())
        assert gap("gradient", handed[-1], network, self.images) is None
        assert gap("grad-cam", handed[-1], network, self.images) == "these features are no maps of several pixels"
        assert "averaged over places" in gap("cam", handed[0], network, self.images)
        monkeypatch.setattr(maps, "missing", lambda: "Captum is not installed here")
        assert gap("grad-cam", handed[0], network, self.images) == "Captum is not installed here"

    def test_inside_residual_blocks_alone_and_grad_cam_of_what_a_layer_takes(self):
        network = self.network("resnet-20")
        handed, refused = handed_on(network, self.images, ())
        assert len(handed) == 9 and all(one.pair.second.endswith("conv2") for one in handed)
        assert len(refused) == 13 and "added to something else" in refused["stem.0"]
        own = [maps.maps_of("grad-cam", one)(network, self.images, self.target) for one in _named(network, self.images)]
        assert own[0].shape == (2, 8, 8) and float(own[0].max()) > 0
        torch.testing.assert_close(own[0], own[1])


def _named(network, images):
    """The same features, as a module gives them and as the next one takes them."""
    for name in ("group1.0.relu1", "group1.0.conv2:input"):
        yield handed_on(network, images, (name,))[0][0]
