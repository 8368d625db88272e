"""Data sets in folders of image files, in memory and decoded as they are needed."""

import os

import numpy as np
import pytest
import torch
from PIL import ExifTags, Image, ImageOps
from torchvision.transforms import v2

from apps.data.augment import Augmentation
from apps.data.batches import Batches, ordered
from apps.data.image_set import channel_statistics
from apps.data.outliers import outliers
from apps.data.picture import read_picture
from apps.data.sources import load, load_pictures
from apps.data.sources.decoding import centre, decoded, opened
from priors.errors import InputError

CLASSES = ("ant", "bee")


@pytest.fixture
def folder(tmp_path):
    """11 training images and 4 test images of 6x5 pixels, RGB."""
    rng = np.random.default_rng(0)
    for split, counts in (("train", (6, 5)), ("test", (2, 2))):
        for name, count in zip(CLASSES, counts, strict=True):
            (tmp_path / "insects" / split / name).mkdir(parents=True)
            for i in range(count):
                pixels = rng.integers(0, 256, (6, 5, 3), np.uint8)
                Image.fromarray(pixels).save(tmp_path / "insects" / split / name / f"{i}.png")
    return tmp_path / "insects"


def test_images_in_memory(folder):
    (folder / "train" / "ant" / "notes.txt").write_text("not an image")
    (folder / "train" / "ant" / ".hidden.png").write_text("not an image")
    found = load(folder, "train")
    assert found.in_memory and found.image_shape == (3, 6, 5)
    assert (found.name, found.class_names, found.labels.tolist()) == ("insects", CLASSES, [0] * 6 + [1] * 5)
    expected = np.asarray(Image.open(folder / "train" / "bee" / "4.png")).transpose(2, 0, 1)
    assert np.array_equal(found.images[10].numpy(), expected)
    assert len(load(folder, "test")) == 4


def test_images_in_folders_of_folders_and_grey(folder):
    for path in sorted(folder.rglob("*.png")):
        grey = Image.open(path).convert("L")
        path.unlink()
        (path.parent / "images").mkdir(exist_ok=True)
        grey.save(path.parent / "images" / path.name)
    found = load(folder, "train")
    assert found.image_shape == (1, 6, 5)
    expected = np.asarray(Image.open(folder / "train" / "ant" / "images" / "0.png"))
    assert np.array_equal(found.images[0, 0].numpy(), expected)
    # One colour image among them, and all are RGB.
    for split in ("train", "test"):
        Image.new("RGB", (5, 6), (1, 2, 3)).save(folder / split / "ant" / "images" / "0.png")
    found = load(folder, "train")
    assert found.image_shape == (3, 6, 5) and found.images[0, :, 0, 0].tolist() == [1, 2, 3]


def test_sizes_that_differ_need_an_image_size(folder):
    Image.new("RGB", (9, 12)).save(folder / "train" / "bee" / "9.png")
    with pytest.raises(InputError, match=r"0.png is 6x5, .*9.png is 12x9\): give an image size \(--image-size\)"):
        load(folder, "train")
    with pytest.raises(InputError, match="image size 0"):
        load(folder, "train", image_size=0)
    found = load(folder, "train", image_size=4)
    assert found.image_shape == (3, 4, 4)
    # torchvision's usual pair of transforms, on the same file.
    path = folder / "train" / "ant" / "3.png"
    usual = v2.Compose([v2.Resize(4), v2.CenterCrop(4), v2.PILToTensor()])(Image.open(path))
    assert torch.equal(found.images[3], usual)


@pytest.mark.parametrize("limit", [10**9, 6 * 5 * 3 * 10, 0])
def test_the_first_images_are_those_of_the_whole(folder, limit):
    """With one digest, and in memory where the whole is."""
    whole = load(folder, "train", memory_limit=limit)
    few = load(folder, "train", memory_limit=limit, first=4)
    assert few.in_memory is whole.in_memory is (limit == 10**9)
    assert few.digest == whole.subset(range(4)).digest and few.labels.tolist() == whole.labels[:4].tolist()
    assert load(folder, "train", first=400).digest == load(folder, "train").digest
    digits = load("digits", "test", first=4)
    assert digits.digest == load("digits", "test").subset(range(4)).digest and len(digits) == 4


