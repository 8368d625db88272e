"""The search for scales of noise, against features for which the optimum is known otherwise."""

import math

import pytest
import torch
from torch import nn

from analysis import discarded_information
from priors import InputError

SHAPE = (2, 6, 6)
CONSTANT = math.log(2 * math.pi * math.e) / 2


def numbers(seed: int, *shape: int) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


IMAGES, SLOPE, BEND = numbers(0, 3, *SHAPE), 2 * numbers(1, *SHAPE) - 1, 4 * numbers(2, *SHAPE)


def parabolas(images):
    """Each value's own, slope and bend: some are nearly flat where they are."""
    return images * SLOPE + images.square() * BEND


def parabolas_of_most_entropy(wanted):
    """Scales whose squares q have s q + 6 b^2 q^2 alike, as half the slope of E = s q + 3 b^2 q^2 with log(sigma)."""
    s, b = (SLOPE + 2 * BEND * IMAGES).square(), BEND.square()
    low, high = torch.zeros(3, 1, 1, 1).double(), torch.full((3, 1, 1, 1), 10.0).double()
    for _ in range(100):
        level = (low + high) / 2
        q = 2 * level / (s + (s.square() + 24 * b * level).sqrt())
        above = (s * q + 3 * b * q.square()).flatten(1).sum(1).view(3, 1, 1, 1) > wanted
        low, high = torch.where(above, low, level), torch.where(above, level, high)
    return q.sqrt()


def parabola_energy(sigma):
    q = sigma.square()
    return ((SLOPE + 2 * BEND * IMAGES).square() * q + 3 * (BEND * q).square()).flatten(1).sum(1)


@pytest.mark.parametrize("alpha", [1e-4, 0.03])
def test_parabolas_have_the_scales_that_algebra_gives(alpha):
    delta = float((SLOPE + 2 * BEND * IMAGES).square().flatten(1).sum(1).mean())
    expected = parabolas_of_most_entropy(alpha * delta)
    assert parabola_energy(expected).tolist() == pytest.approx([alpha * delta] * 3)
    options = {"alpha": alpha, "delta": delta, "grid": None, "shared": False, "cap": 10.0}
    found = discarded_information(parabolas, IMAGES, steps=100, **options)
    start = discarded_information(parabolas, IMAGES, method="linear", probes=100, **options)
    off, before = ((one.sigma / expected).log() for one in (found, start))
    assert not found.failed.any() and found.method == "solve"
    assert bool((off.flatten(1).mean(1).abs() < 5 * found.mean_error).all()) and float(found.mean_error.max()) < 0.02
    assert float(off.std()) < 0.08
    assert float(off.std()) == pytest.approx(float(found.error.mean()), rel=0.5)
    exactly = parabola_energy(found.sigma) / (alpha * delta)
    assert bool(((exactly - 1).abs() < 5 * 2 * found.mean_error).all())
    assert bool(((found.achieved - exactly).abs() < 5 * found.achieved_error).all())
    torch.testing.assert_close(found.entropy, found.sigma.log() + CONSTANT)
    if alpha > 1e-3:  # where the closed form is off
        assert float(before.square().mean().sqrt()) > 3 * float(off.square().mean().sqrt())


