"""CUB-200-2011 in a folder as Caltech publishes it, against a plain reading of the same files by Pillow."""

import math
import re
from hashlib import blake2b
from pathlib import Path

import numpy as np
import pytest
import torch
from birds import CLASSES, COLOURS, EACH, lines_of, write_birds
from PIL import ExifTags, Image

from apps.data.batches import Batches, ordered
from apps.data.listing import list_datasets
from apps.data.resized_crop import ResizedCrop
from apps.data.sources import load, load_pictures
from priors.errors import InputError

GROWN = {"cub-200-2011": 1, "cub-200-2011-1.5": 1.5, "cub-200-2011-whole": None}
SPLITS = {"train": "1", "test": "0"}


@pytest.fixture
def root(tmp_path) -> Path:
    """A folder of data sets that has the birds."""
    write_birds(tmp_path / "CUB_200_2011")
    return tmp_path


def plain(root: Path, split: str, grown: float | None, size: int, side: int | None = None) -> dict[str, tuple]:
    """(pixels, label) by path, read one by one."""
    folder, found = root / "CUB_200_2011", {}
    files = [lines_of(folder, f"{name}.txt") for name in ("images", "image_class_labels", "train_test_split")]
    boxes = lines_of(folder, "bounding_boxes.txt")
    for number, (path,) in files[0].items():
        if files[2][number] != [SPLITS[split]]:
            continue
        image = Image.open(folder / "images" / path).convert("RGB")
        if grown is None:  # as torchvision's Resize and CenterCrop do
            sides = [int((side or size) * one / min(image.size)) for one in image.size]
            image = image.resize(sides, Image.Resampling.BILINEAR)
        else:
            x, y, width, height = map(float, boxes[number])
            left, right = x + width / 2 - grown * width / 2, x + width / 2 + grown * width / 2
            top, bottom = y + height / 2 - grown * height / 2, y + height / 2 + grown * height / 2
            image = image.crop(
                (
                    max(0, math.floor(left)),
                    max(0, math.floor(top)),
                    min(image.width, math.ceil(right)),
                    min(image.height, math.ceil(bottom)),
                )
            ).resize((side or size, side or size), Image.Resampling.BILINEAR)
        left, top = round((image.width - size) / 2), round((image.height - size) / 2)
        image = image.crop((left, top, left + size, top + size))
        found[path] = np.asarray(image).transpose(2, 0, 1), int(files[1][number][0]) - 1
    return found


@pytest.mark.parametrize("limit", [2**30, 0])
@pytest.mark.parametrize(("size", "side"), [(16, None), (16, 20)])
@pytest.mark.parametrize("name", GROWN)
@pytest.mark.parametrize("split", SPLITS)
def test_images_are_those_of_a_plain_reading(root, split, name, size, side, limit):
    found = load(name, split, root=root, image_size=size, resize=side, memory_limit=limit)
    assert found.in_memory is (limit > 0)
    assert (found.name, found.split, found.class_names, found.image_shape) == (name, split, CLASSES, (3, size, size))
    expected = plain(root, split, GROWN[name], size, side)
    pixels = torch.cat([batch.images for batch in ordered(found, 4, workers=0)]).mul(255).round().byte().numpy()
    # Each class has a turn, in the order of the numbers.
    count = EACH[0] if split == "train" else EACH[1]
    paths = sorted(expected)
    turns = [paths[label * count + at] for at in range(count) for label in range(len(CLASSES))]
    assert found.labels.tolist() == [expected[path][1] for path in turns]
    assert np.array_equal(pixels, np.stack([expected[path][0] for path in turns]))


def test_a_box_is_cut_out_whole_and_nothing_else(root):
    """By its colours: the stripe of a quarter, the bird, and no ground; with 1.5 the middle 4/9 are the box."""
    found = load("cub-200-2011", "train", root=root, image_size=24)
    for image, label in zip(found.images[:2].int(), (0, 1), strict=True):
        colour = torch.tensor(COLOURS[label])[:, None, None]
        stripe, bird = image[:, :, :5], image[:, :, 7:]
        assert (stripe > 225).all() and (bird - colour).abs().max() < 12
    grey = found.images[2]
    assert torch.equal(grey[0], grey[1]) and torch.equal(grey[0], grey[2]), "a grey file is in colour as well"
    wide = load("cub-200-2011-1.5", "train", root=root, image_size=24).images[0].int()
    ground = (wide - 128).abs().amax(0) < 20
    inside = torch.zeros(24, 24, dtype=torch.bool)
    inside[4:20, 4:20] = True  # 24 / 1.5 = 16 pixels
    assert ground[~inside].float().mean() > 0.98 and not ground[5:19, 5:19].any()