@pytest.mark.parametrize("limit", [10**9, 0])
def test_the_centre_is_cut_out_of_a_larger_one(folder, limit):
    """As ImageNet is tested on: 256 and 224."""
    Image.effect_mandelbrot((23, 31), (-2, -1.5, 1, 1.5), 60).convert("RGB").save(folder / "train" / "ant" / "3.png")
    found = load(folder, "train", image_size=14, resize=16, memory_limit=limit)
    usual = v2.Compose([v2.Resize(16), v2.CenterCrop(14), v2.PILToTensor()])
    pixels = found.images if limit else found.images.read_all()
    for image, name in ((pixels[3], "3"), (pixels[0], "0")):
        assert torch.equal(image, usual(Image.open(folder / "train" / "ant" / f"{name}.png")))
    digests = {load(folder, "train", image_size=14, resize=side, memory_limit=limit).digest for side in (None, 15, 16)}
    assert len(digests) == 3
    assert found.image_shape == (3, 14, 14) and found.subset([3]).digest != load(folder, "train", image_size=14).digest


def test_a_margin_that_cannot_be_is_refused(folder):
    with pytest.raises(InputError, match=r"--resize 8: nothing of 9x9 can be cut out of that"):
        load(folder, "train", image_size=9, resize=8)
    with pytest.raises(InputError, match=r"--resize 8 without --image-size"):
        load_pictures(folder / "train" / "ant", "train", resize=8)
    with pytest.raises(InputError, match=r"--resize 8: only image folders are resized, and digits is none"):
        load("digits", "train", resize=8)


def test_files_and_memory_give_the_same(folder):
    memory, files = load(folder, "train"), load(folder, "train", memory_limit=100)
    assert not files.in_memory and files.image_shape == memory.image_shape
    assert channel_statistics(files) == channel_statistics(memory)
    assert files.digest == load(folder, "train", memory_limit=100).digest != files.subset([1, 0]).digest
    for workers in (0, 1):
        for a, b in zip(ordered(memory, 4), ordered(files, 4, workers=workers), strict=True):
            assert torch.equal(a.images, b.images) and torch.equal(a.labels, b.labels) and a.number == b.number
    augmentation = Augmentation(flip=True, padding=1)
    a = Batches(memory, 8, 3, augmentation=augmentation)
    b = Batches(files, 8, 3, augmentation=augmentation, workers=1)
    # In order, again, back, and in micro-batches: only what is in order comes from the same stream.
    for place in [(0,), (1,), (2,), (2,), (0,), (1, 0, 2), (1, 1, 2), (2, 0, 2), (9, 3, 4)]:
        x, y = a.at(*place), b.at(*place)
        assert torch.equal(x.images, y.images) and torch.equal(x.index, y.index) and torch.equal(x.labels, y.labels)
    part = files.subset([10, 0])
    assert torch.equal(next(ordered(part, 2, workers=0)).images, next(ordered(memory.subset([10, 0]), 2)).images)


@pytest.mark.parametrize(("limit", "workers"), [(10**9, 0), (100, 0), (100, 1)])
def test_a_damaged_image_is_named(folder, limit, workers):
    path = folder / "train" / "ant" / "2.png"
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(InputError, match="2.png is damaged, it cannot be decoded") as caught:
        list(ordered(load(folder, "train", memory_limit=limit), 4, workers=workers))
    assert "\n" not in str(caught.value)
    path.write_bytes(b"not an image")
    with pytest.raises(InputError, match="2.png is damaged or not an image"):
        load(folder, "train", memory_limit=limit)


def test_a_file_that_changes_later_is_named(folder):
    files = load(folder, "train", memory_limit=100)
    Image.new("RGB", (9, 9)).save(folder / "train" / "ant" / "1.png")
    with pytest.raises(InputError, match="1.png is 9x9, but the images of this set are 6x5"):
        list(ordered(files, 4, workers=0))
    (folder / "train" / "ant" / "1.png").unlink()
    with pytest.raises(InputError, match="1.png is missing"):
        list(ordered(files, 4, workers=0))


def test_pixels_of_more_than_8_bits_are_refused(folder):
    Image.fromarray(np.zeros((6, 5), np.uint16)).save(folder / "train" / "ant" / "0.png")
    with pytest.raises(InputError, match="0.png has pixels of more than 8 bits"):
        load(folder, "train")


