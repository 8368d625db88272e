"""Kernels' powers: NumPy's transform of the padded kernel, quadrature, SciPy's Bessel function, layers."""

import numpy as np
import pytest
import torch
from scipy.special import j0
from torch.nn.functional import conv2d, pad

from analysis.spectra.fields import power_law_fields
from analysis.spectra.kernels import bessel_j0, kernel_spectrum, kernel_transform, mean_power
from analysis.spectra.layers import spectrum_of_layers
from analysis.spectra.likelihood import whittle
from analysis.spectra.moments import SpectrumMoments
from analysis.spectra.radial import radial_spectrum
from priors.errors import InputError

SHAPES = [(8, 8), (7, 9), (6, 5)]
BLUR = torch.tensor([1.0, 2.0, 1.0], dtype=torch.float64).outer(torch.tensor([1.0, 2.0, 1.0], dtype=torch.float64)) / 16


def kernels(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def circular(maps, weight, stride=1):
    """A convolution of maps without edges."""
    height, width = weight.shape[2:]
    around = (width // 2, (width - 1) // 2, height // 2, (height - 1) // 2)
    return conv2d(pad(maps, around, mode="circular"), weight, stride=stride)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("size", [(3, 3), (5, 3), (2, 2)], ids=str)
def test_equation_5_is_the_transform_of_the_padded_kernel(shape, size):
    weight = kernels(4, *size)
    padded = np.zeros((4, *shape))
    padded[:, : size[0], : size[1]] = weight
    padded = np.roll(padded, (-(size[0] // 2), -(size[1] // 2)), (1, 2))
    expected = np.fft.fft2(padded).conj()  # which has e^(-ikr)
    np.testing.assert_allclose(kernel_transform(weight, shape), expected, atol=1e-12)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("size", [(3, 3), (2, 4)], ids=str)
def test_equation_4_holds_layer_by_layer(shape, size):
    """In a stack of convolutions without edges each output's transform is the sum over inputs of W(k) f(k)."""
    maps = torch.rand(2, 3, *shape, dtype=torch.float64)
    for channels in (3, 4, 4):
        weight = kernels(4, channels, *size)
        after = circular(maps, weight)
        expected = torch.einsum("oihw,nihw->nohw", kernel_transform(weight, shape), torch.fft.fft2(maps))
        torch.testing.assert_close(torch.fft.fft2(after), expected, rtol=1e-10, atol=1e-9)
        maps = after


def by_quadrature(weight, k, directions=96):
    """|W|^2 on average over equally spaced directions: exact for waves of so few periods; k in radians per pixel."""
    size = weight.shape[-1]
    place = np.arange(size) - size // 2
    angle = 2 * np.pi * (np.arange(directions) + 0.5) / directions
    along = k[:, None] * np.cos(angle), k[:, None] * np.sin(angle)
    waves = np.exp(1j * (along[0][..., None, None] * place[:, None] + along[1][..., None, None] * place))
    return (np.abs(np.einsum("mab,kdab->mkd", weight, waves)) ** 2).mean(-1)


@pytest.mark.parametrize("size", [3, 5])
def test_the_average_over_directions_of_a_thousand_kernels(size):
    weight = kernels(1000, size, size)
    frequency = torch.linspace(0, 0.5**0.5, 8, dtype=torch.float64)
    found = kernel_spectrum(weight, frequency).exact
    k = 2 * np.pi * frequency.numpy()
    np.testing.assert_allclose(found, by_quadrature(weight.numpy(), k), rtol=0, atol=1e-10)
    x = np.arange(900) / 10
    np.testing.assert_allclose(bessel_j0(torch.from_numpy(x)), j0(x), rtol=0, atol=1e-13)
    place = np.stack(np.meshgrid(np.arange(size), np.arange(size), indexing="ij"), -1).reshape(-1, 2)
    apart = np.linalg.norm(place[:, None] - place, axis=-1)
    flat = weight.flatten(1).numpy()
    np.testing.assert_allclose(found, np.einsum("ma,kab,mb->mk", flat, j0(k[:, None, None] * apart), flat), atol=1e-10)


def test_the_paper_s_average_is_none_over_directions():
    """Equation 6 by its letter; at frequency 0 it is exact, at |k| = 1 it is twice what the average is."""
    weight = kernels(1000, 3, 3)
    k = torch.tensor([0.0, 1.0, 2.5], dtype=torch.float64)
    found = kernel_spectrum(weight, k / (2 * torch.pi))
    beside = weight[:, [0, 2, 1, 1], [1, 1, 0, 2]].sum(1).numpy()
    corners = weight[:, [0, 0, 2, 2], [0, 2, 0, 2]].sum(1).numpy()
    centre = weight[:, 1, 1].numpy()
    for column, at in enumerate(k.tolist()):
        letter = centre + np.exp(1j * at) * beside + np.exp(1j * np.sqrt(2) * at) * corners
        np.testing.assert_allclose(found.equation_6[:, column], np.abs(letter) ** 2, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(found.equation_6[:, 0], found.exact[:, 0], atol=1e-10)
    # Over standard normal weights all three have the mean 9: what the approximations miss is in each kernel.
    for mean in (found.exact, found.equation_6, found.equation_7):
        np.testing.assert_allclose(mean.mean(0), 9, atol=1.6)  # 4 standard errors of a squared normal's mean
    assert 0.3 < float(found.error_6.median()) and 0.3 < float(found.error_7.median())
    assert found.error_6.shape == (1000,)
    wide = kernel_spectrum(kernels(5, 5), k)
    assert bool(wide.equation_6.isnan().all() and wide.exact.isfinite().all())


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("exponent", [0.0, -2.0])
def test_a_layer_does_what_its_weights_say(stride, exponent):
    """Measured on 3,000 fields of three free channels; a ring's error is under 2 %."""
    weight = kernels(4, 3, 3, 3, seed=3)
    fields = power_law_fields(1000, (12, 12), exponent, torch.Generator().manual_seed(0), channels=3)
    before, after = spectrum_of_layers([weight], (12, 12), exponent=exponent, strides=[stride])
    moments = SpectrumMoments.none(after.shape).add(circular(fields, weight, stride))
    spectrum = radial_spectrum(moments)
    rings = slice(0, after.shape[0] // 2)
    error = (spectrum.value - after.value)[rings] / spectrum.standard_error[rings]
    assert float(error.abs().max()) < 4  # of its own standard errors, in at most 6 rings: 1 of 2,600 seeds fails
    measured = whittle(moments)
    assert measured.exponent == pytest.approx(after.exponent, abs=4 * measured.sandwich_error)
    assert before.exponent == pytest.approx(exponent, abs=1e-9) and before.steepening == pytest.approx(0, abs=1e-9)


def test_each_layer_adds_one_term_to_the_logarithm():
    """A blur of known power, cos^4(pi k_x) cos^4(pi k_y), five times over: equation 7's argument, free of its rings."""
    found = spectrum_of_layers([BLUR[None, None]] * 5, (16, 15), exponent=-2.0)
    y, x = np.fft.fftfreq(16)[:, None], np.fft.fftfreq(15)
    own = (np.cos(np.pi * y) * np.cos(np.pi * x)) ** 4
    for number, layer in enumerate(found):
        np.testing.assert_allclose(layer.power, found[0].power.numpy() * own**number, rtol=1e-9, atol=1e-12)
        assert layer.layer == number and layer.shape == (16, 15)
    steps = np.diff([layer.exponent for layer in found])
    assert (steps < -0.5).all() and steps.tolist() == pytest.approx([layer.steepening for layer in found[1:]])


def test_the_power_of_many_kernels_is_their_mean_by_output():
    weight = kernels(5, 3, 3, 2)
    expected = kernel_transform(weight, (7, 8)).abs().square().sum(1).mean(0)
    torch.testing.assert_close(kernel_transform(mean_power(weight), (7, 8)).real, expected, rtol=1e-10, atol=1e-10)


def test_white_noise_through_random_layers_stays_nearly_flat():
    """As the paper finds of untrained networks: wide random layers have no frequency that they prefer."""
    weights = [kernels(64, 64, 3, 3, seed=seed) for seed in range(3)]
    assert all(abs(layer.exponent) < 0.05 for layer in spectrum_of_layers(weights, (16, 16)))


def test_bad_kernels_and_layers_are_said_in_one_line(as_a_user):
    good = kernels(2, 1, 3, 3)
    for call, line in (
        (lambda: kernel_transform(torch.ones(3), (8, 8)), "height, width"),
        (lambda: kernel_transform(torch.ones(3, 3, dtype=torch.long), (8, 8)), "floating-point"),
        (lambda: kernel_transform(torch.full((3, 3), torch.nan), (8, 8)), "not finite"),
        (lambda: kernel_spectrum(good, torch.ones(2, 2)), "a vector was expected"),
        (lambda: spectrum_of_layers([good[0]], (8, 8)), "the weights of layer 1 have shape"),
        (lambda: spectrum_of_layers([good], (8, 8), strides=[3]), "does not divide"),
        (lambda: spectrum_of_layers([good], (8, 8), strides=[1, 2]), "one of 1 or more"),
        (lambda: spectrum_of_layers([good], (8, 8), strides=[2]), "5x5 or more"),
        (lambda: spectrum_of_layers([good * 0], (8, 8)), "lets no power through"),
    ):
        with pytest.raises(InputError) as error:
            call()
        assert line in str(error.value) and "\n" not in str(error.value)