def test_a_box_is_of_the_picture_as_it_is_seen(root):
    """A camera that was held on its side says so in EXIF; sizes and boxes are of the picture when it is turned."""
    path = root / "CUB_200_2011" / "images" / CLASSES[0] / "bird_0001.jpg"
    tags = Image.Exif()
    tags[ExifTags.Base.Orientation] = 6
    whole = load("cub-200-2011", "train", root=root, image_size=24).images[0].int()
    Image.open(path).transpose(Image.Transpose.ROTATE_90).save(path, exif=tags, quality=100, subsampling=0)
    turned = load("cub-200-2011", "train", root=root, image_size=24).images[0].int()
    assert (whole - turned).abs().max() < 12


@pytest.mark.parametrize("limit", [2**30, 16 * 16 * 3 * 8, 0])
@pytest.mark.parametrize("name", [*GROWN, "birds-against-random"])
def test_the_first_images_are_those_of_the_whole(root, name, limit):
    """With one digest, in memory where the whole is; of others no file is looked at."""
    (root / "random-images").mkdir()
    for at in range(4):
        Image.new("RGB", (20, 30), (at, 60 * at, 90)).save(root / "random-images" / f"{at}.png")
    how = {"root": root, "image_size": 16, "memory_limit": limit}
    whole = load(name, "train", **how)
    later = root / "CUB_200_2011" / "images" / CLASSES[0] / "bird_0002.jpg"  # the fourth of the birds
    later.rename(later.with_suffix(".gone"))
    few = load(name, "train", first=3, **how)
    assert few.in_memory is whole.in_memory is (limit == 2**30)
    assert few.digest == whole.subset(range(3)).digest and few.labels.tolist() == whole.labels[:3].tolist()
    if few.objects is not None and name != "cub-200-2011":
        assert torch.equal(few.objects.from_boxes(), whole.objects.from_boxes()[:3])


def test_the_folder_itself_and_its_name_are_one_set(root):
    by_name, by_path = (
        load(where, "test", root=root, image_size=16) for where in ("cub-200-2011", root / "CUB_200_2011")
    )
    assert by_path.name == "CUB_200_2011" and by_name.digest == by_path.digest
    assert load_pictures(root / "CUB_200_2011", "test", image_size=16).digest == by_name.digest
    in_files = {
        load(name, "test", root=root, image_size=16, resize=side, memory_limit=0).digest
        for name in GROWN
        for side in (None, 20)
    }
    assert len(in_files) == 6, "what is cropped to another part, or brought to another size, is another set"


def test_random_parts_are_parts_of_the_box(root):
    """Of the crop at its own resolution: no ground is ever seen, though the pictures have most of it."""
    found = load("cub-200-2011", "train", root=root, image_size=16, memory_limit=0)
    batches = Batches(found, 9, seed=0, augmentation=ResizedCrop(flip=True), workers=0)
    for number in range(3):
        batch = batches.at(number)
        red = batch.images[batch.labels == 0]
        assert len(red) and not ((red - 128 / 255).abs().amax(1) < 0.05).any()


