"""`penult analyse saliency`, from its words to its files."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from analysis import blurred_maps, central_map, decompose, full_jacobian_saliency
from analysis.jacobians.derivatives import load_forward_derivatives
from apps.command.cli import main
from apps.data import sources
from apps.data.objects import read_boxes, read_masks
from apps.jacobians import figures
from apps.jacobians.figures import scales
from apps.jacobians.settings import METHOD_NAMES
from apps.jacobians.shown import file_name
from priors import ClassifierPrior, zoo

CPU = ("--device", "cpu", "--threads", 1)
QUICK = ("--steps", 3, "--noisy", 2)


@pytest.fixture(scope="module", autouse=True)
def forward_derivatives():
    """Loaded, which makes torch warn of its own function."""
    load_forward_derivatives()


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    """A convolutional network of digits. Not to be written into."""
    runs = tmp_path_factory.mktemp("saliency")
    words = ["--data", "digits", "--arch", "convnet", "--epochs", "0.5", "--name", "net", "--device", "cpu"]
    assert main(["train", "classifier", *words, "--threads", "1", "--runs", str(runs)]) == 0
    return runs / "net"


def picture(path: Path, side: int = 20, seed: int = 0) -> Path:
    levels = np.random.default_rng(seed).integers(0, 256, (side, side, 3), np.uint8)
    Image.fromarray(levels).save(path)
    return path


def read(folder: Path) -> tuple[dict, dict[str, torch.Tensor]]:
    return json.loads((folder / "saliency.json").read_text()), load_file(folder / "maps.safetensors")


def test_test_images_are_explained(penult, run, tmp_path):
    said = penult("analyse", "saliency", run, "--images", 3, *QUICK, "--drawn", 2, "--out", "there", *CPU)
    assert said.status == 0, said.err
    found, maps = read(tmp_path / "there")
    assert {path.name for path in (tmp_path / "there").iterdir()} == {
        "saliency.png", "sheet-01-digits-0.png", "sheet-02-digits-1.png", "saliency.json", "maps.safetensors"
    }  # fmt: skip
    network, images = zoo.load(run).eval(), sources.load("digits", "test")
    x = images.images[:3] / 255
    with torch.no_grad():
        logits = network(x)
    assert len(found["images"]) == 3
    for number, one in enumerate(found["images"]):
        assert one["predicted"]["number"] == one["class"]["number"] == int(logits[number].argmax())
        assert one["label"]["number"] == int(images.labels[number])
        assert one["output"] == pytest.approx(float(logits[number].max()), rel=1e-4)
        assert 0 <= one["residual"] < 1e-4
        # Equation 1, by source, by layer, and by the panels of figure 1.
        assert one["slope x image"] + sum(one["sources"].values()) == pytest.approx(one["output"], abs=1e-4)
        assert one["slope x image"] + sum(one["layers"].values()) == pytest.approx(one["output"], abs=1e-4)
        panels = one["slope x image"] + sum(one["panels"].values()) + one["without map"]
        assert panels == pytest.approx(one["output"], abs=1e-4)
        for name, total in one["panels"].items():
            assert float(maps[f"layer/{name}"][number].sum()) == pytest.approx(total, abs=1e-4)
    assert {name for name in maps if name.startswith("method/")} == {f"method/{name}" for name in METHOD_NAMES}
    decomposed = decompose(network, x, logits.argmax(1))
    torch.testing.assert_close(maps["method/full-jacobian"], full_jacobian_saliency(decomposed), rtol=1e-3, atol=1e-5)
    assert all(values.dtype == torch.float32 for values in maps.values())
    assert found["choices"]["layer"] == "body.relu4" and "grad-cam weighs the maps of body.relu4" in said.out
    # Nothing is overwritten.
    before = (tmp_path / "there" / "saliency.json").read_bytes()
    said = penult("analyse", "saliency", run, "--images", 3, *QUICK, "--out", "there", *CPU)
    assert said.status == 2 and "not an empty folder" in said.err
    assert (tmp_path / "there" / "saliency.json").read_bytes() == before


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("cat.JPG", "sheet-01-cat.png"),
        ("cub-200-2011-1.5 3", "sheet-01-cub-200-2011-1.5-3.png"),
        ("a/b.png (2)", "sheet-01-a-b.png-2-.png"),
    ],
)
def test_sheets_have_the_names_of_what_is_explained(name, file):
    assert file_name(0, name) == file


def test_pictures_a_class_and_the_margin(penult, run, tmp_path):
    first, second = picture(tmp_path / "a.png"), picture(tmp_path / "b.png", 9, 1)
    words = ["--class", 7, "--of", "margin", "--methods", "bias-jacobian", "grad-cam", "--layer", "body.relu2"]
    said = penult("analyse", "saliency", run, first, second, *words, "--out", "there", *CPU)
    assert said.status == 0, said.err
    assert "a.png is resized from 20x20 to 8x8" in said.out
    found, maps = read(tmp_path / "there")
    assert [one["image"] for one in found["images"]] == ["a.png", "b.png"]
    assert set(found["scales"]) == {"bias-jacobian", "grad-cam"} and found["choices"]["layer"] == "body.relu2"
    network = zoo.load(run).eval()
    grey = np.asarray(Image.open(first).convert("L").resize((8, 8), Image.Resampling.BILINEAR))
    with torch.no_grad():
        logits = network(torch.from_numpy(grey.copy())[None, None] / 255)[0]
    others = torch.cat([logits[:7], logits[8:]])
    one = found["images"][0]
    assert one["class"] == {"number": 7, "name": "7"} and "label" not in one
    assert one["output"] == pytest.approx(float(logits[7] - others.max()), rel=1e-4)
    assert maps["method/bias-jacobian"].shape == (2, 8, 8)


def photographs(place: Path, count: int = 5) -> list[Path]:
    """Noise of several sizes, masks of an ellipse each, and boxes about these."""
    boxes = {}
    for folder in ("images", "masks"):
        (place / folder).mkdir()
    for number in range(count):
        height, width = 20 + 3 * number, 31 - 2 * number
        noise = np.random.default_rng(number).integers(0, 256, (height, width), np.uint8)
        Image.fromarray(noise).save(place / "images" / f"{number}.png")
        rows, columns = np.mgrid[:height, :width]
        inside = ((rows - 9) / 6) ** 2 + ((columns - width / 2) / 5) ** 2 < 1
        Image.fromarray(np.where(inside, 255, 0).astype(np.uint8)).save(place / "masks" / f"{number}.png")
        boxes[f"{number}.png"] = [width / 2 - 5, 3, width / 2 + 5, 15]
    (place / "boxes.json").write_text(json.dumps(boxes))
    return sorted((place / "images").iterdir())


def test_the_share_of_each_map_that_is_on_the_object(penult, run, tmp_path):
    pictures = photographs(tmp_path)
    words = ["--methods", "bias-jacobian", "grad-cam", "--drawn", 1, *CPU]
    objects = ["--masks", tmp_path / "masks", "--boxes", tmp_path / "boxes.json"]
    said = penult("analyse", "saliency", run, *pictures, *words, *objects, "--resize", 10, "--out", "there")
    assert said.status == 0, said.err
    printed = " ".join(said.out.split())  # lines break where the place of the pictures has them break
    assert "inside the mask, which takes" in printed and "inside the box, which takes" in printed
    found, maps = read(tmp_path / "there")
    assert (tmp_path / "there" / "inside.png").read_bytes().startswith(b"\x89PNG")
    read_as = {
        "mask": read_masks(tmp_path / "masks", pictures, 8, 10),
        "box": read_boxes(tmp_path / "boxes.json", pictures, 8, 10),
    }
    both = [name + ending for name in ("bias-jacobian", "grad-cam", "sobel") for ending in ("", ", blurred")]
    for region, masks in read_as.items():
        told = found["inside"][region]
        assert list(told["maps"]) == [*both, "centre", "random"] and told["left out"] == []
        areas = masks.double().mean((1, 2))
        assert told["areas"] == pytest.approx(areas.tolist()) and told["blur"] == 0.5
        drawn = {name: maps[f"method/{name}"] for name in ("bias-jacobian", "grad-cam")}
        drawn["grad-cam, blurred"] = blurred_maps(drawn["grad-cam"], 0.5)
        drawn["centre"] = central_map(8, 8).expand(5, 8, 8)
        for name, own in drawn.items():
            mass = own.double().sum((1, 2))
            shares = torch.where(mass > 0, (own * masks).double().sum((1, 2)) / mass, areas)
            one = told["maps"][name]
            assert one["by picture"] == pytest.approx(shares.tolist(), rel=1e-4)
            assert one["inside"] == pytest.approx(float(shares.mean()), rel=1e-4)
            excess = shares - areas
            assert one["less area"] == pytest.approx(float(excess.mean()), abs=1e-4)
            assert one["less area, standard error"] == pytest.approx(float(excess.std() / 5**0.5), rel=1e-3)
            assert one["0 everywhere"] == int((mass == 0).sum())
    # Without masks no control is drawn, and the maps are the same.
    said = penult("analyse", "saliency", run, *pictures, *words, "--resize", 10, "--out", "plain")
    plain, again = read(tmp_path / "plain")
    assert said.status == 0 and "inside" not in plain
    torch.testing.assert_close(again["method/bias-jacobian"], maps["method/bias-jacobian"])


def test_masks_that_say_nothing_are_left_out_or_refused(penult, run, tmp_path):
    pictures = photographs(tmp_path, 3)
    words = ["analyse", "saliency", run, *pictures, "--methods", "bias-jacobian", "--drawn", 1, *CPU]
    height, width = 20, 31
    Image.fromarray(np.zeros((height, width), np.uint8)).save(tmp_path / "masks" / "0.png")
    said = penult(*words, "--masks", tmp_path / "masks", "--out", "there")
    assert said.status == 0, said.err
    assert "The mask takes all or nothing of" in said.out and "of 2 pictures on average" in said.out
    told = read(tmp_path / "there")[0]["inside"]["mask"]
    assert told["left out"] == ["0.png"] and told["pictures"] == ["1.png", "2.png"]
    assert len(told["maps"]["random"]["by picture"]) == 2
    for number, size in enumerate(((20, 31), (23, 29), (26, 27))):
        Image.fromarray(np.full(size, 255, np.uint8)).save(tmp_path / "masks" / f"{number}.png")
    for given, reason in (
        ([*words, "--masks", tmp_path / "masks"], "every mask takes all or nothing"),
        ([*words, "--masks", tmp_path / "nowhere"], "is no folder"),
        ([*words, "--boxes", tmp_path / "nowhere.json"], "nowhere.json"),
        (["analyse", "saliency", run, "--masks", tmp_path / "masks", *CPU], "--masks without picture files"),
    ):
        said = penult(*given, "--out", "not")
        assert said.status == 2 and reason in said.err and len(said.err.splitlines()) == 1
    assert not (tmp_path / "not").exists()


def test_log_densities_under_the_classifiers_prior(penult, run, tmp_path):
    """Why this class, under the prior: f is the prior's own, and so is the margin of two classes."""
    words = ["--images", 2, "--class", 3, *QUICK, *CPU]
    said = penult("analyse", "saliency", run, "--of", "log-density", "--concentration", 30, *words, "--out", "density")
    assert said.status == 0, said.err
    network = zoo.load(run).eval()
    x = sources.load("digits", "test").images[:2] / 255
    prior = ClassifierPrior.from_classifier(network, 30.0)
    leaf = x.clone().requires_grad_()
    densities = prior.log_prob(network.penultimate(leaf))
    (slope,) = torch.autograd.grad(densities[:, 3].sum(), leaf)
    densities = densities.detach()
    found, maps = read(tmp_path / "density")
    assert found["prior"]["concentration"] == ["30"] and set(found["scales"]) == set(METHOD_NAMES)
    for number, one in enumerate(found["images"]):
        assert one["output"] == pytest.approx(float(densities[number, 3]), rel=1e-4) and one["residual"] < 1e-4
    torch.testing.assert_close(maps["method/input-gradient"], slope.abs().sum(1), rtol=1e-3, atol=1e-5)
    assert penult("prior", run, "--concentration", 30, "--no-measure", "--out", "own.safetensors", *CPU).status == 0
    words += ["--methods", "grad-cam", "bias-jacobian"]
    said = penult("analyse", "saliency", run, "--of", "margin", "--prior", "own.safetensors", *words, "--out", "odds")
    assert said.status == 0, said.err
    others = torch.cat([densities[:, :3], densities[:, 4:]], 1).amax(1)
    for number, one in enumerate(read(tmp_path / "odds")[0]["images"]):
        assert one["output"] == pytest.approx(float(densities[number, 3] - others[number]), rel=1e-3)