def test_linear_features_keep_their_closed_form():
    """Mean error below .005 nat, as a good solver has it."""
    matrix = torch.randn(60, 72, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    matrix = matrix * (0.2 + 3 * numbers(4, 72))

    def layer(images):
        return images.flatten(1) @ matrix.T

    images = IMAGES[:1].expand(30, *SHAPE)
    exactly = discarded_information(layer, images, method="linear", probes=60, grid=3, cap=1e3)
    found = discarded_information(layer, images, grid=3, delta=exactly.delta, cap=1e3)
    off = (found.sigma / exactly.sigma).log()
    assert abs(float(off.mean())) < 0.005 and float(off.square().mean().sqrt()) < 0.05
    own = off.flatten(1).mean(1)
    assert float(own.std()) == pytest.approx(float(found.mean_error.mean()), rel=0.5)
    # What is measured has its own error, and that of the common factor, as sums of squares.
    error = (found.achieved_error.square() + (2 * found.mean_error).square()).sqrt()
    assert bool(((found.achieved - 1).abs() < 5 * error).all())


def test_values_that_features_ignore_are_at_the_cap_and_dead_ones_that_noise_wakes_are_not():
    """A third hang on nothing, a third are cut off at the image but not beside it, and the others are seen."""
    seen = torch.zeros(SHAPE, dtype=torch.float64)
    seen[:, 2:4], seen[:, 4:] = 0.05, 1.0

    def features(images):
        return torch.cat([(10 * (images[:, :, 4:] - 0.5)).flatten(1), (images[:, :, 2:4] - 0.55).relu().flatten(1)], 1)

    images = torch.full((2, *SHAPE), 0.5, dtype=torch.float64)
    found = discarded_information(features, images, grid=None, shared=False, alpha=5e-4, steps=150)
    assert found.capped.tolist() == [24, 24]
    assert bool((found.sigma[:, :, :2] == 1).all()) and bool((found.sigma[:, :, 2:] < 1).all())
    assert bool(((found.achieved - 1).abs() < 5 * found.achieved_error).all()) and not found.failed.any()
    # Each of the 48 others has its part: for the last, of a linear feature, sigma^2 = E / (48 * 10^2) as for all parts
    # of log-slopes alike; energies of the woken ones rise faster than with sigma^2, so these are at least so far.
    wide, narrow = found.sigma[:, :, 2:4], found.sigma[:, :, 4:]
    assert float(narrow.std() / narrow.mean()) < 0.1
    z = torch.linspace(-8, 8, 20001, dtype=torch.float64)
    density = (-z.square() / 2).exp() / math.sqrt(2 * math.pi) * (z[1] - z[0])
    level = float(narrow.log().mean().exp()) ** 2 * 100
    least, most = 1e-3, 1.0
    for _ in range(60):  # sigma with sigma/2 dE/dsigma of E max(sigma z - .05, 0)^2 at that level
        sigma = (least + most) / 2
        slope = float(((sigma * z - 0.05).relu() * sigma * z * density).sum())
        least, most = (least, sigma) if slope > level else (sigma, most)
    assert float((wide / sigma).log().mean()) == pytest.approx(0, abs=0.05)


def network(depth: int, halves: bool = False, factor: float = 1.0) -> nn.Module:
    """Convolutions; with the weights of neighbours scaled, or those of half of the last filters halved."""
    torch.manual_seed(0)
    layers = [nn.Conv2d(2, 6, 3, padding=1), nn.ReLU(), nn.Conv2d(6, 8, 3, padding=1), nn.ReLU()]
    layers += [nn.Conv2d(8, 8, 3), nn.ReLU()]
    for number in range(0, 6, 4):  # layer L / factor, L + 1 * factor, as in section 4
        layers[number].weight.data /= factor
        layers[number].bias.data /= factor
    layers[2].weight.data *= factor
    if halves:
        for own in (layers[depth - 2].weight, layers[depth - 2].bias):
            own.data[::2] /= 2
    return nn.Sequential(*layers[:depth]).eval()


@pytest.mark.parametrize("depth", [2, 4, 6])
@pytest.mark.parametrize("method", ["solve", "linear"])
def test_scaling_neighbouring_layers_changes_nothing(depth, method):
    """Section 4's coherency, to 1e-3 nats of each cell; by 3 too, whose products are rounded."""
    images = IMAGES.float()
    options = {"grid": 3, "steps": 10, "method": method}
    plain = discarded_information(network(depth), images, **options)
    for factor in (4.0, 0.25, 3.0):
        scaled = discarded_information(network(depth, factor=factor), images, **options)
        assert float((scaled.entropy - plain.entropy).abs().max()) < 1e-3
        moved = 1 if depth == 4 else factor**-2
        assert float(scaled.delta[0] / plain.delta[0]) == pytest.approx(moved, rel=1e-3)


def test_halving_half_of_the_filters_changes_it():
    """Appendix B's limitation: nothing is lost, and yet other values are looked at less."""
    options = {"grid": None, "shared": False, "probes": 10**3, "method": "linear"}
    plain = discarded_information(network(2), IMAGES.float(), **options)
    halved = discarded_information(network(2, halves=True), IMAGES.float(), **options)
    assert float((halved.entropy - plain.entropy).abs().max()) > 0.05
    assert float((halved.mean - plain.mean).abs().max()) > 1e-3


def test_what_is_found_for_an_image_hangs_on_its_index_alone():
    options = {"grid": 3, "delta": 1.0, "steps": 6, "check": 5}
    model = network(4).double()
    whole = discarded_information(model, IMAGES, index=[7, 3, 11], **options)
    alone = discarded_information(model, IMAGES[1:2], index=[3], **options)
    split = discarded_information(model, IMAGES, index=[7, 3, 11], memory=1, **options)
    for name in ("entropy", "achieved", "achieved_error", "error", "mean_error"):
        torch.testing.assert_close(getattr(whole, name)[1:2], getattr(alone, name))
        torch.testing.assert_close(getattr(whole, name), getattr(split, name))


def test_an_image_whose_search_fails_is_named_and_the_others_kept():
    """The second image's features are not finite as soon as it is moved, the third's jump at once."""

    def features(images):
        first = images[:, :, :1, :1]
        still = (first - first.detach().round(decimals=2)).abs() < 1e-12
        bad = (first > 0.9) & ~still
        jump = (first < 0.1) & ~still
        return images * torch.where(bad, torch.nan, 1.0) + torch.where(jump, 5.0, 0.0)

    images = torch.full((3, *SHAPE), 0.5, dtype=torch.float64)
    images[1, :, 0, 0], images[2, :, 0, 0] = 0.95, 0.05
    found = discarded_information(features, images, grid=2)
    assert found.failed.tolist() == [False, True, True]
    assert bool(found.entropy[1:].isnan().all()) and bool(found.entropy[0].isfinite().all())
    expected = discarded_information(features, images[:1], grid=2, delta=float(found.delta[0]))
    torch.testing.assert_close(found.entropy[0], expected.entropy[0])


def test_an_image_that_features_ignore_is_at_the_cap_as_a_whole():
    def features(images):
        return images * (images[:, :1, :1, :1] < 50).to(images.dtype)

    images = IMAGES.clone()
    images[1, 0, 0, 0] = 99.0
    found = discarded_information(features, images, grid=2)
    assert found.capped.tolist() == [0, 4, 0] and not found.failed.any()
    assert found.achieved[1].item() < 0.1 and found.mean[1].item() == pytest.approx(CONSTANT)
    for method in ("linear", "solve"):  # where each has a delta_f^2 of its own, nothing is asked of it
        found = discarded_information(features, images, grid=2, delta="image", method=method)
        assert found.capped.tolist() == [0, 4, 0] and not found.failed.any()
        assert found.achieved[1].item() == 1 and found.mean[1].item() == pytest.approx(CONSTANT)
    with pytest.raises(InputError, match="no slope at any image"):
        discarded_information(features, images[1:2], grid=2)
