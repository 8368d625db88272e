"""Data sets in an .npz file: the layouts that are read, and one line for each thing that can be wrong."""

import numpy as np
import pytest
import torch

from apps.data.outliers import outliers
from apps.data.sources import load, load_pictures
from apps.fidelity.sources import given_images
from apps.training.train import data_label
from priors.errors import InputError

RNG = np.random.default_rng(0)
X, Y = RNG.integers(0, 256, (6, 4, 5), np.uint8), np.array([0, 1, 2, 0, 1, 2])


def save(path, **changes):
    arrays = {"x_train": X, "y_train": Y, "x_test": X[:3], "y_test": Y[:3]} | changes
    np.savez(path, **{name: array for name, array in arrays.items() if array is not None})
    return path


@pytest.mark.parametrize("compressed", [False, True])
def test_grey_images(tmp_path, compressed):
    path = save(tmp_path / "mine.npz", classes=np.array(["a", "b", "c"]))
    if compressed:
        np.savez_compressed(path, **np.load(path))
    train, test = load(path, "train"), load(str(path), "test")
    assert np.array_equal(train.images[:, 0].numpy(), X) and train.images.dtype == torch.uint8
    assert train.labels.tolist() == Y.tolist() and train.labels.dtype == torch.int64
    assert (train.name, train.split, train.class_names) == ("mine", "train", ("a", "b", "c"))
    assert len(test) == 3 and test.image_shape == (1, 4, 5)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("last", [True, False])
def test_channels_on_either_side(tmp_path, channels, last):
    images = RNG.integers(0, 256, (6, channels, 4, 5), np.uint8)
    stored = images.transpose(0, 2, 3, 1) if last else images
    found = load(save(tmp_path / "mine.npz", x_train=stored, x_test=stored[:3]), "train")
    assert np.array_equal(found.images.numpy(), images) and found.images.is_contiguous()
    assert found.class_names == ("0", "1", "2")


def test_fortran_order_and_column_labels(tmp_path):
    images = np.asfortranarray(RNG.integers(0, 256, (6, 4, 5, 3), np.uint8))
    found = load(
        save(tmp_path / "mine.npz", x_train=images, x_test=images[:3], y_train=Y[:, None].astype(np.uint8)), "train"
    )
    assert np.array_equal(found.images.numpy(), images.transpose(0, 3, 1, 2))
    assert found.labels.tolist() == Y.tolist()


@pytest.mark.parametrize("channels", [None, 3])
def test_fortran_order_of_grey_images_and_of_channels_first(tmp_path, channels):
    """Held row by row all the same: a batch is one piece of memory an image. Labels may be of the other byte order."""
    images = X if channels is None else np.repeat(X[:, None], channels, 1)
    path = save(tmp_path / "mine.npz", x_train=np.asfortranarray(images), x_test=images[:3], y_train=Y.astype(">i4"))
    found = load(path, "train")
    assert np.array_equal(found.images.squeeze(1), images) and found.images.is_contiguous()
    assert found.labels.tolist() == Y.tolist()


NAN = np.where(np.arange(6) == 2, np.nan, 0.0)
OBJECTS = np.array([None] * 6, dtype=object)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"y_test": None}, "has no y_test: it needs x_train"),
        ({"x_train": None, "x_test": None}, "has no x_train and no x_test"),
        ({"x_train": X / np.float32(255)}, "x_train is float32, expected uint8.*255 \\* x"),
        ({"x_test": np.full((3, 4, 5), np.nan)}, "x_test is float64, expected uint8.*holds NaN"),
        ({"x_train": X.astype(np.int64)}, "x_train is int64.*from 0 to \\d+: x.astype\\('uint8'\\)"),
        ({"x_train": np.full((6, 4, 5), "a")}, "x_train is <U1.*no numbers"),
        ({"x_train": X[0]}, "x_train has shape \\(4, 5\\), expected"),
        ({"x_train": np.zeros((6, 4, 5, 7), np.uint8)}, "\\(n, channels, height, width\\) with 1 or 3 channels"),
        (
            {"x_train": np.zeros((0, 4, 5), np.uint8), "y_train": Y[:0]},
            "x_train holds no images: its shape is \\(0, 4, 5\\)",
        ),
        ({"x_test": X[:0], "y_test": Y[:0]}, "x_test holds no images"),
        ({"x_test": X[:3, :3]}, "x_train holds images of shape \\(1, 4, 5\\), x_test of \\(1, 3, 5\\)"),
        ({"y_train": Y[:5]}, "y_train has shape \\(5,\\), expected \\(6,\\)"),
        ({"y_train": Y.astype(np.float32)}, "y_train is float32, expected integers"),
        ({"y_train": np.eye(6, dtype=np.int64)}, "y_train has shape \\(6, 6\\).*y.argmax\\(1\\)"),
        ({"y_train": np.eye(3)[Y]}, "y_train has shape \\(6, 3\\).*one-hot rows become y.argmax\\(1\\)"),
        ({"y_train": np.eye(3, dtype=bool)[Y]}, "y_train has shape \\(6, 3\\).*one-hot rows become"),
        ({"y_train": np.full((6, 3), 1 / 3)}, "one label for each image of x_train$"),
        ({"y_train": np.array([[2, -1]] * 6)}, "one label for each image of x_train$"),
        ({"y_train": np.where(Y == 2, np.inf, Y)}, "y_train is float64 and holds infinite values"),
        ({"y_train": np.array(["a", "b", "c"])[Y]}, "y_train is <U1, .*np.unique\\(y, return_inverse=True\\)"),
        ({"y_train": np.array([b"a", b"b", b"c"])[Y]}, "y_train is \\|S1, .*np.unique"),
        ({"y_train": Y > 0}, "y_train is bool, expected integers from 0: y.astype\\('int64'\\)"),
        ({"classes": np.array(["a", "b", "a"])}, "2 classes are called 'a': give each a name of its own"),
        ({"classes": np.array([b"a", b"a", b"a"])}, "3 classes are called 'a'"),
        ({"classes": np.array([0.5, 1, 2])}, "classes is float64, expected one name a class, as text"),
        ({"y_train": NAN}, "y_train is float64 and holds NaN"),
        ({"y_train": OBJECTS}, "y_train holds Python objects"),
        ({"x_train": OBJECTS}, "x_train holds Python objects"),
        (
            {"y_train": np.array([0, 1, 2, -1, 1, 2])},
            "label -1 at position 3 of y_train, expected 0 to 2 for 3 classes",
        ),
        ({"y_test": np.array([0, 1, 3])}, "label 3 at position 2 of y_test, expected 0 to 2"),
        ({"classes": np.array(["a", "b"])}, "label 2 at position 2 of y_train, expected 0 to 1 for 2 classes"),
        ({"y_train": np.array([0, 3, 2, 0, 3, 2])}, "class 1 \\(1\\) has no training images"),
        ({"classes": np.array(["a", "b", "c", "d"])}, "class 3 \\(d\\) has no training images"),
    ],
)
@pytest.mark.parametrize("split", ["train", "test"])
def test_what_is_wrong_is_said_in_one_line(tmp_path, changes, said, split):
    path = save(tmp_path / "mine.npz", **changes)
    with pytest.raises(InputError, match=said) as caught:
        load(path, split)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("kept", [0, 10, 200, -30])
