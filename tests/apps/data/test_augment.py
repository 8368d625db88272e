"""Augmentation of whole batches against torchvision's transforms, image by image."""

from dataclasses import asdict

import pytest
import torch
from torchvision.transforms import functional

from apps.data.augment import Augmentation, augmentation_for, view_number
from apps.data.image_set import ImageSet, channel_statistics
from priors.errors import InputError


def pixels(count, channels=3, height=9, width=7):
    return torch.randint(0, 256, (count, channels, height, width), generator=torch.manual_seed(0), dtype=torch.uint8)


def one_by_one(images, top, left, flipped, padding, fill=0):
    """What RandomCrop(padding=...) and RandomHorizontalFlip do to PIL images after drawing the same numbers."""
    out = []
    for image, y, x, mirrored in zip(images, top, left, flipped, strict=True):
        picture = functional.pad(functional.to_pil_image(image), padding, fill=fill)
        picture = functional.crop(picture, y, x, image.shape[1], image.shape[2])
        out.append(functional.to_tensor(functional.hflip(picture) if mirrored else picture))
    return torch.stack(out)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("flip", "padding"), [(True, 4), (False, 2), (True, 0), (True, 1)])
def test_every_view_equals_torchvisions(channels, flip, padding):
    augmentation = Augmentation(flip, padding)
    places = [
        (y, x, mirrored)
        for y in range(2 * padding + 1)
        for x in range(2 * padding + 1)
        for mirrored in ((False, True) if flip else (False,))
    ]
    assert augmentation.views == len(places)
    view = torch.tensor([view_number(*place, augmentation) for place in places])
    assert view.tolist() == list(range(len(places)))
    images = pixels(len(places), channels)
    found = augmentation.apply(images, view)
    assert found.dtype == torch.float32
    assert torch.equal(found, one_by_one(images, *zip(*places, strict=True), padding))


def test_flip_and_a_padding_of_4_have_the_numbers_of_the_view_cache():
    augmentation = Augmentation(flip=True, padding=4)
    assert augmentation.views == 162
    assert all(
        view_number(y, x, f, augmentation) == (y * 9 + x) * 2 + f
        for y in range(9)
        for x in range(9)
        for f in (False, True)
    )
    for wrong in ((9, 0, False), (0, -1, False)):
        with pytest.raises(InputError, match="no view starts at"):
            view_number(*wrong, augmentation)
    with pytest.raises(InputError, match="mirrored"):
        view_number(0, 0, True, Augmentation(padding=4))


def test_grey_padding_equals_torchvisions():
    images, view = pixels(50), torch.arange(50)
    found = Augmentation(flip=True, padding=2, fill=(51 / 255, 0.0, 1.0)).apply(images, view)
    places = view // 2
    expected = one_by_one(images, (places // 5).tolist(), (places % 5).tolist(), (view % 2).tolist(), 2, (51, 0, 255))
    assert torch.equal(found, expected)


def test_padding_with_the_mean_is_zero_after_normalisation():
    found = ImageSet("noise", "train", pixels(40), torch.zeros(40).long(), ("a",))
    mean, deviation = (torch.tensor(values) for values in channel_statistics(found))
    augmentation = augmentation_for(found, flip=True, padding=3, fill="mean")
    view = augmentation.draw(40, torch.manual_seed(0))
    normalised = (augmentation.apply(found.images, view) - mean[:, None, None]) / deviation[:, None, None]
    # The other protocol: normalise, then pad with zeros.
    plain = (found.images.float().div(255) - mean[:, None, None]) / deviation[:, None, None]
    padded = torch.nn.functional.pad(plain, (3, 3, 3, 3))
    for image, whole, number in zip(normalised, padded, view.tolist(), strict=True):
        y, x = divmod(number // 2, 7)
        window = whole[:, y : y + 9, x : x + 7]
        assert torch.equal(image, window.flip(2) if number % 2 else window)


@pytest.mark.parametrize(("flip", "padding"), [(True, 4), (False, 2), (True, 6)])
def test_mirrored_edges_are_torchs(flip, padding):
    """Every view, of images that 6 pixels are the most for, against `F.pad` and slices."""
    augmentation = Augmentation(flip, padding, "reflect")
    view = torch.arange(augmentation.views)
    images = pixels(len(view))
    padded = torch.nn.functional.pad(images.float() / 255, (padding,) * 4, mode="reflect")
    expected = []
    for whole, number in zip(padded, view.tolist(), strict=True):
        y, x = divmod(number // 2 if flip else number, 2 * padding + 1)
        window = whole[:, y : y + 9, x : x + 7]
        expected.append(window.flip(2) if flip and number % 2 else window)
    for given in (images, images.float() / 255):
        assert torch.equal(augmentation.apply(given, view), torch.stack(expected))


def test_floats_are_taken_as_they_are():
    images, view = pixels(18), torch.arange(18)
    for augmentation in (Augmentation(True, 1), Augmentation(True), Augmentation()):
        numbers = view % augmentation.views
        assert torch.equal(augmentation.apply(images.float() / 255, numbers), augmentation.apply(images, numbers))
    assert torch.equal(Augmentation().apply(images, view * 0), images.float() / 255)


def test_logits_kept_for_other_paddings_stay_where_they_are():
    """The key of a cache of logits is made of these: runs of before must find theirs."""
    assert asdict(Augmentation(True, 4)) == {"flip": True, "padding": 4, "fill": (0.0,)}
    assert asdict(Augmentation(True, 4, "reflect"))["fill"] == "reflect"


def test_views_are_uniform():
    """A chi-squared test at a fixed seed, which a right generator fails for 1 seed in 1000."""
    augmentation = Augmentation(flip=True, padding=1)
    counts = augmentation.draw(18_000, torch.Generator().manual_seed(0)).bincount(minlength=18)
    assert len(counts) == 18 and float(((counts - 1000) ** 2 / 1000).sum()) < 40.79  # 17 degrees of freedom, 0.999


def test_words_of_protocols():
    found = ImageSet("noise", "train", pixels(4), torch.zeros(4).long(), ("a",))
    assert augmentation_for(found) is None
    assert augmentation_for(found, flip=True) == Augmentation(True)
    assert augmentation_for(found, padding=4) == Augmentation(False, 4, (0.0,))
    assert augmentation_for(found, padding=4, fill=[0.5]) == Augmentation(False, 4, (0.5,))
    with pytest.raises(InputError, match="unknown padding value 'maen': did you mean 'mean'"):
        augmentation_for(found, padding=4, fill="maen")
    assert augmentation_for(found, flip=True, padding=4, fill="reflect") == Augmentation(True, 4, "reflect")
    assert augmentation_for(found, flip=True, fill="reflect") == Augmentation(True)
    with pytest.raises(InputError, match="padding by 7 mirrored pixels given for images of 9x7: they need 8 a side"):
        augmentation_for(found, padding=7, fill="reflect")
    with pytest.raises(InputError, match="they need 8 a side"):
        Augmentation(True, 7, "reflect").apply(found.images, torch.zeros(4).long())
    with pytest.raises(InputError, match="crop padding -1"):
        augmentation_for(found, padding=-1)
    with pytest.raises(InputError, match=r"values in \[0, 1\]"):
        augmentation_for(found, padding=1, fill=[float("nan")])
    with pytest.raises(InputError, match="2 padding values given for images of 3 channels"):
        augmentation_for(found, padding=1, fill=[0.0, 1.0]).apply(found.images, torch.zeros(4).long())
