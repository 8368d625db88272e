"""Spectra over rings: NumPy's full transform, ring by ring; Parseval; merged and streamed; what is refused."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from analysis.spectra.convention import SPECTRUM_CONVENTIONS, SpectrumConvention, spectrum_convention
from analysis.spectra.frequencies import frequency_grid
from analysis.spectra.moments import SpectrumMoments
from analysis.spectra.radial import radial_spectrum
from analysis.spectra.regression import regression_exponent
from priors.errors import InputError

POWER = SPECTRUM_CONVENTIONS["power"]
SHAPES = [(8, 8), (7, 7), (5, 5), (32, 32), (9, 14), (14, 9)]


def drawn(shape, images=6, channels=3, seed=0):
    source = torch.Generator().manual_seed(seed)
    return torch.rand(images, channels, *shape, generator=source, dtype=torch.float64)


def of(maps, convention=POWER):
    return radial_spectrum(SpectrumMoments.none(tuple(maps.shape[2:]), convention).add(maps))


def by_numpy(maps, quantity="power"):
    """Ring means of the full plane, a ring at a time, and how many frequencies each has; an image a row."""
    maps = maps.numpy()
    height, width = maps.shape[2:]
    centred = maps - maps.mean((2, 3), keepdims=True)
    power = np.abs(np.fft.fft2(centred)) ** 2 / (height * width)
    values = {"power": power, "amplitude": np.sqrt(power), "log": np.log(np.maximum(power, 1e-30))}[quantity]
    k = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.fftfreq(width)) * min(height, width)
    rings = np.floor(k + 0.5)
    found, count = [], []
    for ring in range(1, int(rings.max()) + 1):
        found.append(values.mean(1)[:, rings == ring].mean(1))
        count.append((rings == ring).sum())
    return np.stack(found, 1), np.array(count)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("quantity", ["power", "amplitude", "log"])
def test_numpys_full_transform_ring_by_ring(shape, quantity):
    maps = drawn(shape)
    each, count = by_numpy(maps, quantity)
    found = of(maps, replace(POWER, quantity=quantity))
    assert found.count.tolist() == count.tolist()
    np.testing.assert_allclose(found.value, each.mean(0), rtol=1e-10)
    np.testing.assert_allclose(found.covariance, np.cov(each.T) / len(each), rtol=1e-6, atol=1e-12)
    summed = of(maps, replace(POWER, quantity=quantity, reduction="sum"))
    expected = each.mean(0) + np.log(count) if quantity == "log" else each.mean(0) * count
    np.testing.assert_allclose(summed.value, expected, rtol=1e-10)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_parseval(shape):
    maps = drawn(shape)
    moments = SpectrumMoments.none(shape, replace(POWER, demean=False)).add(maps)
    total = float(moments.grid.weight @ moments.power)
    assert total == pytest.approx(float(maps.square().mean(1).sum()), rel=1e-12)
    centred = maps - maps.mean((2, 3), keepdim=True)
    assert float(SpectrumMoments.none(shape).add(maps).total.sum()) == pytest.approx(
        float(centred.square().mean(1).sum()), rel=1e-12
    )


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_a_wave_lands_in_its_ring_wherever_it_points(shape):
    """No half pixel off: turned by 90 degrees, or upside down, a map has the same spectrum."""
    maps = drawn(shape)
    expected = of(maps)
    for turned in (maps.flip(2), maps.flip(3), maps.transpose(2, 3), maps.roll((2, 3), (2, 3))):
        torch.testing.assert_close(of(turned.contiguous()).value, expected.value)
    height, width = shape
    wave = torch.cos(2 * torch.pi * 2 * torch.arange(width, dtype=torch.float64) / width).expand(1, 1, height, width)
    value = of(wave).value
    ring = round(2 / width * min(shape))
    assert int(value.argmax()) + 1 == ring and float(value.sum()) == pytest.approx(float(value.max()))


def test_frequencies_are_mean_logarithms_of_their_rings():
    grid, found = frequency_grid((16, 16)), of(drawn((16, 16)))
    k = np.hypot(np.fft.fftfreq(16)[:, None], np.fft.fftfreq(16))
    for ring in (1, 2, 8, 11):
        inside = np.floor(k * 16 + 0.5) == ring
        assert float(found.frequency[ring - 1]) == pytest.approx(np.exp(np.log(k[inside]).mean()), rel=1e-12)
    assert float(found.ring[7]) == 0.5 and int(grid.count.sum()) == 256


def test_streamed_in_parts_merged_and_at_once_are_one():
    maps = drawn((9, 8), images=10)
    none = SpectrumMoments.none((9, 8))
    whole = none.add(maps)
    parts = none.add(maps[:3]).add(maps[3:4]).merge(none.add(maps[4:])).merge(none)
    assert (parts.images, parts.channels) == (10, 3)
    for name in ("power", "total", "square"):
        torch.testing.assert_close(getattr(parts, name), getattr(whole, name), rtol=1e-12, atol=1e-12)
    with pytest.raises(InputError, match="same convention"):
        whole.merge(SpectrumMoments.none((9, 8), SPECTRUM_CONVENTIONS["paper"]))


def test_what_is_kept_does_not_grow_with_images_or_channels(monkeypatch):
    def numbers(moments):
        return sum(one.numel() for one in vars(moments).values() if isinstance(one, torch.Tensor))

    few, many = (SpectrumMoments.none((32, 32)).add(torch.rand(n, 4 * n, 32, 32)) for n in (1, 9))
    assert numbers(few) == numbers(many) < 32 * 32 * 20
    monkeypatch.setattr("analysis.spectra.moments._VALUES", 1)  # one image at a time
    maps = drawn((8, 8))
    one = SpectrumMoments.none((8, 8)).add(maps)
    monkeypatch.undo()
    torch.testing.assert_close(one.square, SpectrumMoments.none((8, 8)).add(maps).square)


@pytest.mark.parametrize("window", ["hann", "kaiser"])
def test_windows_keep_the_power_of_white_noise(window):
    noise = torch.randn(400, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    found = of(noise, replace(POWER, window=window, demean=False))
    assert float(found.value[3:].mean()) == pytest.approx(1, abs=0.03)


def test_padding_is_a_finer_grid_of_the_same_transform():
    maps = drawn((8, 8))
    plain = SpectrumMoments.none((8, 8), replace(POWER, demean=0.5)).add(maps)
    padded = SpectrumMoments.none((8, 8), replace(POWER, demean=0.5, padding=4, scale=2.0)).add(maps)
    every = padded.power.view(32, 17)[::4, ::4]
    torch.testing.assert_close(every, plain.power.view(8, 5) / 4)


def test_grey_weights_and_channels():
    maps = drawn((8, 8))
    grey = 0.2989 * maps[:, :1] + 0.587 * maps[:, 1:2] + 0.114 * maps[:, 2:]
    torch.testing.assert_close(of(maps, replace(POWER, channels="grey")).value, of(grey).value)
    torch.testing.assert_close(of(maps, replace(POWER, channels=(0.0, 1.0, 0.0))).value, of(maps[:, 1:2]).value)
    torch.testing.assert_close(of(grey, replace(POWER, channels="grey")).value, of(grey).value)
    torch.testing.assert_close(of(maps).value, sum(of(maps[:, c : c + 1]).value for c in range(3)) / 3)
    with pytest.raises(InputError, match="6 channels, and grey has weights for 3"):
        of(drawn((8, 8), channels=6), replace(POWER, channels="grey"))


def test_scaled_spectra_are_each_image_s_own_between_0_and_1():
    """By hand: the mean over images of ring means, each image's brought to [0, 1]."""
    maps = drawn((12, 12), channels=1)
    each = by_numpy(maps, "log")[0]
    low, high = each.min(1, keepdims=True), each.max(1, keepdims=True)
    found = of(maps, replace(SPECTRUM_CONVENTIONS["durall"], demean=True))
    np.testing.assert_allclose(found.value, ((each - low) / (high - low)).mean(0), rtol=1e-9, atol=1e-9)
    with pytest.raises(InputError, match="scaled image by image"):
        regression_exponent(found)