def test_in_the_runs_folder(penult, run, trained, copied):
    """Of a network without maps, what needs some is left out with a line."""
    mlp = copied("classifier")
    said = penult("analyse", "saliency", mlp, "--images", 1, *QUICK, *CPU)
    assert said.status == 0, said.err
    assert "Without bias-jacobian: " in said.out and "Without grad-cam: " in said.out
    found, maps = read(mlp / "saliency")
    assert set(found["scales"]) == set(METHOD_NAMES) - {"bias-jacobian", "grad-cam"}
    assert maps["slope x image"].shape == (1, 8, 8)
    said = penult("analyse", "saliency", mlp, "--images", 1, "--methods", "grad-cam", "--out", "new", *CPU)
    assert said.status == 2 and "no layer of the network gives maps" in said.err and not Path("new").exists()


def test_a_network_of_ones_own(penult, tmp_path, monkeypatch):
    """Of no known size: pictures have one, or one is said."""
    (tmp_path / "own_net.py").write_text(
        "from torch import manual_seed, nn\n\n\ndef network():\n    manual_seed(0)\n    return nn.Sequential("
        "nn.Conv2d(3, 4, 3), nn.GELU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3))\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    words = ["analyse", "saliency", "--mean", 0.5, *QUICK, *CPU, "import:own_net:network", picture(tmp_path / "a.png")]
    said = penult(*words, "--out", "own")
    assert said.status == 0, said.err
    assert "Without guided-backprop: the network computes gelu" in said.out
    assert read(tmp_path / "own")[1]["method/full-jacobian"].shape == (1, 20, 20)
    other = picture(tmp_path / "b.png", 30)
    said = penult(*words, other, "--out", "two")
    assert said.status == 2 and "give --image-size" in said.err
    said = penult(*words, other, "--image-size", 12, "--resize", 16, "--out", "two", "--methods", "full-jacobian")
    assert said.status == 0 and read(tmp_path / "two")[1]["method/full-jacobian"].shape == (2, 12, 12)


REFUSED = {
    "method": (["--methods", "gradcam"], "did you mean 'grad-cam'"),
    "class": (["--class", "10"], "10 classes, 0 to 9"),
    "class by name": (["--class", "seven"], "unknown class 'seven'"),
    "layer": (["--methods", "grad-cam", "--layer", "body.relu9"], "did you mean 'body.relu"),
    "layer of nothing": (["--methods", "full-jacobian", "--layer", "body.relu1"], "--layer is of grad-cam"),
    "picture": (["nothing.png"], "nothing.png: no such file"),
    "pictures and data": (["here.png", "--data", "digits"], "--data beside picture files"),
    "size": (["here.png", "--image-size", 16], "trained on images of 8x8 pixels"),
    "other images": (["--data", "rgb.npz"], "takes 1x8x8"),
    "prior of a logit": (["--concentration", 5], "a logit is of no prior"),
    "out": (["--out", "here.png"], "not an empty folder"),
}


@pytest.mark.parametrize(("words", "expected"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_is_said_in_a_line(penult, run, tmp_path, words, expected):
    picture(tmp_path / "here.png")
    levels = np.zeros((4, 8, 8, 3), np.uint8)
    np.savez(tmp_path / "rgb.npz", x_train=levels, y_train=range(4), x_test=levels, y_test=range(4))
    said = penult("analyse", "saliency", run, *words, *([] if "--out" in words else ["--out", "new"]), *CPU)
    assert said.status == 2 and expected in said.err and said.err.count("\n") == 1
    assert not (tmp_path / "new").exists()


def test_captum_is_asked_for_where_it_is_wanted(penult, run, monkeypatch, tmp_path):
    monkeypatch.setattr("apps.jacobians.baselines.find_spec", lambda name: None)
    said = penult("analyse", "saliency", run, "--methods", "smooth-grad", "--out", "new", *CPU)
    assert said.status == 2 and "pip install captum (the extra saliency)" in said.err
    said = penult("analyse", "saliency", run, "--images", 1, "--out", "new", *CPU)
    assert said.status == 0 and "smooth-grad, grad-cam: Captum is not installed here" in said.out
    assert set(read(tmp_path / "new")[0]["scales"]) == set(METHOD_NAMES[:3])


def test_a_method_has_one_scale_for_all_images_that_are_drawn(penult, run, tmp_path, monkeypatch):
    """A pixel of one value has one colour, whatever the image."""
    colours = []
    original = figures._COLOURS
    monkeypatch.setattr(figures, "_COLOURS", lambda level: colours.append(np.asarray(level)) or original(level))
    words = ["--methods", "input-gradient", "--images", 3, "--drawn", 2, "--out", "new"]
    assert penult("analyse", "saliency", run, *words, *CPU).status == 0
    found, maps = read(tmp_path / "new")
    values = maps["method/input-gradient"].double().numpy()
    most = found["scales"]["input-gradient"]
    assert most == pytest.approx(np.quantile(values[:2], 0.99))
    assert scales({"x": torch.zeros(2, 3, 3)}, 2) == {"x": 1.0}
    drawn = [level for level in colours if level.shape == (8, 8) and level.min() < 0.3]
    for number in range(2):
        assert np.allclose(drawn[number], (values[number] / most).clip(0, 1))
