"""Images of another kind: found wherever they are, and brought to the classifier's shape."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from apps.data.outliers import Conversion, outliers
from apps.fidelity.sources import given_images
from priors.errors import InputError


def test_grey_is_the_luma_of_itu_r_601():
    images = torch.rand(3, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    convert = Conversion((3, 4, 4), (1, 4, 4))
    luma = 0.299 * images[:, :1] + 0.587 * images[:, 1:2] + 0.114 * images[:, 2:]
    torch.testing.assert_close(convert(images), luma, atol=5e-4, rtol=0)
    assert "ITU-R 601" in str(convert) and "resized" not in str(convert)


def test_rgb_is_grey_three_times():
    images = torch.rand(3, 1, 4, 4)
    convert = Conversion((1, 4, 4), (3, 4, 4))
    assert torch.equal(convert(images), images.repeat(1, 3, 1, 1)) and "three times" in str(convert)


def test_sizes_are_interpolated_as_pillow_does():
    """Pillow's bilinear filter is antialiased; it rounds to whole levels."""
    pixels = torch.randint(0, 256, (1, 1, 32, 30), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    convert = Conversion((1, 32, 30), (1, 28, 12))
    with Image.fromarray(pixels[0, 0].numpy()) as image:
        expected = np.asarray(image.resize((12, 28), Image.Resampling.BILINEAR))
    assert np.abs(255 * convert(pixels / 255)[0, 0].numpy() - expected).max() < 1.1
    assert str(convert) == "resized from 32x30 to 28x12 (bilinear, antialiased)"


def test_what_fits_is_left_alone():
    images = torch.rand(2, 3, 5, 5)
    convert = Conversion((3, 5, 5), (3, 5, 5))
    assert convert(images) is images and str(convert) == ""


def test_only_grey_and_rgb_are_known():
    with pytest.raises(InputError, match="images of 4 channels"):
        Conversion((4, 5, 5), (3, 5, 5))


def test_noise_is_uniform_seeded_and_bounded(monkeypatch):
    """The mean of 64,000 uniform levels is within five standard errors, .3 each, of the middle."""
    found = outliers("noise", (1, 8, 8), 1000, seed=3)
    assert found.image_shape == (1, 8, 8) and len(found) == 1000
    assert abs(float(found.images.double().mean()) - 127.5) < 1.5 and len(found.images.unique()) == 256
    assert torch.equal(outliers("noise", (1, 8, 8), 1000, seed=3).images, found.images)
    assert not torch.equal(outliers("noise", (1, 8, 8), 1000, seed=4).images, found.images)
    monkeypatch.setattr("apps.data.outliers._NOISE_BYTES", 5000)
    assert len(outliers("noise", (3, 20, 20), 1000)) == 4 and len(outliers("noise", (3, 200, 200), 1000)) == 1


def test_any_folder_of_pictures_will_do(tmp_path):
    for number, size in enumerate([(10, 8), (9, 9), (20, 30)]):
        place = tmp_path / "pictures" / "deep" / str(number)
        place.mkdir(parents=True)
        Image.fromarray(np.full((size[1], size[0]), 40 * number, np.uint8)).save(place / "a.png")
    (tmp_path / "pictures" / "notes.txt").write_text("not a picture")
    found = outliers(str(tmp_path / "pictures"), (1, 8, 8), 5)
    assert found.name == "pictures" and found.image_shape == (3, 8, 8)
    assert found.images.float().mean((1, 2, 3)).tolist() == [0, 40, 80]


def test_a_folder_with_classes_is_read_as_a_data_set(tmp_path):
    for split in ("train", "test"):
        for label in "ab":
            (tmp_path / split / label).mkdir(parents=True)
            Image.fromarray(np.zeros((6, 6), np.uint8)).save(tmp_path / split / label / "a.png")
    assert len(outliers(str(tmp_path), (1, 8, 8), 5)) == 2, "the test images only"


@pytest.mark.parametrize("name", ["train", "test"])
def test_a_class_may_be_called_like_a_split(tmp_path, name):
    """As CIFAR-100's "train" in what penult sample writes: a split holds folders of classes itself."""
    for place in (name, "tree"):
        (tmp_path / place).mkdir()
        for number in range(2):
            Image.new("L", (6, 6), number).save(tmp_path / place / f"{number}.png")
    for split in ("train", "test"):
        assert len(given_images(str(tmp_path), split)) == 4
    assert len(outliers(str(tmp_path), (1, 6, 6), 1)) == 4
    # With folders in it, it is a split, and the only one.
    (tmp_path / name / "cat").mkdir()
    (tmp_path / name / "0.png").rename(tmp_path / name / "cat" / "0.png")
    assert len(given_images(str(tmp_path), name)) == 1
    with pytest.raises(InputError, match="no folder"):
        given_images(str(tmp_path), "test" if name == "train" else "train")


def test_pictures_right_in_the_splits_are_not_mixed(tmp_path):
    """Nothing but train and test: these are splits, also without classes in them."""
    for split, shades in (("train", (1, 2, 3)), ("test", (4, 5))):
        (tmp_path / split).mkdir()
        for shade in shades:
            Image.new("L", (6, 6), shade).save(tmp_path / split / f"{shade}.png")
    for split, shades in (("train", [1, 2, 3]), ("test", [4, 5])):
        assert given_images(str(tmp_path), split).images[:, 0, 0, 0].tolist() == shades


def test_what_sample_writes_is_read_by_its_arrays(tmp_path):
    pixels = np.arange(2 * 6 * 6 * 3, dtype=np.uint8).reshape(2, 6, 6, 3)
    np.savez(tmp_path / "a.npz", x=pixels, y=np.array([0, 1]), classes=np.array(["a", "b"]))
    found = outliers(str(tmp_path / "a.npz"), (1, 6, 6), 1)
    assert np.array_equal(found.images, pixels.transpose(0, 3, 1, 2)) and found.name == "a"
    np.savez(tmp_path / "b.npz", y=np.array([0, 1]))
    with pytest.raises(InputError, match="has neither x .images. nor x_train"):
        outliers(str(tmp_path / "b.npz"), (1, 6, 6), 1)


def test_what_is_not_there_is_one_line(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="holds no images .*png"):
        outliers(str(tmp_path / "empty"), (1, 8, 8), 5)
    with pytest.raises(InputError, match="did you mean 'noise'"):
        outliers("nose", (1, 8, 8), 5)
    with pytest.raises(InputError, match="did you mean 'cifar10'"):
        outliers("cifar-10", (1, 8, 8), 5)
    for name in ("./no.npz", str(Path("no") / "folder")):
        with pytest.raises(InputError, match="no data set at"):
            outliers(name, (1, 8, 8), 5)