class TestObjects:
    """Boxes and masks that the set brings, where the pictures' own colours show them."""

    @pytest.mark.parametrize(("size", "side"), [(48, None), (48, 60)])
    @pytest.mark.parametrize("name", ["cub-200-2011-1.5", "cub-200-2011-whole"])
    def test_boxes_are_where_the_colours_are(self, root, name, size, side):
        found = load(name, "test", root=root, image_size=size, resize=side)
        boxes = found.objects.from_boxes()
        grown = torch.nn.MaxPool2d(3, 1, 1)
        for image, box in zip(found.images[:2].int(), boxes[:2], strict=True):
            coloured = (image - 128).abs().amax(0) > 50
            assert box.any() and not box.all()
            around, within = (grown(one[None].float())[0] > 0 for one in (box, ~box))
            # Compression and resizing blur an edge by a pixel.
            assert not (coloured & ~around).any() and not (~coloured & ~within).any()
        part = found.subset([4, 1]).objects
        assert torch.equal(part.from_boxes(), boxes[[4, 1]])

    def test_a_box_of_1_5_times_itself_is_the_middle(self, root):
        box = load("cub-200-2011-1.5", "test", root=root, image_size=24).objects.from_boxes()[0]
        assert box.sum() == 16 * 16 and box[4:20, 4:20].all()

    def test_nothing_is_outside_of_a_box_that_is_all(self, root):
        found = load("cub-200-2011", "test", root=root, image_size=24)
        with pytest.raises(InputError, match=r"the objects' boxes themselves.*give --data cub-200-2011-1\.5, which"):
            found.objects.from_boxes()
        found = load(root / "CUB_200_2011", "test", image_size=24)
        with pytest.raises(InputError, match=re.escape(f"--data cub-200-2011-1.5 --data-root {root.resolve()}")):
            found.objects.from_boxes()

    @pytest.mark.parametrize("beside", [False, True])
    @pytest.mark.parametrize("name", GROWN)
    def test_masks_go_where_the_pictures_go(self, tmp_path, name, beside):
        """The upper half of the box; of levels, those that most people agree on."""
        folder = tmp_path / "CUB_200_2011"
        write_birds(folder, (tmp_path if beside else folder) / "segmentations")
        found = load(name, "test", root=tmp_path, image_size=24)
        masks = found.objects.from_masks()
        assert masks.shape == (6, 24, 24) and masks.flatten(1).any(1).all() and not masks.flatten(1).all(1).any()
        if name == "cub-200-2011":
            assert masks[0, :12].all() and not masks[0, 12:].any()
        else:
            boxes = found.objects.from_boxes()
            assert not (masks & ~boxes).any()
            assert masks[0].sum() / boxes[0].sum() == pytest.approx(0.5, abs=0.1)

    def test_faults(self, root):
        found = load("cub-200-2011-1.5", "test", root=root, image_size=24)
        with pytest.raises(InputError, match="has no folder segmentations, nor is one beside it: Caltech publishes it"):
            found.objects.from_masks()
        (root / "segmentations" / CLASSES[0]).mkdir(parents=True)
        found = load("cub-200-2011-1.5", "test", root=root, image_size=24)
        with pytest.raises(InputError, match=r"segmentations/001.Red_bird/bird_0004.png is missing: put it back"):
            found.objects.from_masks()
        Image.new("L", (7, 9)).save(root / "segmentations" / CLASSES[0] / "bird_0004.png")
        with pytest.raises(
            InputError, match=r"bird_0004.png is 9x7 pixels, and its picture .*bird_0004.jpg 40x48: masks"
        ):
            found.objects.from_masks()


