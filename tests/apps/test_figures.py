"""Pictures: every pixel where it belongs, every name within the frame."""

import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from apps.figures import PICTURE_SUFFIXES, grid, mosaic, reconstructions, rgb, scale_of, short_names, to_bytes
from priors.errors import InputError


def read(path: Path) -> np.ndarray:
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB"))


def drawn(rows: int, columns: int, *shape: int) -> torch.Tensor:
    return torch.rand(rows, columns, *shape, generator=torch.Generator().manual_seed(0)) * 0.8


def edges(pixels: np.ndarray) -> np.ndarray:
    return np.concatenate([pixels[0].ravel(), pixels[-1].ravel(), pixels[:, 0].ravel(), pixels[:, -1].ravel()])


def test_an_image_is_drawn_in_colours():
    grey = torch.tensor([[[0, 51], [102, 255]]], dtype=torch.uint8)
    assert rgb(grey).tolist() == [[[pytest.approx(one)] * 3 for one in row] for row in [[0, 0.2], [0.4, 1]]]
    colour = torch.arange(12, dtype=torch.uint8).view(3, 2, 2)
    assert rgb(colour)[1, 0].tolist() == [pytest.approx(one / 255) for one in (2, 6, 10)]


def test_a_scale_leaves_out_the_ends_and_what_is_not_finite():
    values = np.arange(1001.0)
    assert scale_of(values) == pytest.approx((5, 995))
    assert scale_of(np.concatenate([values, [np.nan, np.inf, -np.inf]])) == pytest.approx((5, 995))
    assert scale_of(np.full(4, 3.0)) == (3, 4) and scale_of(np.full(2, np.nan)) == (0, 1)


def test_levels_are_rounded_to_the_nearest():
    images = torch.tensor([[[[0.0, 1.0, 0.5, -3.0, 7.0, 100.6 / 255]]]])
    assert to_bytes(images).ravel().tolist() == [0, 255, 128, 0, 255, 101]
    assert to_bytes(torch.rand(4, 3, 5, 6)).shape == (4, 5, 6, 3)


def test_a_mosaic_keeps_every_pixel():
    images = drawn(2, 3, 3, 4, 5)
    sheet = mosaic(images, gap=2)
    assert sheet.shape == (2 * 6 - 2, 3 * 7 - 2, 3)
    assert (sheet[6:10, 7:12] == to_bytes(images)[1, 1]).all()
    assert (sheet[4:6] == 255).all() and (sheet[:, 5:7] == 255).all()


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 32, 32), (3, 224, 224), (1, 28, 20)])
def test_an_image_is_magnified_by_a_whole_number(tmp_path, shape):
    """Each image is in the picture exactly, each of its pixels as a square."""
    images = drawn(2, 3, *shape)
    grid(tmp_path / "a.png", [images], [""])
    picture = read(tmp_path / "a.png")
    inside = np.argwhere((picture < 250).any(-1))
    top, left = inside.min(0)
    wide = inside.max(0)[1] - left + 1
    scale = round(wide / (3 * (shape[2] + 1) - 1))
    first = to_bytes(images)[0, 0].repeat(scale, 0).repeat(scale, 1)
    found = picture[top : top + first.shape[0], left : left + first.shape[1]]
    assert (found == first).all()


LONG = [f"a class with a rather long name, number {number}" for number in range(3)]


@pytest.mark.parametrize(
    ("rows", "columns", "names", "title"),
    [
        (1, 1, None, ""),
        (1, 1, ["zero"], "a title that is much wider than its picture"),
        (3, 1, LONG, "title"),
        (3, 2, ["W" * 9, "$x$ & _^{", "\N{CJK UNIFIED IDEOGRAPH-72AC}"], "cost: 3 $ or 4 $"),
        (100, 8, [f"class {number}" for number in range(100)], ""),
        (2, 100, ["a", "b"], "wide"),
    ],
)
def test_nothing_is_clipped(tmp_path, rows, columns, names, title):
    """The frame of the picture is white all around: names and titles end before it."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        grid(tmp_path / "a.png", [drawn(rows, columns, 1, 8, 8)], [title], names)
    picture = read(tmp_path / "a.png")
    assert (edges(picture) == 255).all() and (picture < 128).any()
    if names:
        left = np.argwhere((picture < 128).any(-1))[:, 1].min()
        assert left < picture.shape[1] / 2


def test_panels_stand_side_by_side(tmp_path):
    grid(tmp_path / "one.png", [drawn(2, 3, 1, 8, 8)], ["a"], ["x", "y"])
    grid(tmp_path / "two.png", [drawn(2, 3, 1, 8, 8), drawn(2, 3, 1, 8, 8)], ["a", "b"], ["x", "y"])
    one, two = read(tmp_path / "one.png"), read(tmp_path / "two.png")
    assert one.shape[0] == two.shape[0] and 1.5 < two.shape[1] / one.shape[1] < 2.2


def test_too_many_images_are_refused(tmp_path):
    with pytest.raises(InputError, match="too many for one picture"):
        grid(tmp_path / "a.png", [torch.zeros(1, 9000, 1, 4, 4)], [""])
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("suffix", PICTURE_SUFFIXES)
def test_every_format(tmp_path, suffix):
    grid(tmp_path / f"a{suffix}", [drawn(2, 2, 3, 8, 8)], ["title"], ["a", "b"])
    start = (tmp_path / f"a{suffix}").read_bytes()[:512]
    marks = {".png": b"\x89PNG", ".pdf": b"%PDF", ".svg": b"<svg", ".webp": b"WEBP"}
    assert marks.get(suffix, b"\xff\xd8\xff") in start


def test_an_unknown_ending_is_refused(tmp_path):
    with pytest.raises(InputError, match="a picture ends in .png"):
        grid(tmp_path / "a.bmpp", [drawn(1, 1, 1, 8, 8)], [""])


def test_reconstructions_are_below_their_originals(tmp_path):
    black, white = torch.zeros(4, 1, 8, 8), torch.full((4, 1, 8, 8), 0.5)
    reconstructions(tmp_path / "a.png", black, white)
    picture = read(tmp_path / "a.png")
    column = picture[:, -30, 0]
    assert np.flatnonzero(column == 0).max() < np.flatnonzero((column > 100) & (column < 200)).min()


@pytest.mark.parametrize(
    ("names", "shown"),
    [
        (["mnist", "/data/of/mine/test.npz"], ["mnist", "test.npz"]),
        (["/data/one/test.npz", "/data/two/test.npz"], ["one/test.npz", "two/test.npz"]),
        (["/data/a", "/data/a", "/data/b/"], ["a", "a", "b"]),
        (["test", "/data/test"], ["test", "data/test"]),
        (["/"], ["/"]),
        (["x" * 12 + "y" * 12 + "z" * 12], ["x" * 12 + "\N{HORIZONTAL ELLIPSIS}" + "z" * 11]),
    ],
)
def test_long_names_are_told_apart_by_their_ends(names, shown):
    assert short_names(names) == shown and all(len(name) <= 24 for name in shown)


def test_names_that_differ_in_their_middle_alone_are_not_cut_alike():
    ends = "a-long-beginning", "a-long-ending"
    names = [f"runs/{ends[0]}-{middle}-{ends[1]}" for middle in ("one", "two", "two")]
    assert short_names(names) == [name.removeprefix("runs/") for name in names]
    assert len(short_names([*names, "other" * 6])[3]) == 24, "what is apart anyway is still cut"
