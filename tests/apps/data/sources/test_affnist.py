"""affNIST: its maps against SciPy's, nothing lost over the edge, the same set whatever computes it, its own files."""

import numpy as np
import pytest
import scipy.io
import torch
from scipy import ndimage, stats

from apps.data.image_set import ImageSet
from apps.data.sources import affnist, load
from apps.data.sources.affnist import Maps, apply, maps_for, transformed
from apps.data.sources.catalogue import DATASETS
from priors.errors import InputError


def digits(count, seed=0):
    """Strokes of MNIST's size: ink in a box of at most 20x20, off the middle."""
    rng = np.random.default_rng(seed)
    pixels = np.zeros((count, 1, 28, 28), np.uint8)
    for image in pixels[:, 0]:
        top, left = rng.integers(2, 8, 2)
        high, wide = rng.integers(6, 20, 2)
        patch = rng.integers(0, 256, (high, wide))
        image[top : top + high, left : left + wide] = patch * (rng.random((high, wide)) < 0.7)
    return torch.from_numpy(pixels)


def images(count, split="train"):
    return ImageSet("mnist", split, digits(count), torch.arange(count) % 10, tuple("0123456789"), "strokes")


def uniform(count, seed=0):
    return torch.rand((count, 6), dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def placed(pixels, linear, shift, side):
    """By SciPy: the value at a place of the canvas is the digit's at the place that the map takes there."""
    back = np.linalg.inv(linear[::-1, ::-1])  # rows before columns
    middle = np.array([(side - 1) / 2] * 2)
    offset = np.array([13.5, 13.5]) - back @ (middle + shift[::-1])
    return ndimage.affine_transform(pixels.astype(float), back, offset, (side, side), order=1, mode="grid-constant")


def test_images_are_scipys_on_the_grid_of_bytes():
    pixels = digits(40)
    maps = maps_for(pixels, uniform(40))
    found = apply(pixels, maps)
    assert found.shape == (40, 1, 40, 40) and found.dtype == torch.uint8
    for image, linear, shift, own in zip(pixels[:, 0], maps.linear, maps.shift, found[:, 0], strict=True):
        expected = placed(image.numpy(), linear.numpy(), shift.numpy(), 40)
        assert np.abs(own.numpy() - expected).max() <= 0.5 + 1e-9


def test_the_identity_is_a_border_of_six_pixels():
    pixels = digits(5)
    still = Maps(torch.eye(2, dtype=torch.float64).expand(5, 2, 2), torch.zeros(5, 2, dtype=torch.float64))
    assert torch.equal(apply(pixels, still), torch.nn.functional.pad(pixels, (6, 6, 6, 6)))
    moved = Maps(still.linear, torch.tensor([[3.0, -2.0]], dtype=torch.float64).expand(5, 2))
    assert torch.equal(apply(pixels, moved), torch.nn.functional.pad(pixels, (9, 3, 4, 8)))


def test_maps_are_what_they_are_said_to_be():
    """The first, middle and last of each range; the linear part is rotation @ shear @ scale."""
    numbers = torch.full((3, 6), 0.5, dtype=torch.float64)
    numbers[0], numbers[2] = 0, 1
    for row, (angle, shear, scale) in enumerate([(-20, -0.2, 0.8), (0, 0, 1), (20, 0.2, 1.2)]):
        turn = np.deg2rad(angle)
        rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
        expected = rotation @ np.array([[1, shear], [0, 1]]) @ np.diag([scale, scale])
        np.testing.assert_allclose(maps_for(digits(3), numbers).linear[row].numpy(), expected, atol=1e-12)
    apart = torch.full((1, 6), 0.5, dtype=torch.float64)
    apart[0, 2], apart[0, 3] = 0, 1  # width before height
    np.testing.assert_allclose(maps_for(digits(1), apart).linear[0].numpy(), np.diag([0.8, 1.2]), atol=1e-12)


def test_nothing_is_lost_over_the_edge_and_the_edge_is_reached():
    """On a canvas of 80 pixels all ink is in the middle 40; two pixels further than the farthest shift, some is not."""
    pixels = digits(120)
    bounded = 0
    for end in (0.0, 1.0, None):
        numbers = uniform(120)
        if end is not None:
            numbers[:, 4:] = end
        maps = maps_for(pixels, numbers)
        assert maps.shift.abs().max() <= 8
        for image, linear, shift in zip(pixels[:, 0].numpy(), maps.linear.numpy(), maps.shift.numpy(), strict=True):
            whole = placed(image, linear, shift, 80)
            assert whole.sum() == pytest.approx(whole[20:60, 20:60].sum(), abs=1e-6)
            for axis in np.flatnonzero(np.abs(shift) < 8) if end is not None else ():
                further = placed(image, linear, shift + np.eye(2)[axis] * (4 * end - 2), 80)
                assert further.sum() > further[20:60, 20:60].sum() + 1
                bounded += 1
    assert bounded > 60


def test_a_shift_is_uniform_where_there_is_room():
    """Small digits have room for 8 pixels each way: Kolmogorov-Smirnov, and 16 cells of both; each p > .001."""
    pixels = torch.zeros(4000, 1, 28, 28, dtype=torch.uint8)
    pixels[:, :, 12:16, 12:16] = 200
    shift = maps_for(pixels, uniform(4000)).shift.numpy()
    assert min(stats.kstest(shift[:, axis], stats.uniform(-8, 16).cdf).pvalue for axis in (0, 1)) > 0.001
    cells = np.histogram2d(*shift.T, bins=4, range=[(-8, 8)] * 2)[0]
    assert stats.chisquare(cells.ravel()).pvalue > 0.001


def test_what_does_not_fit_is_put_in_the_middle_and_nothing_may_be_anywhere():
    full, empty = torch.full((1, 1, 60, 60), 9, dtype=torch.uint8), torch.zeros(1, 1, 28, 28, dtype=torch.uint8)
    numbers = torch.full((1, 6), 0.5, dtype=torch.float64)
    numbers[:, 4:] = torch.tensor([0.0, 0.75])
    assert maps_for(full, numbers).shift.abs().max() < 1e-12
    assert maps_for(empty, numbers).shift.tolist() == [[-8.0, 4.0]]


def test_the_set_is_the_same_whatever_computes_it(monkeypatch):
    made = transformed(images(230))
    assert (made.name, made.split, len(made), made.source) == ("mnist", "train", 230, "made from mnist in strokes")
    threads = torch.get_num_threads()
    try:
        for chunk, number in ((7, 1), (230, 2)):
            monkeypatch.setattr(affnist, "_CHUNK", chunk)
            torch.set_num_threads(number)
            torch.manual_seed(chunk)
            assert torch.equal(transformed(images(230)).images, made.images)
    finally:
        torch.set_num_threads(threads)
    # Pinned, so that results stay comparable between versions.
    assert made.digest == "a4bcf987feaf9d69"


def test_splits_and_versions_have_maps_of_their_own():
    made = transformed(images(30), versions=2)
    assert len(made) == 60 and torch.equal(made.labels, torch.arange(30).repeat(2) % 10)
    assert torch.equal(made.images[:30], transformed(images(30)).images)
    assert (made.images[:30] != made.images[30:]).flatten(1).any(1).all()
    tested = transformed(images(30, "test"))
    assert (made.images[:30] != tested.images).flatten(1).any(1).all()


# By name.


def save_mnist(folder):
    arrays = {}
    for part, count in (("train", 20), ("test", 10)):
        arrays |= {f"x_{part}": digits(count)[:, 0].numpy(), f"y_{part}": np.arange(count) % 10}
    np.savez(folder / "mnist.npz", **arrays)


def test_it_is_made_from_mnist(tmp_path):
    info = DATASETS["affnist"]
    assert (info.train, info.test) == (60000 * affnist.VERSIONS, 10000 * affnist.VERSIONS)
    save_mnist(tmp_path)
    for split, count in (("train", 20), ("test", 10)):
        found = load("affnist", split, root=tmp_path)
        assert (found.name, found.split, found.class_names) == ("affnist", split, info.class_names)
        assert found.image_shape == info.image_shape == (1, 40, 40) and len(found) == count * affnist.VERSIONS
        assert torch.equal(found.images, transformed(load("mnist", split, root=tmp_path)).images)
        assert found.source == f"made from mnist in {tmp_path / 'mnist.npz'}"


def test_an_archive_of_ones_own_comes_first(tmp_path):
    pixels = np.arange(20 * 1600).reshape(20, 40, 40).astype(np.uint8)
    labels = np.arange(20) % 10
    np.savez(tmp_path / "affnist.npz", x_train=pixels, y_train=labels, x_test=pixels, y_test=labels)
    assert np.array_equal(load("affnist", "train", root=tmp_path).images[:, 0].numpy(), pixels)


def test_the_list_says_where_it_comes_from(penult, tmp_path):
    words = ["ls", "datasets", "--data-root", tmp_path]
    assert "1x40x40" in penult(*words).out and "made from mnist" in penult(*words).out
    save_mnist(tmp_path)
    (tmp_path / "mnist.npz").rename(tmp_path / "affnist.npz")
    assert "made from mnist" not in penult(*words).out
    (tmp_path / "affnist.npz").unlink()
    (tmp_path / "affnist" / "test_batches").mkdir(parents=True)
    (tmp_path / "affnist" / "test_batches" / "1.mat").touch()
    assert "made from mnist" not in penult(*words).out


# Its own files.


def write(path, count, seed=0, **fields):
    """As affNIST has them: a struct of arrays with one column an image."""
    rng = np.random.default_rng(seed)
    pixels, labels = rng.integers(0, 256, (count, 40, 40), np.uint8), rng.integers(0, 10, count)
    held = {
        "affine_node_transform": rng.random((6, count)),
        "label_one_of_n": np.eye(10)[labels].T,
        "image": pixels.reshape(count, 1600).T,
        "human_readable_transform": rng.random((6, count)),
        "label_int": labels[None].astype(float),
        "node_id": np.arange(count)[None].astype(float),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    scipy.io.savemat(path, {"affNISTdata": held | fields})
    return pixels, labels


@pytest.mark.parametrize("test", ["test.mat", "test_batches/1.mat"])
def test_its_own_files_are_read_in_the_order_of_their_numbers(tmp_path, test):
    folder = tmp_path / "affnist"
    kept = [write(folder / f"training_and_validation_batches/{n}.mat", 4 + n, n) for n in (1, 2, 10)]
    tested = write(folder / test, 1, 7)
    found = load("affnist", "train", root=tmp_path)
    assert np.array_equal(found.images[:, 0].numpy(), np.concatenate([pixels for pixels, _ in kept]))
    assert found.labels.tolist() == np.concatenate([labels for _, labels in kept]).tolist()
    assert (found.name, found.source, found.labels.dtype) == ("affnist", str(folder), torch.int64)
    assert np.array_equal(load("affnist", "test", root=tmp_path).images[:, 0].numpy(), tested[0])


def test_a_split_alone_is_refused(tmp_path):
    write(tmp_path / "affnist/test.mat", 3)
    with pytest.raises(InputError, match=r"no training_and_validation_batches/\*.mat: put both splits there"):
        load("affnist", "test", root=tmp_path)
    (tmp_path / "affnist/training_and_validation_batches").mkdir()
    (tmp_path / "affnist/test.mat").rename(tmp_path / "affnist/training_and_validation_batches/1.mat")
    with pytest.raises(InputError, match=r"no test.mat or test_batches/\*.mat"):
        load("affnist", "test", root=tmp_path)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"image": np.zeros((784, 3), np.uint8)}, r"holds uint8 images of shape \(784, 3\) and 3 labels"),
        ({"image": np.zeros((1600, 3))}, r"holds float64 images"),
        ({"label_int": np.zeros((1, 2))}, "and 2 labels"),
        ({"label_int": np.array([[1, 2, 10]])}, "labels other than the digits"),
        ({"label_int": np.array([[1, 2, 0.5]])}, "labels other than the digits"),
    ],
)
def test_files_of_something_else_are_refused_in_one_line(tmp_path, fields, said):
    for name in ("training_and_validation_batches/1.mat", "test.mat"):
        write(tmp_path / "affnist" / name, 3, **fields)
    with pytest.raises(InputError, match=f"test.mat.* {said}") as error:
        load("affnist", "test", root=tmp_path)
    assert "\n" not in str(error.value)


def test_damaged_files_are_refused_in_one_line(tmp_path):
    folder = tmp_path / "affnist"
    write(folder / "training_and_validation_batches/1.mat", 3)
    for content in (
        b"",
        b"MATLAB 5.0" + bytes(300),
        (folder / "training_and_validation_batches/1.mat").read_bytes()[:900],
    ):
        (folder / "test.mat").write_bytes(content)
        with pytest.raises(InputError, match="test.mat is damaged or no file of affNIST") as error:
            load("affnist", "test", root=tmp_path)
        assert "\n" not in str(error.value)
    scipy.io.savemat(folder / "test.mat", {"other": np.zeros(3)})
    with pytest.raises(InputError, match="KeyError: 'affNISTdata'"):
        load("affnist", "test", root=tmp_path)