@pytest.mark.parametrize("way", ["outliers", "read_picture", "after a colour image", "not looked at", "in files"])
def test_deeper_pixels_are_refused_by_every_reader(folder, monkeypatch, way):
    """A plain conversion cuts them off: what is lighter than 255 of 65,535 would be white."""
    Image.fromarray(np.full((6, 5), 300, np.uint16)).save(path := folder / "train" / "bee" / "4.png")
    if way == "not looked at":
        monkeypatch.setattr("apps.data.sources.stored_images._LOOKED_AT", 1)
    with pytest.raises(InputError, match="4.png has pixels of more than 8 bits"):
        match way:
            case "outliers":
                outliers(str(folder / "train"), (3, 6, 6), 1)
            case "read_picture":
                read_picture(path, (3, 6, 6))
            case "not looked at":
                load(folder, "train", image_size=4)
            case _:
                load(folder, "train", memory_limit=0 if way == "in files" else 10**9)


@pytest.mark.parametrize("kind", ["eps", "pcx", "ico"])
def test_other_formats_are_refused_whatever_they_are_called(folder, monkeypatch, kind):
    """PostScript above all, which another program would be started for."""
    monkeypatch.setattr("subprocess.check_call", lambda *_, **__: 1 / 0)
    path = folder / "train" / "ant" / "0.png"
    Image.new("RGB", (16, 16)).save(path.with_suffix(f".{kind}"))
    path.with_suffix(f".{kind}").rename(path)
    with pytest.raises(InputError, match=r"0.png is damaged or not an image \(PNG, JPEG, "):
        load(folder, "train")


@pytest.mark.parametrize("kind", ["bmp", "gif", "webp", "ppm", "tiff", "jpg", "mpo"])
def test_the_content_says_the_format(folder, kind):
    for path in sorted(folder.rglob("*.png")):
        Image.open(path).save(path.with_suffix(f".{kind}"))
        path.with_suffix(f".{kind}").rename(path)
    assert load(folder, "train").image_shape == (3, 6, 5)


def test_a_transparent_palette_gives_its_colours(folder):
    """Pillow's own way is by RGBA; straight to RGB it warns."""
    path = folder / "train" / "ant" / "0.png"
    image = Image.open(path).convert("P")
    image.save(path, transparency=bytes(range(0, 256, 2)))
    found = load(folder, "train").images[0]
    assert np.array_equal(found, np.asarray(Image.open(path).convert("RGBA"))[..., :3].transpose(2, 0, 1))


def test_an_animation_is_its_first_picture(folder):
    frames = [Image.new("RGB", (5, 6), (shade, shade, 0)) for shade in (200, 9)]
    for ending in ("png", "gif", "webp"):
        frames[0].save(folder / "train" / "bee" / f"9.{ending}", save_all=True, append_images=frames[1:], lossless=True)
        found = load(folder, "train").images[-1]
        assert found[:, 0, 0].tolist() == [200, 200, 0]
        (folder / "train" / "bee" / f"9.{ending}").unlink()


def test_hidden_folders_are_left_out_and_that_is_said_once(folder, monkeypatch, caplog):
    """What notebooks and version control keep beside pictures is no picture of the set."""
    monkeypatch.setattr("apps.data.sources.finding._said", set())
    for place in ("train/ant/.ipynb_checkpoints", "train/bee/.ipynb_checkpoints", "test/.git/deep", "train/ant/.empty"):
        (folder / place).mkdir(parents=True)
    assert len(load(folder, "train")) == 11 and not caplog.records
    for place in ("train/ant/.ipynb_checkpoints", "train/bee/.ipynb_checkpoints", "test/.git/deep"):
        Image.new("RGB", (5, 6)).save(folder / place / "0.png")
    for _ in range(2):
        assert len(load(folder, "train")) == 11 and len(load(folder, "test")) == 4
        assert len(load_pictures(folder / "train" / "ant", "train")) == 6
        assert len(outliers(str(folder / "train"), (3, 6, 6), 1)) == 11
    said = [record.message for record in caplog.records]
    assert len(said) == 2 and all(line.startswith("Images in hidden folders are left out") for line in said)
    assert sum("ant/.ipynb_checkpoints" in line for line in said) == sum("test/.git" in line for line in said) == 1