class TestAgainstRandom:
    """Birds and any other pictures."""

    NAME = "birds-against-random"

    @pytest.fixture
    def both(self, root) -> Path:
        for at in range(40):
            place = root / "random-images" / f"n{at % 3}" / "deep"
            place.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (20 + at, 30), (at, 255 - at, 90)).save(place / f"{at}.png")
        return root

    def test_the_rule_is_the_one_that_is_written(self, both):
        """As many random pictures as birds, by blake2b of their paths, and as large a part of them to train on."""
        paths = [path.relative_to(both / "random-images").as_posix() for path in both.rglob("random-images/**/*.png")]
        chosen = sorted(paths, key=lambda path: blake2b(path.encode(), digest_size=8).digest())[:15]
        for split, own, birds in (("train", chosen[:9], 9), ("test", chosen[9:], 6)):
            found = load(self.NAME, split, root=both, image_size=12)
            assert found.class_names == ("bird", "random") and found.labels.tolist() == [0, 1] * birds
            alone = load("cub-200-2011", split, root=both, image_size=12)
            assert torch.equal(found.images[::2], alone.images)
            pixels = [
                np.asarray(Image.open(both / "random-images" / path).resize((12, 12), Image.Resampling.BILINEAR))
                for path in own
            ]
            assert np.array_equal(found.images[1::2].numpy(), np.stack(pixels).transpose(0, 3, 1, 2))
        in_files = load(self.NAME, "test", root=both, image_size=12, memory_limit=0)
        assert torch.equal(torch.stack([in_files.images.read(at) for at in range(12)]), found.images)

    def test_few_pictures_are_divided_as_the_birds_are(self, both):
        for path in sorted((both / "random-images").rglob("*.png"))[10:]:
            path.unlink()
        counts = [int(load(self.NAME, split, root=both, image_size=12).labels.sum()) for split in SPLITS]
        assert counts == [6, 4]

    def test_faults(self, both):
        with pytest.raises(InputError, match="the pictures of birds-against-random differ in size: give --image-size"):
            load(self.NAME, "train", root=both)
        for path in sorted((both / "random-images").rglob("*.png"))[1:]:
            path.unlink()
        with pytest.raises(InputError, match=r"random-images holds 1 image .*one or more to train on and one or more"):
            load(self.NAME, "train", root=both, image_size=12)
        (both / "random-images").rename(both / "others")
        with pytest.raises(InputError, match=r"a folder of any other pictures, or a link to one, there as .*random-im"):
            load(self.NAME, "train", root=both, image_size=12)


def changed(root: Path, name: str, old: str, new: str) -> None:
    path = root / "CUB_200_2011" / name
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


FAULTS = {
    "no box": ("bounding_boxes.txt", "\n4 ", "\n40 ", "bounding_boxes.txt has no line for image 4, which is 001"),
    "one box more": (
        "bounding_boxes.txt",
        "1 8.0",
        "99 1 1 5 5\n1 8.0",
        "boxes.txt, line 1: image 99 is not in images",
    ),
    "three numbers": ("bounding_boxes.txt", "1 8.0 6.0", "1 8.0", "boxes.txt, line 1: '1 8.0 24.0 16.0', expected the"),
    "no number": ("bounding_boxes.txt", "1 8.0", "1 left", "boxes.txt, line 1: left 6.0 24.0 16.0 is no box, expected"),
    "no end": ("bounding_boxes.txt", "1 8.0", "1 nan", "boxes.txt, line 1: nan 6.0 24.0 16.0 is no box"),
    "no width": ("bounding_boxes.txt", "24.0", "0.0", "boxes.txt, line 1: 8.0 6.0 0.0 16.0 is no box"),
    "outside": ("bounding_boxes.txt", "1 8.0 6.0", "1 90 6.0", "line 1: the box .* lies beside its picture images/001"),
    "beside": (
        "bounding_boxes.txt",
        "1 8.0 6.0 24.0",
        "1 48.5 6.0 0.3",
        "line 1: the box .* lies beside its picture images/001",
    ),
    "twice": ("images.txt", "\n2 ", "\n1 ", "images.txt, line 2: number 1 was there before"),
    "one file twice": (
        "images.txt",
        "bird_0002",
        "bird_0001",
        "images.txt, line 2: images/.*0001.jpg is image 1 already",
    ),
    "negative": ("images.txt", "\n2 ", "\n-2 ", "images.txt, line 2: '-2 001.*', expected the number of an image and"),
    "long": (
        "images.txt",
        "\n2 ",
        f"\n{'2' * 5000} ",
        "images.txt, line 2: .222.*, expected the number of an",
    ),
    "a label": (
        "image_class_labels.txt",
        "\n2 1",
        "\n2 4",
        "labels.txt, line 2: class 4, expected 1 to 3 as in classes",
    ),
    "a name": ("image_class_labels.txt", "\n2 1", "\n2 red", "labels.txt, line 2: class red, expected 1 to 3"),
    "a split": ("train_test_split.txt", "\n2 1", "\n2 2", "split.txt, line 2: 2, expected 1 .training. or 0 .testing."),
    "no test": (
        "train_test_split.txt",
        "4 0\n5 0",
        "4 1\n5 1",
        "class 1 .001.Red_bird. has no test images, see train_",
    ),
    "a gap": ("classes.txt", "3 003", "4 003", "classes.txt, line 3: class 4 where 3 was expected"),
}


