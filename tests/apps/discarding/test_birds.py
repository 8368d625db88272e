"""Birds of CUB-200-2011's layout, from training to concentration: what is measured is what the library says of it."""

import json
from pathlib import Path

import pytest
import torch
from birds import write_birds
from safetensors.torch import load_file

from analysis import discarded_information, feature_spread, information_concentration
from apps.command.cli import main
from apps.data import sources
from apps.discarding.layer import LayerFeatures
from apps.models.representation import representation
from apps.seeds import derive
from priors import zoo

CPU = ("--device", "cpu", "--threads", "1")
SIZE = 12
QUICK = ("--taps", "logits", "--method", "linear", "--grid", 6, "--probes", 4, "--shown", 1, "--images", 5)


@pytest.fixture(scope="module")
def there(tmp_path_factory) -> Path:
    """Birds and their masks, and `net`, trained a step or two on the boxes. Not to be changed."""
    place = tmp_path_factory.mktemp("birds")
    write_birds(place / "CUB_200_2011", place / "segmentations")
    train(place, "cub-200-2011", "net")
    return place


def train(place: Path, data: str, name: str) -> int:
    words = ["--data", data, "--data-root", place, "--image-size", SIZE, "--arch", "convnet-half", "--epochs", 0.5]
    words += ["--batch-size", 4, "--runs", place, "--name", name, *CPU]
    return main(["train", "classifier", *map(str, words)])


def test_concentration_of_what_is_around_the_birds(penult, there, tmp_path):
    """The images are 1.5 times the boxes, as the run's are the boxes; the object is the middle of each."""
    words = ("--data", "cub-200-2011-1.5", "--data-root", there, *QUICK, "--out", "out", "--metrics")
    words += ("sid,concentration",)
    said = penult("analyse", "discard", there / "net", *words, *CPU)
    assert said.status == 0, said.err
    (entry,), maps = json.loads(Path("out/discard.json").read_text()), load_file("out/discard-maps.safetensors")
    assert entry["of"] == "cub-200-2011-1.5" and entry["boxes"] == "auto" and entry["image_shape"] == [3, SIZE, SIZE]
    inside = torch.zeros(5, SIZE, SIZE, dtype=torch.bool)
    inside[:, 2:10, 2:10] = True
    # The second class's box is 20 wide and 30 high from (0, 4): with the edge of the picture, 25x42 from (0, 0).
    middles = torch.arange(SIZE) + 0.5
    rows, columns = middles * 42 / SIZE, middles * 25 / SIZE
    inside[[1, 4]] = ((rows > 4) & (rows < 34))[:, None] & (columns < 20)
    assert torch.equal(maps["masks"].bool(), inside)
    network = zoo.load(there / "net").eval()
    images = sources.load("cub-200-2011-1.5", "test", root=there, image_size=SIZE).images[:5] / 255
    layer, seed = LayerFeatures(representation(network, "logits", (3, SIZE, SIZE))), derive(0, "discarding") % 2**31
    delta = feature_spread(layer, images, samples=4, seed=seed).mean
    found = discarded_information(layer, images, delta=delta, seed=seed, method="linear", grid=6, probes=4)
    expected = information_concentration(found.entropy, inside)
    scores = entry["scores"]["net"]["logits"]
    assert scores["concentration"] == pytest.approx(float(expected.mean()), abs=1e-4)


def test_the_boxes_alone_have_no_outside_but_masks_do(penult, there, tmp_path):
    words = ("analyse", "discard", there / "net", "--data-root", there, *QUICK, "--out", "out", *CPU)
    said = penult(*words, "--metrics", "concentration")
    assert said.status == 2 and said.err.count("\n") == 1
    assert "are the objects' boxes themselves" in said.err and "give --data cub-200-2011-1.5" in said.err
    assert not Path("out").exists()
    said = penult(*words, "--masks", "auto")
    assert said.status == 0, said.err
    masks = load_file("out/discard-maps.safetensors")["masks"]
    assert masks[0, :6].all() and not masks[0, 6:].any()  # the upper half of the box
    for more, what in (
        (("--masks", "auto", "--boxes", "auto"), "leave one out"),
        (("--masks", "elsewhere"), "or --masks auto where --data brings them"),
        (("--data", "digits", "--boxes", "auto"), "takes 3x12x12"),
        (("--images", there / "CUB_200_2011", "--boxes", "auto"), "does not say where its objects are"),
    ):
        said = penult(*words, *more)
        assert said.status == 2 and said.err.count("\n") == 1 and what in said.err, (more, said.err)


@pytest.mark.slow
def test_sheets_of_layers_and_shares_of_maps_take_them_too(penult, there, tmp_path):
    words = ("--data-root", there, "--images", 5, *CPU)
    layers = ("analyse", "layers", there / "net", "--taps", "logits", "--lenses", "concentration", "sid", *words)
    said = penult(*layers, "--data", "cub-200-2011-1.5", "--out", "wide")
    assert said.status == 0, said.err
    (wide,) = json.loads(Path("wide/layers.json").read_text())
    assert wide["scores"][str(there / "net")]["logits"]["concentration"]["images"] == 5
    said = penult(*layers, "--out", "boxes")
    assert said.status == 0, said.err
    (boxes,) = json.loads(Path("boxes/layers.json").read_text())
    assert "concentration" not in boxes["scores"][str(there / "net")]["logits"]
    assert "give --data cub-200-2011-1.5" in json.dumps(boxes)
    said = penult(*layers, "--boxes", "auto", "--out", "none")
    assert said.status == 2 and "give --data cub-200-2011-1.5" in said.err
    maps = ("analyse", "saliency", there / "net", "--methods", "full-jacobian", "--drawn", 1, *words)
    said = penult(*maps, "--data", "cub-200-2011-1.5", "--boxes", "auto", "--masks", "auto", "--out", "maps")
    assert said.status == 0, said.err
    assert "inside the box, which takes" in " ".join(said.out.split())


def test_birds_are_told_from_random_pictures(there):
    from PIL import Image

    (there / "random-images").mkdir()
    for number in range(5):
        Image.new("RGB", (30 + number, 20), (9, 9, 40 * number)).save(there / "random-images" / f"{number}.png")
    assert train(there, "birds-against-random", "two") == 0
    assert zoo.load(there / "two").class_names == ("bird", "random")
    assert train(there, "birds-against-random", "two") == 0  # finished, and the same images
    Image.new("RGB", (30, 20), (200, 9, 9)).save(there / "random-images" / "9.png")
    assert train(there, "birds-against-random", "two") == 2
