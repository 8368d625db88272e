"""Shifts of whole batches against torchvision's operations, image by image."""

from pathlib import Path

import pytest
import torch
from scipy import stats
from torchvision.transforms import ColorJitter, InterpolationMode, functional

from apps.data.augment import Augmentation
from apps.data.image_set import ImageSet
from apps.data.shift import ORDERS, Shift, parse_shift, shifted_set
from apps.data.sources.image_files import ImageFiles
from priors.errors import InputError

ADJUST = (functional.adjust_brightness, functional.adjust_contrast, functional.adjust_saturation)
# Of float32 numbers up to 2, three operations of a few roundings each; torchvision's own are as far from float64's.
ROUNDING = 1e-6


def pixels(count, channels=3, height=9, width=7):
    return torch.randint(0, 256, (count, channels, height, width), generator=torch.manual_seed(0), dtype=torch.uint8)


def photos(count=200, channels=3, side=16):
    """Smooth pictures, most of whose pixels are not at the ends of the range."""
    coarse = torch.rand(count, channels, 3, 3, generator=torch.manual_seed(1))
    smooth = torch.nn.functional.interpolate(coarse, (side, side), mode="bilinear")
    return smooth.mul(255).round().byte()


def adjusted(images, draws):
    """torchvision's operations on float tensors, one image and one operation at a time."""
    out = []
    for image, (*factors, order) in zip(images, draws.tolist(), strict=True):
        image = image.float() / 255
        for operation in ORDERS[int(order)]:
            image = ADJUST[operation](image, factors[operation])
        out.append(image)
    return torch.stack(out)


def resized(images, size):
    return functional.resize(images, list(size), InterpolationMode.NEAREST)


@pytest.mark.parametrize("strength", [0.2, 0.8, 1.0])
@pytest.mark.parametrize("channels", [1, 3])
def test_photometric_equals_torchvisions_operations_one_by_one(channels, strength):
    shift = Shift("photometric", strength)
    draws = shift.draw(200, torch.Generator().manual_seed(0))
    assert set(draws[:, 3].tolist()) == set(range(6))
    for images in (pixels(200, channels), photos(200, channels)):
        expected = adjusted(images, draws)
        assert (expected - images / 255).abs().amax((1, 2, 3)).gt(0.01).sum() > 190  # something is done
        for given in (images, images.float() / 255):
            before = given.clone()
            found = shift.apply(given, draws)
            assert found.dtype == torch.float32 and torch.equal(given, before)
            torch.testing.assert_close(found, expected, rtol=0, atol=ROUNDING)


def test_each_order_of_extreme_factors():
    draws = torch.tensor(
        [(*factors, order) for order in range(6) for factors in ((0.0, 1.0, 2.0), (2.0, 0.0, 1.0), (1.7, 1.8, 0.0))]
    )
    images = photos(len(draws))
    expected = adjusted(images, draws)
    assert len({tuple(image.flatten().tolist()) for image in expected[2::3]}) == 6
    found = Shift("photometric", 1.0).apply(images, draws)
    torch.testing.assert_close(found, expected, rtol=0, atol=ROUNDING)


def test_photometric_is_color_jitter():
    """The transform itself, whose draws are taken down as it would make them."""
    jitter, images = ColorJitter(0.6, 0.6, 0.6), photos(60)
    rows, expected = [], []
    for number, image in enumerate(images):
        torch.manual_seed(number)
        order, *factors, _ = jitter.get_params(jitter.brightness, jitter.contrast, jitter.saturation, jitter.hue)
        rows.append((*factors, ORDERS.index(tuple(turn for turn in order.tolist() if turn < 3))))
        torch.manual_seed(number)
        expected.append(jitter(image.float() / 255))
    found = Shift("photometric", 0.6).apply(images, torch.tensor(rows))
    torch.testing.assert_close(found, torch.stack(expected), rtol=0, atol=ROUNDING)


def test_saturation_leaves_grey_images_as_they_are():
    images = photos(6, 1)
    draws = torch.tensor([(1.0, 1.0, factor, order) for factor in (0.0, 1.7) for order in (0.0, 3.0, 5.0)])
    assert torch.equal(Shift("photometric", 1.0).apply(images, draws), images / 255)