def test_folders_that_are_no_data_set(folder, tmp_path):
    (folder / "test" / "cat").mkdir()
    with pytest.raises(InputError, match="have other classes .1 differ; 'cat' is only in test"):
        load(folder, "train")
    (folder / "train" / "cat").mkdir()
    with pytest.raises(InputError, match="train/cat holds no images"):
        load(folder, "train")
    (tmp_path / "empty" / "train").mkdir(parents=True)
    with pytest.raises(InputError, match="empty/train holds no class folders"):
        load(tmp_path / "empty", "train")
    with pytest.raises(InputError, match="no folder .*empty/test"):
        load(tmp_path / "empty", "test")


def test_images_of_no_class_are_left_out_and_that_is_said_once(folder, monkeypatch, caplog):
    monkeypatch.setattr("apps.data.sources.finding._said", set())
    for name in ("train/0.png", "train/1.PNG", "train/notes.txt", "train/.2.png", "test/0.png"):
        Image.new("RGB", (5, 6)).save(folder / name, "PNG")
    for _ in range(2):
        assert len(load(folder, "train")) == 11
    assert [record.message for record in caplog.records] == [
        f"Left out: 2 images in {folder}/train itself, in no folder of a class."
    ]
    assert len(load(folder, "test")) == 4
    assert caplog.records[-1].message == f"Left out: 1 image in {folder}/test itself, in no folder of a class."
    caplog.clear()
    assert len(load_pictures(folder / "train", "train")) == 13 and not caplog.records, "there they are taken"


def scene(mode="RGB"):
    """A picture of 5x3 pixels, each of another colour in blocks that JPEG keeps apart."""
    rng = np.random.default_rng(1)
    return Image.fromarray(np.kron(rng.integers(0, 256, (3, 5, 3)), np.ones((16, 16, 1))).astype(np.uint8)).convert(
        mode
    )


@pytest.mark.parametrize("ending", ["jpg", "png", "webp", "tif"])
@pytest.mark.parametrize("size", [None, 32])
def test_pictures_are_turned_as_exif_says(tmp_path, ending, size):
    """As Pillow's own function turns them, in each of the eight ways, by every reader."""
    for number in range(1, 9):
        exif = Image.Exif()
        exif[ExifTags.Base.Orientation] = number
        place = tmp_path / str(number) / "train" / "a"
        place.mkdir(parents=True)
        scene().save(path := place / f"x.{ending}", exif=exif)
        with Image.open(path) as image:
            upright = ImageOps.exif_transpose(image).convert("RGB")
        assert upright.size == ((80, 48) if number < 5 else (48, 80))
        expected = np.asarray(upright if size is None else centre(upright, size)).transpose(2, 0, 1)
        folder = tmp_path / str(number)
        found = load(folder, "train", image_size=size)
        assert np.array_equal(found.images[0], expected)
        files = load(folder, "train", image_size=size, memory_limit=0).images
        assert np.array_equal(files.read(0), expected) and bool(files.turned()) == (number > 1)
        assert np.array_equal(
            outliers(str(folder), (3, 32, 32), 1).images[0], np.asarray(centre(upright, 32)).transpose(2, 0, 1)
        )
        assert np.array_equal(255 * read_picture(path, (3, 32, 32)), np.asarray(centre(upright, 32)).transpose(2, 0, 1))


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
def test_damaged_tags_turn_nothing(tmp_path):
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation], exif[ExifTags.Base.Software] = 6, "a camera"
    content = exif.tobytes()
    for number in range(6, len(content)):
        damaged = bytearray(content)
        damaged[number] ^= 0xFF
        scene().save(tmp_path / "x.jpg", exif=bytes(damaged))
        with opened(tmp_path / "x.jpg") as image:
            assert decoded(image, tmp_path / "x.jpg", 3).size in ((80, 48), (48, 80))


def test_linked_folders_are_read(folder):
    """Also from link to link, and once where two lead there."""
    elsewhere = folder.parent / "elsewhere"
    for place in ("more", "deep/est"):
        (elsewhere / place).mkdir(parents=True)
        for number in range(2):
            Image.new("RGB", (5, 6), (number, 0, 0)).save(elsewhere / place / f"{number}.png")
    (folder / "train" / "ant" / "linked").symlink_to(elsewhere / "more", target_is_directory=True)
    (folder / "train" / "ant" / "again").symlink_to(elsewhere / "more", target_is_directory=True)
    (elsewhere / "more" / "further").symlink_to(elsewhere / "deep")
    found = load(folder, "train", memory_limit=0)
    assert found.labels.bincount().tolist() == [6 + 4, 5]
    assert [path for path in found.images.paths if "again" in path] == [
        f"train/ant/again/{name}" for name in ("0.png", "1.png", "further/est/0.png", "further/est/1.png")
    ]
    assert len(outliers(str(folder / "train"), (3, 6, 6), 1)) == 15
    assert len(load_pictures(folder / "train" / "ant", "train")) == 10


