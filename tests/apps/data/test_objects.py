"""Masks and boxes of objects, where the pictures' own geometry puts them."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from apps.data.objects import box_mask, divided, read_boxes, read_masks
from apps.data.picture import read_picture
from apps.data.sources.folder import read_pictures
from priors.errors import InputError

SIZES = [(40, 60), (61, 37), (50, 50)]
PLACES = [(32, None), (24, 32), (32, 41)]
ORIENTATION = 0x0112


def disc(height: int, width: int) -> np.ndarray:
    """A white ellipse off the middle, on black."""
    rows, columns = np.mgrid[:height, :width]
    return np.where(((rows - 0.4 * height) / 14) ** 2 + ((columns - 0.55 * width) / 9) ** 2 < 1, 255, 0).astype("uint8")


@pytest.fixture
def there(tmp_path) -> Path:
    for name in ("images", "masks"):
        (tmp_path / name).mkdir()
    return tmp_path


@pytest.mark.parametrize(("size", "shorter"), PLACES)
@pytest.mark.parametrize("side", SIZES)
def test_a_mask_goes_where_its_picture_goes(there, side, size, shorter):
    """A picture that shows its own mask shows it after both were brought to a size, to the pixel."""
    Image.fromarray(disc(*side)).save(there / "images" / "one.bmp")
    Image.fromarray(np.minimum(disc(*side), 1)).save(there / "masks" / "one.png")  # whatever is not black is inside
    picture = there / "images" / "one.bmp"
    (mask,) = read_masks(there / "masks", [picture], size, shorter)
    assert mask.any() and not mask.all()
    assert torch.equal(mask, read_picture(picture, (1, size, size), shorter)[0] >= 0.5)
    folder = read_pictures(there / "images", image_size=size, resize=shorter, memory_limit=1 << 30)
    assert torch.equal(mask, folder.images[0, 0] >= 128)


@pytest.mark.parametrize(("size", "shorter"), PLACES)
@pytest.mark.parametrize("side", SIZES)
def test_a_box_goes_where_its_picture_goes(there, side, size, shorter):
    """The same of a box with edges between pixels: its columns and rows, drawn ten times as fine."""
    x0, y0, x1, y1 = box = (8.3, 10.2, 0.7 * side[1], 0.8 * side[0])
    picture = there / "images" / "one.png"
    Image.fromarray(np.zeros(side, np.uint8)).save(picture)
    (there / "boxes.json").write_text(json.dumps({"one.png": box}))
    (mask,) = read_boxes(there / "boxes.json", [picture], size, shorter)
    drawn = []
    for part in (np.s_[:, round(10 * x0) : round(10 * x1)], np.s_[round(10 * y0) : round(10 * y1)]):
        fine = np.zeros((10 * side[0], 10 * side[1]), np.uint8)
        fine[part] = 255
        Image.fromarray(fine).save(there / "fine.png")
        drawn.append(read_picture(there / "fine.png", (1, size, size), shorter)[0])
    drawn = torch.minimum(*drawn)
    differs = mask != (drawn >= 0.5)
    assert mask.any() and not mask.all()
    assert ((drawn[differs] - 0.5).abs() < 0.05).all()  # an edge through the middle of a pixel, to rounding


def test_pictures_of_cameras_are_turned_before_masks_and_boxes_are_looked_for(there):
    picture, tags = there / "images" / "one.jpg", Image.Exif()
    tags[ORIENTATION] = 6
    seen = disc(60, 40)
    Image.fromarray(seen).transpose(Image.Transpose.ROTATE_90).save(picture, exif=tags, quality=100)
    Image.fromarray(seen).save(there / "masks" / "one.png")
    (mask,) = read_masks(there / "masks", [picture], 32)
    shown = read_picture(picture, (1, 32, 32))[0]
    assert ((shown >= 0.5) == mask).float().mean() > 0.99
    (there / "boxes.json").write_text('{"one": [0, 40, 40, 60]}')
    (box,) = read_boxes(there / "boxes.json", [picture], 40)
    assert not box[:30].any() and box[30:].all()


def test_a_box_grows_about_its_middle_and_stays_in_the_picture():
    assert torch.equal(box_mask((4, 2, 8, 6), 20, 20, 20, grown=1.5), box_mask((3, 1, 9, 7), 20, 20, 20))
    assert box_mask((0, 0, 10, 20), 20, 20, 20, grown=3.0).all()


def test_masks_and_boxes_are_found_by_name_and_folder(there):
    pictures = []
    for at, name in enumerate(("a/1.jpg", "b/1.jpg", "b/2.v1.jpg")):
        for place in (there / "images" / name, (there / "masks" / name).with_suffix(".png")):
            place.parent.mkdir(exist_ok=True)
            levels = np.zeros((8, 8), np.uint8)
            levels[:, : 2 + at] = 255
            Image.fromarray(levels).save(place)
        pictures.append(there / "images" / name)
    masks = read_masks(there / "masks", pictures, 8)
    assert masks.sum((1, 2)).tolist() == [16, 24, 32]
    given = {"a/1.jpg": [0, 0, 2, 8], "b/1": [0, 0, 3, 8], "2.v1": [0, 0, 4, 8], "of no picture": "ignored"}
    (there / "boxes.json").write_text(json.dumps(given))
    assert torch.equal(read_boxes(there / "boxes.json", pictures, 8), masks)
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(there / "masks" / "1.gif")
    assert torch.equal(read_masks(there / "masks", pictures, 8), masks)  # those in folders of that name are nearer
    (there / "boxes.json").write_text('{"1": [0, 0, 1, 1]}')
    with pytest.raises(InputError, match=r"a/1.jpg and .*b/1.jpg have the same box in .*boxes.json, 1: call"):
        read_boxes(there / "boxes.json", pictures[:2], 8)


def test_which_masks_are_of_use():
    masks = torch.zeros(3, 4, 4, dtype=torch.bool)
    masks[1, 0, 0], masks[2] = True, True
    assert divided(masks).tolist() == [False, True, False]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ('{"one.png": [1, 2, 3]}', r"'one.png': \[1, 2, 3\] is no box; x0, y0, x1, y1 were expected"),
        ('{"one.png": [1, 2, true, 4]}', "is no box"),
        ('{"one.png": {"x0": 1}}', "is no box"),
        ('{"one.png": []}', "is no box"),
        ('{"one.png": [5, 2, 5, 4]}', "x0 < x1"),
        ('{"one.png": [1, 2, 15, 4]}', "sticks out of its picture, which is 12 pixels wide and 10 high"),
        ('{"one.png": [-3, 2, 5, 4]}', "sticks out"),
        ('{"other.png": [1, 2, 3, 4]}', "has no box in .*: one called one was expected"),
        ('{"one.png": [1, 2, 3, 4], "one": [1, 2, 3, 4]}', "more than one box in .*: one.png and one;"),
        ("[1]", "holds a list"),
        ("{", "is not a readable file of boxes"),
    ],
)
def test_what_is_no_box_is_one_line(there, given, said):
    picture = there / "images" / "one.png"
    Image.fromarray(np.zeros((10, 12), np.uint8)).save(picture)
    (there / "boxes.json").write_text(given)
    with pytest.raises(InputError, match=said) as caught:
        read_boxes(there / "boxes.json", [picture], 8)
    assert "\n" not in str(caught.value)


def test_masks_that_do_not_fit_are_one_line(there):
    picture = there / "images" / "one.png"
    Image.fromarray(np.zeros((10, 12), np.uint8)).save(picture)
    with pytest.raises(InputError, match="has no mask in .*: one called one was expected"):
        read_masks(there / "masks", [picture], 8)
    Image.fromarray(np.zeros((12, 10), np.uint8)).save(there / "masks" / "one.png")
    with pytest.raises(InputError, match=r"the mask .* is 12x10 pixels, and its picture .* 10x12"):
        read_masks(there / "masks", [picture], 8)
    Image.fromarray(np.zeros((10, 12), np.uint8)).save(there / "masks" / "one.bmp")
    with pytest.raises(InputError, match="more than one mask in"):
        read_masks(there / "masks", [picture], 8)
    with pytest.raises(InputError, match="is no folder"):
        read_masks(there / "nowhere", [picture], 8)
