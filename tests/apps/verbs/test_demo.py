"""The demo, shortened: the whole path in one command, and again where it was stopped."""

import re

import numpy as np
from PIL import Image

WORDS = ["demo", "--epochs", 1, "--latent-dim", 3, "--samples", 5, "--device", "cpu", "--threads", 1]


def test_the_demo_goes_the_whole_path_and_says_what_to_type_next(penult, tmp_path):
    said = penult(*WORDS)
    assert said.status == 0, said.err
    names = {
        "demo-digits-classifier",
        "demo-digits-hvae",
        "demo-digits-hvae-c",
        "demo-digits-hvae-l",
        "demo-digits.png",
    }
    runs = tmp_path / "runs"
    assert {path.name for path in runs.iterdir()} == names
    assert [line[0] for line in said.out.splitlines() if re.match(r"\d/4  ", line)] == ["1", "2", "3", "4"]
    for model in ("HVAE", "HVAE-C", "HVAE-L"):
        assert re.search(rf"^{model} +-\d+\.\d\d .*-\d+\.\d\d \+- \d\.\d\d$", said.out, re.M)
    assert said.out.count("Next:") == 1, "only the end says what to type next"
    assert "runs/demo-digits.png" in said.out.splitlines()[-2]
    with Image.open(runs / "demo-digits.png") as picture:
        pixels = np.asarray(picture.convert("L"))
    assert pixels.shape[1] > 2 * pixels.shape[0] and pixels.std() > 10

    command = said.out.splitlines()[-1].removeprefix("Next: penult ").partition(",")[0]
    assert penult(*command.split()).status == 0 and (tmp_path / "grid.png").is_file()

    before = {path: path.stat().st_mtime_ns for path in runs.rglob("model.safetensors")}
    again = penult(*WORDS)
    assert again.status == 0 and again.out.count("finished already") == 4
    assert {path: path.stat().st_mtime_ns for path in runs.rglob("model.safetensors")} == before
    assert table_of(again.out) == table_of(said.out)


def table_of(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith("HVAE")]


def test_the_demo_takes_other_images(penult, tmp_path):
    """Grey pictures of three classes, 6 x 7 pixels, from an archive."""
    stream = np.random.default_rng(0)
    images = stream.integers(0, 256, (60, 6, 7), np.uint8)
    labels = np.arange(60) % 3
    np.savez("mine.npz", x_train=images, y_train=labels, x_test=images, y_test=labels, classes=["ant", "bee", "cow"])
    said = penult(*WORDS, "--data", "mine.npz", "--runs", "there")
    assert said.status == 0, said.err
    assert (tmp_path / "there" / "demo-mine.png").is_file() and "bee" in said.out
    assert not (tmp_path / "runs").exists()


def test_the_demo_refuses_what_it_cannot_do(penult, tmp_path):
    for words, expected in (
        (["--data", "dgits"], "did you mean 'digits'"),
        (["--epochs", 0], "--epochs"),
        (["--epochs", -2], "--epochs"),
        (["--latent-dim", 0], "--latent-dim 0"),
        (["--samples", 0], "--samples 0"),
        (["--concentration", -1], "-1"),
        (["--concentration", "nan"], "nan"),
    ):
        said = penult("demo", *words)
        assert said.status == 2 and said.err.count("\n") == 1 and expected in said.err, said.err
    assert not (tmp_path / "runs").exists()