def test_links_that_lead_round_end(folder):
    for number, target in enumerate([".", "..", "../..", "../bee", "/"]):
        if target != "/":
            (folder / "train" / "ant" / f"link{number}").symlink_to(target)
    (folder / "train" / "bee" / "back").symlink_to("../ant")
    found = load(folder, "train")
    # Each class is linked to the other on purpose; what is above them is not.
    assert found.labels.bincount().tolist() == [11, 11]
    assert len(load_pictures(folder / "train", "train")) == 11


def test_a_link_far_off_does_not_lead_to_other_classes(folder):
    """What is linked lies elsewhere, and links back to all classes: they are not this one's."""
    (folder.parent / "elsewhere").mkdir()
    Image.new("RGB", (5, 6)).save(folder.parent / "elsewhere" / "0.png")
    (folder.parent / "elsewhere" / "up").symlink_to(folder / "train")
    (folder / "train" / "ant" / "linked").symlink_to(folder.parent / "elsewhere")
    assert load(folder, "train").labels.bincount().tolist() == [6 + 1, 5]


@pytest.mark.parametrize("target", ["gone", "itself"])
@pytest.mark.parametrize("place", ["train/ant/itself", "train/itself"])
def test_links_that_lead_nowhere_are_named(folder, target, place):
    """Their pictures would be missed without a word."""
    (folder / place).symlink_to(target)
    with pytest.raises(InputError, match=f"{place} is a link to {target}, which is not there"):
        load(folder, "train")


@pytest.fixture
def shut(monkeypatch):
    """`shut(folder)` has the system refuse to list it; who runs the tests may be allowed everything."""

    def apply(folder):
        for name in ("scandir", "listdir"):
            ask = getattr(os, name)

            def asked(place, ask=ask):
                if str(place) == str(folder):
                    raise PermissionError(13, "Permission denied", str(folder))
                return ask(place)

            monkeypatch.setattr(os, name, asked)

    return apply


def test_a_folder_that_cannot_be_read_is_named(folder, shut):
    (folder / "train" / "ant" / "shut").mkdir()
    shut(folder / "train" / "ant" / "shut")
    with pytest.raises(InputError, match=r"ant/shut cannot be read \(Permission denied\)"):
        load(folder, "train")


@pytest.mark.parametrize("read", [load_pictures, lambda place, _: outliers(str(place), (3, 6, 6), 1)])
def test_a_split_that_cannot_be_read_is_named(folder, shut, read):
    shut(folder / "test")
    with pytest.raises(InputError, match=r"insects/test cannot be read \(Permission denied\)"):
        read(folder, "test")


def test_names_that_are_not_utf_8(folder):
    raw = os.fsdecode(b"caf\xe9")
    for split in ("train", "test"):
        os.rename(folder / split / "bee", folder / split / raw)
        os.rename(folder / split / raw / "0.png", folder / split / raw / f"{raw}.png")
    memory, files = load(folder, "train"), load(folder, "train", memory_limit=0)
    assert memory.class_names == files.class_names == ("ant", "caf\\xe9")
    assert len(memory.digest) == 16 and len(files.digest) > 16
    assert torch.equal(next(ordered(files, 11, workers=1)).images, next(ordered(memory, 11)).images)


def test_splits_that_do_not_agree_are_refused_before_the_work(folder):
    grey = folder / "test" / "ant" / "0.png"
    for path in sorted((folder / "test").rglob("*.png")):
        Image.open(path).convert("L").save(path)
    with pytest.raises(
        InputError, match=rf"insects/train and .*differ in colour \(.*{grey} are grey, .*ant/0.png is not"
    ):
        load(folder, "train")
    with pytest.raises(InputError, match="differ in colour"):
        load(folder, "train", image_size=4)
    for path in sorted((folder / "test").rglob("*.png")):
        Image.new("RGB", (7, 9)).save(path)
    with pytest.raises(InputError, match=rf"differ in size \(.*train/ant/0.png is 6x5, {grey} is 9x7\): give an image"):
        load(folder, "train")
    assert load(folder, "train", image_size=4).image_shape == load(folder, "test", image_size=4).image_shape
