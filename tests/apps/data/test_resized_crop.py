"""Random parts of images against torchvision's, by box and by distribution."""

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.stats import ks_2samp
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional

from apps.data.augmenting import augmentation_by
from apps.data.batches import Batches
from apps.data.image_set import ImageSet
from apps.data.resized_crop import ResizedCrop, uniform
from apps.data.sources.image_files import ImageFiles
from priors.errors import InputError


def views(count, seed=0):
    return ResizedCrop().draw(count, torch.Generator().manual_seed(seed))


def noise(count, *shape):
    return torch.randint(0, 256, (count, *shape), generator=torch.manual_seed(0), dtype=torch.uint8)


def test_draws_are_splitmix64s():
    """By its definition, in NumPy's unsigned numbers."""
    view = views(50)
    with np.errstate(over="ignore"):
        for place, column in enumerate(uniform(view, 4, start=3).T, start=4):
            mixed = view.numpy().astype(np.uint64) + np.uint64(place) * np.uint64(0x9E3779B97F4A7C15)
            mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
            mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
            assert column.tolist() == (((mixed ^ (mixed >> np.uint64(31))) >> np.uint64(11)) / 2**53).tolist()


@pytest.mark.parametrize(("height", "width"), [(32, 32), (60, 80), (20, 90), (90, 20)])
def test_parts_are_drawn_as_torchvisions(height, width):
    """Two samples of 2,000 of each number; the last two shapes fall back on the centre now and then."""
    ours = ResizedCrop().boxes(views(2000), height, width).double()
    transform, image = v2.RandomResizedCrop(8), torch.zeros(1, height, width)
    torch.manual_seed(0)
    drawn = [transform.make_params([image]) for _ in range(2000)]
    theirs = torch.tensor([[one[name] for name in ("top", "left", "height", "width")] for one in drawn]).double()
    assert (ours[:, :2] >= 0).all() and (ours[:, 2:] >= 1).all()
    assert (ours[:, 0] + ours[:, 2]).max() <= height and (ours[:, 1] + ours[:, 3]).max() <= width
    numbers = [*ours.T, ours[:, 2] * ours[:, 3], ours[:, 2] / ours[:, 3]]
    others = [*theirs.T, theirs[:, 2] * theirs[:, 3], theirs[:, 2] / theirs[:, 3]]
    for found, expected in zip(numbers, others, strict=True):
        assert ks_2samp(found, expected).pvalue > 1e-3
    centre = torch.tensor(ResizedCrop()._centre(height, width)).double()
    fallen = [int((boxes == centre).all(1).sum()) for boxes in (ours, theirs)]
    assert abs(fallen[0] - fallen[1]) < 80 and (fallen[1] > 20) == (max(height, width) == 90)


@pytest.mark.parametrize("shape", [(3, 32, 32), (1, 28, 28), (3, 20, 45)])
@pytest.mark.parametrize("flip", [False, True])
def test_pixels_are_torchvisions_of_the_same_box(shape, flip):
    crop, images, view = ResizedCrop(flip), noise(60, *shape), views(60)
    expected = []
    for image, box, mirrored in zip(images, crop.boxes(view, *shape[1:]).tolist(), crop.flipped(view), strict=True):
        cut = functional.resized_crop(image.float() / 255, *box, list(shape[1:]), antialias=True)
        expected.append(functional.horizontal_flip(cut) if mirrored else cut)
    torch.testing.assert_close(crop.apply(images, view), torch.stack(expected), rtol=0, atol=1e-6)
    if flip:
        assert 15 < int(crop.flipped(view).sum()) < 45


def pictures(folder, sizes):
    """A set of files of several sizes that are brought to 24x24."""
    for number, (height, width) in enumerate(sizes):
        Image.fromarray(noise(number + 1, height, width, 3)[-1].numpy()).save(folder / f"{number}.png")
    files = ImageFiles(folder, tuple(f"{number}.png" for number in range(len(sizes))), (3, 24, 24), True)
    return ImageSet("noise", "train", files, torch.arange(len(sizes)), tuple(map(str, range(len(sizes)))))


@pytest.mark.parametrize("workers", [0, 1])
def test_parts_of_files_are_of_whole_pictures(tmp_path, workers):
    """Cut and resized as torchvision does it to a picture of Pillow, to the last level, then mirrored."""
    sizes = [(40, 60), (60, 40), (30, 30), (24, 100)]
    images, crop = pictures(tmp_path, sizes), ResizedCrop(True)
    batches = Batches(images, 8, 0, augmentation=crop, workers=workers)
    batch = batches.at(3)
    for found, index, view in zip(batch.images, batch.index.tolist(), batch.view, strict=True):
        picture = Image.open(tmp_path / f"{index}.png")
        cut = functional.resized_crop(picture, *crop.box(int(view), *sizes[index]), [24, 24])
        expected = functional.to_image(cut).float() / 255
        assert torch.equal(found, expected.flip(2) if bool(crop.flipped(view[None])) else expected)


def test_a_stream_goes_on_anywhere_and_in_parts():
    images = ImageSet("noise", "train", noise(10, 3, 8, 8), torch.arange(10), tuple("abcdefghij"))
    crop = ResizedCrop(True)
    whole = Batches(images, 8, 5, augmentation=crop).at(7)
    for rank in (0, 1):
        one = Batches(images, 8, 5, augmentation=crop, rank=rank, world_size=2).at(7)
        assert torch.equal(one.images, whole.images[4 * rank :][:4])
    assert len(set(whole.view.tolist())) == 8


def test_words_are_told_apart():
    images = ImageSet("noise", "train", noise(4, 3, 8, 8), torch.zeros(4).long(), ("a", "b"))
    assert augmentation_by("resized-crop", images, "black") == ResizedCrop(False)
    assert augmentation_by("resized-crop+flip", images, "black") == ResizedCrop(True)
    assert augmentation_by("crop", images, "black").padding == 4 and augmentation_by("none", images, "black") is None
    with pytest.raises(InputError, match=r"--crop-fill mean: --augment resized-crop pads nothing"):
        augmentation_by("resized-crop", images, "mean")