@pytest.mark.parametrize(("name", "old", "new", "said"), FAULTS.values(), ids=FAULTS)
def test_a_line_that_is_wrong_is_named(root, name, old, new, said):
    changed(root, name, old, new)
    with pytest.raises(InputError, match=said) as caught:
        load("cub-200-2011", "train", root=root, image_size=16)
    assert "\n" not in str(caught.value)


def test_a_pixel_more_is_cut_off(root):
    changed(root, "bounding_boxes.txt", "1 8.0 6.0 24.0 16.0", "1 25.0 6.0 24.0 16.0")
    found = load("cub-200-2011", "train", root=root, image_size=16, memory_limit=0)
    assert found.images.crops[0] == (25, 6, 48, 22)


def test_a_box_that_sticks_out_is_cut_off_and_told(root, caplog):
    """One box of 11,788 should not keep anybody from the set."""
    changed(root, "bounding_boxes.txt", "1 8.0 6.0 24.0 16.0", "1 30.0 6.0 24.0 16.0")
    found = load("cub-200-2011", "train", root=root, image_size=16, memory_limit=0)
    assert found.images.crops[0] == (30, 6, 48, 22)
    assert "The box of 1 picture in" in caplog.text and "is cut at the edge" in caplog.text


def test_what_is_missing_is_named(root, tmp_path):
    folder = root / "CUB_200_2011"
    with pytest.raises(InputError, match="the pictures of cub-200-2011 differ in size: give --image-size, such as 224"):
        load("cub-200-2011", "train", root=root)
    with pytest.raises(InputError, match="--resize 8: nothing of 16x16 can be cut out of that"):
        load("cub-200-2011", "train", root=root, image_size=16, resize=8)
    picture = folder / "images" / CLASSES[1] / "bird_0006.jpg"
    picture.write_bytes(picture.read_bytes()[:50])
    with pytest.raises(InputError, match=r"bird_0006.jpg is damaged"):
        load("cub-200-2011", "train", root=root, image_size=16)
    picture.unlink()
    with pytest.raises(InputError, match=r"bird_0006.jpg is missing: put it back"):
        load("cub-200-2011", "train", root=root, image_size=16)
    (folder / "train_test_split.txt").write_bytes(b"\xff\xfe")
    with pytest.raises(InputError, match="train_test_split.txt is damaged: it is no text"):
        load("cub-200-2011", "train", root=root, image_size=16)
    (folder / "train_test_split.txt").write_text("\n")
    with pytest.raises(InputError, match="train_test_split.txt is empty: lines with the number of an image and 1"):
        load("cub-200-2011", "train", root=root, image_size=16)
    (folder / "train_test_split.txt").unlink()
    (folder / "classes.txt").unlink()
    with pytest.raises(
        InputError, match=r"CUB_200_2011 has no classes.txt, train_test_split.txt: CUB-200-2011 was exp"
    ):
        load(folder, "train", image_size=16)
    folder.rename(root / "elsewhere")
    with pytest.raises(InputError, match=r"cub-200-2011-whole is not downloaded: put Caltech's CUB-200-2011 there as "):
        load("cub-200-2011-whole", "train", root=root, image_size=16)


def test_the_list_of_data_sets_says_whether_it_is_here(root, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")

    def here() -> dict[str, str]:
        list_datasets(root)
        rows = [line.split() for line in capsys.readouterr().out.splitlines()]
        return {row[0]: " ".join(row[-5:]) for row in rows if row and row[0] in {*GROWN, "birds-against-random"}}

    assert here() == dict.fromkeys(GROWN, "size 200 5,994 5,794 yes") | {"birds-against-random": "size 2 - - no"}
    (root / "random-images").mkdir()
    (root / "CUB_200_2011" / "classes.txt").rename(root / "classes.txt")
    assert {row.split()[-1] for row in here().values()} == {"no"}
    (root / "classes.txt").rename(root / "CUB_200_2011" / "classes.txt")
    assert {row.split()[-1] for row in here().values()} == {"yes"}
