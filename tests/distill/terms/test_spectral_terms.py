"""Spectral terms against NumPy's whole transform in double precision, frequency by frequency."""

import numpy as np
import pytest
import torch
from slopes import double, slopes
from traces import Built, given_of, setting_of

from analysis.spectra.frequencies import frequency_grid, half_plane
from distill.fourier import Fourier
from distill.fourier_rings import ring_matrix
from distill.spectra import SpectraOf
from distill.terms.cross_power import CrossPower, incoherence
from distill.terms.spectral_l1 import SpectralL1
from priors.errors import InputError

SIZES = [(8, 8), (7, 7), (5, 8), (8, 5), (4, 6), (1, 1), (2, 2), (1, 6)]


def maps(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def whole(x: np.ndarray) -> np.ndarray:
    return np.fft.fft2(x, norm="ortho")


def rings_of(height: int, width: int) -> np.ndarray:
    """The ring of each frequency of the whole transform."""
    rows, columns = np.fft.fftfreq(height)[:, None], np.fft.fftfreq(width)[None]
    return np.floor(np.sqrt(rows**2 + columns**2) * min(height, width) + 0.5 + 1e-6).astype(int)


def slow_distance(s: np.ndarray, t: np.ndarray) -> float:
    return np.abs(whole(s) - whole(t)).sum() / len(s)


def slow_incoherence(s: np.ndarray, t: np.ndarray) -> np.ndarray:
    """Of each map, ring by ring."""
    numbers, found = rings_of(*s.shape[-2:]), []
    for one, other in zip(whole(s), whole(t), strict=True):
        each = []
        for ring in np.unique(numbers):
            on = numbers == ring
            cross = (one[on] * other[on].conj()).real.mean()
            each.append(1 - cross / np.sqrt((np.abs(one[on]) ** 2).mean() * (np.abs(other[on]) ** 2).mean()))
        found.append(np.mean(each))
    return np.array(found)


def compared(s, t):
    return SpectraOf(*s.shape[-2:])(s, t)


def coherent(s, t):
    return incoherence(compared(s, t))


def distance(s, t):
    return compared(s, t).distance / len(s)


@pytest.mark.parametrize(("side", "rings"), [(8, 7), (16, 12), (32, 24)])
def test_square_maps_have_as_many_rings(side, rings):
    matrix = ring_matrix(side, side)
    assert matrix.shape == (rings, side * (side // 2 + 1))
    assert matrix.sum(1).tolist() == np.bincount(rings_of(side, side).ravel()).tolist()


@pytest.mark.parametrize("size", [(8, 8), (7, 9), (16, 6)], ids=str)
def test_rings_are_those_of_the_analysis(size):
    grid = frequency_grid(size)
    assert ring_matrix(*size).sum(1)[1:].tolist() == grid.over_rings(grid.count).tolist()


@pytest.mark.parametrize("size", [*SIZES, (32, 32), (56, 56)], ids=str)
def test_the_transform_is_numpys(size):
    x = maps(3, 2, *size)
    real, imaginary = np.moveaxis(double(Fourier(*size)(x)), -1, 2).transpose(1, 0, 2, 3, 4)
    np.testing.assert_allclose(real + 1j * imaginary, np.fft.rfft2(double(x), norm="ortho"), atol=2e-6)
    last = x.contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(Fourier(*size)(last), Fourier(*size)(x), rtol=0, atol=1e-6)


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_the_half_plane_counts_as_the_whole(size):
    s, t = maps(3, 2, *size), maps(3, 2, *size, seed=1)
    assert half_plane(size).weight.sum() == size[0] * size[1]
    assert distance(s, t).item() == pytest.approx(slow_distance(double(s), double(t)), rel=1e-5)
    expected = slow_incoherence(double(s.flatten(0, 1)), double(t.flatten(0, 1)))
    assert double(coherent(s, t)).ravel() == pytest.approx(expected, rel=1e-4, abs=1e-6)
    torch.testing.assert_close(compared(s, t).power.sum(1), s.square().sum((-2, -1)))  # Parseval


def test_slopes_are_those_of_the_definitions():
    s, t = maps(2, 3, 8, 8), maps(2, 3, 8, 8, seed=1)
    ours, theirs = slopes(lambda x: distance(x, t), lambda x: slow_distance(x, double(t)), s)
    assert ours == pytest.approx(theirs, rel=1e-3)
    flat = double(t.flatten(0, 1))
    ours, theirs = slopes(
        lambda x: coherent(x, t).sum(), lambda x: slow_incoherence(x.reshape(-1, 8, 8), flat).sum(), s
    )
    assert ours == pytest.approx(theirs, rel=1e-3, abs=1e-5)


def test_slopes_in_both_networks_are_those_of_finite_differences():
    s, t = (maps(2, 1, 3, 4, seed=seed).double().requires_grad_() for seed in (0, 1))
    module = SpectraOf(3, 4).double()
    assert torch.autograd.gradcheck(lambda *both: tuple(vars(module(*both)).values()), (s, t))


def test_multiples_cohere_and_opposites_do_not():
    a, b = maps(3, 4, 8, 8), maps(3, 4, 8, 8, seed=1)
    assert coherent(a, 3 * a).abs().max() < 1e-6
    assert (coherent(a, -a) - 2).abs().max() < 1e-6
    torch.testing.assert_close(coherent(a, b), coherent(b, a))
    for factor in (1e-6, 1e6):
        torch.testing.assert_close(coherent(factor * a, b), coherent(a, b), rtol=1e-4, atol=1e-6)
    assert 0.5 < coherent(a, b).mean() < 1.5
    torch.testing.assert_close(distance(3 * a, 3 * b), 3 * distance(a, b))
    assert distance(a, a) == 0 and distance(a, b) == distance(b, a)


@pytest.mark.parametrize("side", [7, 16, 32, 56])
def test_constant_maps_have_power_at_frequency_0_alone(side):
    flat = torch.tensor([0.3, -1e4, 7.7, 1e-3]).view(1, 4, 1, 1).expand(1, 4, side, side)
    assert coherent(flat, maps(1, 4, side, side)).sub(1).abs().max() < 1.01 / len(ring_matrix(side, side))
    assert coherent(flat, -flat).sub(2).abs().max() < 1e-6


@pytest.mark.parametrize("value", [0.0, 0.3, -1e4])
def test_constant_maps_give_give_numbers(value):
    """They have power at frequency 0 alone, or nowhere."""
    a, flat = maps(2, 3, 8, 8), torch.full((2, 3, 8, 8), value)
    for pair in ((a, flat), (flat, a), (flat, flat), (flat, 3 * flat)):
        one = pair[0].clone().requires_grad_()
        for loss in (coherent, distance):
            found = loss(one, pair[1]).sum()
            (slope,) = torch.autograd.grad(found, one)
            assert found.isfinite() and slope.isfinite().all()
    assert coherent(flat, flat).abs().max() < 1e-6 and coherent(flat, 3 * flat).abs().max() < 1e-6
    # Six of seven rings are in one of them alone; the sign at frequency 0 is that of both means, where there is one.
    agree = torch.sign(a.mean((-2, -1))) * np.sign(value)
    torch.testing.assert_close(coherent(a, flat), 1 - agree / 7, rtol=1e-4, atol=1e-4)
    assert distance(flat, flat) == 0


def test_what_is_no_number_is_not_hidden():
    a, spoilt = maps(2, 3, 4, 4), maps(2, 3, 4, 4, seed=1)
    spoilt[0, 0, 0, 0] = float("nan")
    for loss in (coherent, distance):
        assert loss(a, spoilt).sum().isnan() and loss(spoilt, a).sum().isnan()


def test_terms_are_of_the_maps_that_are_shared(student, teacher):
    for term, options in ((SpectralL1, {}), (SpectralL1, {"decay": 1.0}), (CrossPower, {})):
        built = Built(term(**options), setting_of())
        pairs = [(double(pair.student), double(pair.teacher)) for pair in built.shared[0](student, teacher)]
        if term is CrossPower:
            each = [slow_incoherence(*(one.reshape(-1, *one.shape[2:]) for one in pair)).mean() for pair in pairs]
            expected = np.mean(each)
        else:
            decay = options.get("decay", 0.5)
            expected = sum(decay**n * slow_distance(*pair) for n, pair in zip((2, 1, 0), pairs, strict=True))
        assert built(student, teacher, given_of(7)).item() == pytest.approx(expected, rel=1e-4)


def test_what_cannot_be_followed_is_refused():
    for decay in (0.0, 1.5, float("nan")):
        with pytest.raises(InputError, match="--spectral-l1.decay .*expected a number above 0"):
            SpectralL1(decay=decay)