@pytest.mark.parametrize("rate", [0.75, 0.5, 0.25, 0.3, 0.9, 1.0])
@pytest.mark.parametrize("shape", [(32, 32), (28, 28), (9, 7), (50, 100)])
def test_downsampling_equals_torchvisions_resizing(shape, rate):
    images = pixels(4, 3, *shape)
    floats = images / 255
    size = torch.nn.functional.interpolate(floats, scale_factor=rate, recompute_scale_factor=True).shape[2:]
    small = resized(floats, size)
    none = torch.empty(4, 0)
    for given in (images, floats):
        kept, back = (Shift("downsample", rate, small=small).apply(given, none) for small in (True, False))
        assert kept.dtype == back.dtype == torch.float32
        assert torch.equal(kept, small) and torch.equal(back, resized(small, shape))
    assert Shift("downsample", rate).image_shape((3, *shape)) == (3, *shape)
    assert Shift("downsample", rate, small=True).image_shape((3, *shape)) == (3, *size)


@pytest.mark.parametrize("rate, side", [(1.0, 32), (0.75, 24), (0.5, 16), (0.25, 8)])
def test_the_sizes_of_the_papers_rates(rate, side):
    assert Shift("downsample", rate, small=True).image_shape((3, 32, 32)) == (3, side, side)


@pytest.mark.parametrize("word", ["photometric:0", "downsample:1", "downsample:1:small"])
def test_no_shift_leaves_images_exactly_as_they_are(word):
    shift = parse_shift(word)
    draws = shift.draw(5, torch.Generator().manual_seed(0))
    assert shift.identity and shift.drawn == 0 and draws.shape == (5, 0)
    for channels in (1, 2, 3):
        assert torch.equal(shift.apply(pixels(5, channels), draws), pixels(5, channels) / 255)
        assert torch.equal(shift.apply(pixels(5, channels) / 255, draws), pixels(5, channels) / 255)


def test_draws_are_uniform():
    """Kolmogorov-Smirnov and chi-squared tests at a fixed seed; a right generator fails one of the 8 for 1 in 125."""
    draws = Shift("photometric", 0.4).draw(12_000, torch.Generator().manual_seed(0)).double()
    for column in draws[:, :3].T:
        assert 0.6 <= column.min() and column.max() <= 1.4
        assert stats.kstest(column.numpy(), stats.uniform(0.6, 0.8).cdf).pvalue > 0.001
    order = draws[:, 3]
    assert stats.chisquare(order.long().bincount(minlength=6).numpy()).pvalue > 0.001
    for one, other in ((0, 1), (0, 2), (1, 2), (0, 3)):
        assert stats.spearmanr(draws[:, one].numpy(), draws[:, other].numpy()).pvalue > 0.001


def test_a_process_finds_in_its_slice_what_one_process_finds():
    shift, images = Shift("photometric", 0.8), photos(24)
    whole = shift.draw(24, torch.Generator().manual_seed(3))
    assert torch.equal(whole, shift.draw(24, torch.Generator().manual_seed(3)))
    for count in (1, 5, 23):
        assert torch.equal(shift.draw(count, torch.Generator().manual_seed(3)), whole[:count])
    found = shift.apply(images, whole)
    for start, stop in ((0, 12), (12, 24), (5, 6), (7, 10)):
        assert torch.equal(shift.apply(images[start:stop], whole[start:stop]), found[start:stop])


@pytest.mark.parametrize("word", ["photometric:0.8", "downsample:0.5", "downsample:0.5:small", "downsample:1"])
def test_the_device_is_never_waited_for(word):
    """A tensor without values, of which none can be asked for, goes through."""
    shift = parse_shift(word)
    draws = shift.draw(4, torch.Generator().manual_seed(0)).to("meta")
    for images in (pixels(4, 3, 32, 32), pixels(4, 3, 32, 32) / 255):
        found = shift.apply(images.to("meta"), draws)
        assert found.is_meta and found.shape == (4, *shift.image_shape((3, 32, 32)))