def test_a_damaged_file(tmp_path, kept):
    path = save(tmp_path / "mine.npz")
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(InputError, match="mine.npz is damaged or no .npz file"):
        load(path, "train")


def test_damaged_content(tmp_path):
    path = save(tmp_path / "mine.npz")
    content = bytearray(path.read_bytes())
    start = content.index(X.tobytes())
    content[start] ^= 255
    path.write_bytes(content)
    with pytest.raises(InputError, match="mine.npz is damaged"):
        load(path, "train")
    content[content.index(b"\x93NUMPY")] = 0
    path.write_bytes(content)
    with pytest.raises(InputError, match="mine.npz"):
        load(path, "train")


PIXELS = X.astype(np.float64)


@pytest.mark.parametrize(
    ("x", "meant"),
    [
        (X.astype(np.int64), X),
        (X.astype(np.int16), X),
        (X.astype(np.float32), X),
        (X / np.float32(255), X),
        (X / np.float64(255) * (1 + 1e-5) - 1e-6, X),  # a little outside, as after a resizing
        ((PIXELS / 127.5 - 1).astype(np.float32), X),
        (X > 127, 255 * (X > 127)),
        ((X > 127).astype(np.int8), 255 * (X > 127)),
        (X.astype(np.uint16) * 257, X),
        (PIXELS * 257 + 0.25, None),
        ((PIXELS - PIXELS.mean()) / PIXELS.std(), None),
        (PIXELS - 128, None),
    ],
)
def test_the_advice_for_other_pixels_keeps_the_image(tmp_path, x, meant):
    """What is advised is done, and gives the image that was meant; or nothing is to be computed."""
    with pytest.raises(InputError, match="expected uint8 from 0 to 255: ") as caught:
        load(save(tmp_path / "mine.npz", x_train=x), "train")
    advice = str(caught.value).partition("expected uint8 from 0 to 255: ")[2]
    if meant is None:
        assert "undoing any normalisation" in advice and "astype" not in advice
    else:
        expression = advice.rpartition(": ")[2].partition(", where")[0]
        converted = eval(expression, {"x": x})
        assert converted.dtype == np.uint8 and np.abs(converted.astype(int) - meant).max() == 0


@pytest.mark.parametrize("label", [6, 10**8, 2**31 - 1, 2**40, 2**63 - 1, 2**63 + 5, -1])
@pytest.mark.parametrize("named", [True, False])
def test_labels_out_of_range_are_found_at_once(tmp_path, label, named):
    """Six images have six classes at most, whatever the largest label is: no name is made for each below it."""
    labels = np.array([0, 1, 2, 0, 1, label], dtype=">i8" if label < 2**63 else ">u8")  # of whichever byte order
    names = np.array(["a", "b", "c"]) if named else None
    path = save(tmp_path / "mine.npz", y_train=labels, classes=names)
    with pytest.raises(InputError, match=f"label {label} at position 5 of y_train, expected 0 to"):
        load(path, "test")


def test_names_that_are_bytes_are_text(tmp_path):
    names = np.array(["cat", "猫".encode(), b"caf\xe9"], dtype="S")
    found = load(save(tmp_path / "mine.npz", classes=names), "train")
    assert found.class_names == ("cat", "猫", "caf\\xe9")
    assert load(save(tmp_path / "mine.npz", classes=np.arange(3)), "train").class_names == ("0", "1", "2")


def test_the_ending_may_be_in_capitals(tmp_path):
    save(tmp_path / "a.npz").rename(tmp_path / "B.NPZ")
    np.savez(tmp_path / "c.npz", x=X)
    (tmp_path / "c.npz").rename(tmp_path / "C.Npz")
    assert len(load(tmp_path / "B.NPZ", "train")) == len(load_pictures(tmp_path / "B.NPZ", "train")) == 6
    assert len(outliers(str(tmp_path / "B.NPZ"), (1, 4, 5), 1)) == 3
    assert len(given_images(str(tmp_path / "C.Npz"))) == len(outliers(str(tmp_path / "C.Npz"), (1, 4, 5), 1)) == 6
    assert data_label("some/B.NPZ") == "B"