@pytest.mark.parametrize("convention", SPECTRUM_CONVENTIONS.values(), ids=SPECTRUM_CONVENTIONS)
def test_constant_maps_have_a_zero_spectrum_and_no_nan(convention):
    maps = torch.tensor([0.1, 0.7, 3.0]).view(3, 1, 1, 1).expand(3, 1, 7, 8)
    found = of(maps, convention)
    assert bool(found.value.isfinite().all() & found.standard_error.isfinite().all())
    if convention.demean is True:
        assert not found.value.any()


@pytest.mark.parametrize("shape", [(4, 4), (4, 32), (32, 4), (1, 1)], ids=str)
def test_small_maps_have_no_spectrum(shape):
    with pytest.raises(InputError, match="5x5 or more was expected"):
        SpectrumMoments.none(shape, SPECTRUM_CONVENTIONS["stylegan3"])


def test_bad_maps_are_said_in_one_line(as_a_user):
    moments = SpectrumMoments.none((8, 8)).add(torch.rand(2, 3, 8, 8))
    for maps, line in (
        (torch.rand(5, 64), "a vector an image has no spectrum"),
        (torch.rand(5, 3, 8), "(images, channels, height, width) was expected"),
        (torch.rand(5, 3, 7, 8), "3 channels of 8x8 pixels"),
        (torch.rand(5, 2, 8, 8), "one size"),
        (torch.ones(5, 3, 8, 8, dtype=torch.uint8), "floating-point"),
    ):
        with pytest.raises(InputError) as error:
            moments.add(maps)
        assert line in str(error.value) and "\n" not in str(error.value)
    with pytest.raises(InputError, match="no images"):
        radial_spectrum(SpectrumMoments.none((8, 8)))
    for value in (torch.nan, torch.inf):
        with pytest.raises(InputError, match="not finite"):
            radial_spectrum(moments.add(torch.full((1, 3, 8, 8), value)))


def test_conventions_that_do_not_exist(as_a_user):
    with pytest.raises(InputError, match="did you mean 'durall'"):
        spectrum_convention("durrall")
    for choice, line in (
        ({"quantity": "powers"}, "did you mean 'power'"),
        ({"window": "han"}, "did you mean 'hann'"),
        ({"channels": "gray"}, "did you mean 'grey'"),
        ({"fit_range": (0.5, 0.1)}, "cycles per pixel"),
        ({"padding": 0}, "padding"),
        ({"scale": 0.0}, "scale"),
    ):
        with pytest.raises(InputError, match=line):
            SpectrumConvention(**choice)