@pytest.mark.parametrize("word", ["photometric:0.8", "downsample:0.75", "downsample:0.75:small"])
def test_a_shift_comes_before_crop_and_flip(word):
    shift, augmentation = parse_shift(word), Augmentation(flip=True, padding=2)
    images, view = photos(50), torch.arange(50)
    draws = shift.draw(50, torch.Generator().manual_seed(0))
    found = augmentation.apply(shift.apply(images, draws), view)
    changed = adjusted(images, draws) if shift.kind == "photometric" else resized(images / 255, (12, 12))
    if shift.kind == "downsample" and not shift.small:
        changed = resized(changed, (16, 16))
    side = changed.shape[3]
    for image, after, number in zip(changed, found, view.tolist(), strict=True):
        (top, left), flipped = divmod(number // 2, 5), number % 2
        image = functional.crop(functional.pad(image, 2), top, left, side, side)
        torch.testing.assert_close(after, functional.hflip(image) if flipped else image, rtol=0, atol=ROUNDING)


def a_set(count=1500, channels=3):
    return ImageSet("photos", "test", photos(count, channels), torch.arange(count) % 2, ("a", "b"), "here")


def test_a_shifted_set_is_rounded_once():
    images, shift = a_set(), Shift("photometric", 0.8)
    found = shifted_set(images, shift, seed=4)
    assert (found.name, found.split, found.source) == ("photos", "test shifted by photometric:0.8", "here")
    assert found.labels is images.labels and found.class_names == images.class_names
    assert found.images.dtype == torch.uint8 and torch.equal(images.images, photos(1500))
    # What becomes of an image does not depend on how many others there are.
    again = shifted_set(images.subset(range(1300)), shift, seed=4)
    assert torch.equal(again.images, found.images[:1300])
    assert found.digest == shifted_set(a_set(), shift, seed=4).digest != images.digest
    assert not torch.equal(shifted_set(images, shift, seed=5).images, found.images)


def test_rounding_moves_no_pixel_by_more_than_half_a_level(monkeypatch):
    images, seen = a_set(1100), []
    draw = Shift.draw
    monkeypatch.setattr(Shift, "draw", lambda *given: seen.append(draw(*given)) or seen[-1])
    found = shifted_set(images, Shift("photometric", 0.6))
    expected = adjusted(images.images, seen[0]) * 255
    assert (found.images - expected).abs().max() < 0.5 + 255 * ROUNDING


def test_a_downsampled_set_is_exact():
    images = a_set()
    small = resized(images.images, (8, 8))
    assert torch.equal(shifted_set(images, Shift("downsample", 0.5)).images, resized(small, (16, 16)))
    found = shifted_set(images, Shift("downsample", 0.5, small=True))
    assert torch.equal(found.images, small) and found.image_shape == (3, 8, 8)
    for word in ("photometric:0", "downsample:1", "downsample:1:small"):
        assert shifted_set(images, parse_shift(word)) is images


def test_words_mean_shifts():
    for word, shift in (
        ("photometric:0.4", Shift("photometric", 0.4)),
        ("photometric:0", Shift("photometric", 0.0)),
        ("downsample:0.5", Shift("downsample", 0.5)),
        ("downsample:1", Shift("downsample", 1.0)),
        ("downsample:0.25:small", Shift("downsample", 0.25, small=True)),
    ):
        assert parse_shift(word) == shift and str(shift) == word
    assert parse_shift("photometric:.8") == Shift("photometric", 0.8)


@pytest.mark.parametrize(
    "word, said",
    [
        ("photometic:0.4", "unknown shift 'photometic': did you mean 'photometric'?"),
        ("", "unknown shift ''"),
        ("0.4", "unknown shift '0.4'"),
        ("photometric", "shift 'photometric': expected photometric:STRENGTH"),
        ("photometric:", "'' is not a number; expected photometric:STRENGTH"),
        ("photometric:strong", "'strong' is not a number"),
        ("photometric:-0.1", "strength -0.1 given: a number from 0 to 1"),
        ("photometric:40", "strength 40.0 given: a number from 0 to 1"),
        ("photometric:nan", "strength nan given: a number from 0 to 1"),
        ("photometric:0.4:small", "a photometric shift keeps every pixel"),
        ("downsample:0", "by 0.0 given: a rate above 0 and at most 1"),
        ("downsample:2", "by 2.0 given: a rate above 0 and at most 1"),
        ("downsample:0.5:smal", "unknown option of a shift 'smal': did you mean 'small'?"),
        ("downsample:0.5:small:small", "expected photometric:STRENGTH"),
    ],
)
def test_other_words_end_in_one_line(word, said):
    with pytest.raises(InputError) as error:
        parse_shift(word)
    assert said in str(error.value) and "\n" not in str(error.value)


def test_images_that_cannot_be_shifted_end_in_one_line():
    with pytest.raises(InputError, match="images of 2 channels for a photometric shift"):
        Shift("photometric", 0.4).apply(pixels(2, 2), torch.ones(2, 4))
    with pytest.raises(InputError, match="images of 9x3 pixels downsampled by 0.25: none would be left"):
        Shift("downsample", 0.25).image_shape((3, 9, 3))
    files = ImageFiles(Path("nowhere"), ("one.png",), (3, 8, 8), resized=False)
    with pytest.raises(InputError, match="only sets in memory"):
        shifted_set(ImageSet("files", "test", files, torch.zeros(1).long(), ("a",)), Shift("downsample", 0.5))
