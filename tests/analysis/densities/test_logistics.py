"""The mixture of discretised logistics: SciPy's and mpmath's, sums over all levels, slow loops, frequencies."""

import math

import mpmath
import numpy as np
import pytest
import torch
from scipy import special, stats
from torch.nn.functional import softplus

from analysis.densities.logistics import LEAST_LOG_SCALE, LogisticMixture
from analysis.densities.pixels import levels
from priors.errors import InputError

ONE = LogisticMixture(1)
FAR = 1e3
"""A mean so far outside that the level at that end is certain, whatever the others are."""


def stream(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def at(level):
    """Where a level stands."""
    return level / 127.5 - 1


def component(means, log_scales, coefficients=(0, 0, 0), logit=0.0) -> list:
    return [logit, *means, *log_scales, *coefficients]


def pixels(rows, dtype=torch.float64) -> torch.Tensor:
    """Outputs (n, 10 components, 1, 1) of components (n, components, 10)."""
    rows = torch.as_tensor(np.asarray(rows), dtype=torch.float64)
    return rows.transpose(1, 2).flatten(1)[:, :, None, None].to(dtype)


def triples(values, dtype=torch.float64) -> torch.Tensor:
    return torch.as_tensor(np.asarray(values)).reshape(-1, 3, 1, 1).to(dtype) / 255


def log_prob(rows, values, components: int = 1, dtype=torch.float64) -> torch.Tensor:
    """Of n pixels, or of one at n levels."""
    outputs, images = pixels(rows, dtype), triples(values, dtype)
    return LogisticMixture(components).log_prob(outputs.expand(len(images), -1, -1, -1), images).flatten()


def bin_ends(level, mean, scale) -> tuple[np.ndarray, np.ndarray]:
    """The distribution function at both ends of a level's bin."""
    level = np.asarray(level)
    below = stats.logistic.cdf((at(level - 0.5) - mean) / scale)
    upto = stats.logistic.cdf((at(level + 0.5) - mean) / scale)
    return np.where(level > 0, below, 0), np.where(level < 255, upto, 1)


def bin_mass(level, mean, scale) -> np.ndarray:
    below, upto = bin_ends(level, mean, scale)
    return upto - below


def precise_log_mass(level: int, mean: float, log_scale: float) -> float:
    """The same in 50 digits, from the side where the distribution function is small."""
    with mpmath.workdps(50):
        mean, scale = mpmath.mpf(mean), mpmath.exp(mpmath.mpf(log_scale))
        if (mpmath.mpf(level) * 2 - 255) / 255 > mean:
            level, mean = 255 - level, -mean
        upper, lower = (((mpmath.mpf(level) * 2 - 255 + side) / 255 - mean) / scale for side in (1, -1))
        mass = 1 / (1 + mpmath.exp(-upper)) if level < 255 else mpmath.mpf(1)
        return float(mpmath.log(mass - (1 / (1 + mpmath.exp(-lower)) if level > 0 else 0)))


@pytest.mark.parametrize("log_scale", [-7.0, -4.0, -1.0, 0.5, 3.0])
def test_one_channel_is_scipys_logistic(log_scale):
    for mean in (-1.0, -0.31, 0.0, 0.75):
        found = log_prob([[component((-FAR, -FAR, mean), (0, 0, log_scale))]], [(0, 0, v) for v in range(256)]).exp()
        expected = bin_mass(np.arange(256), mean, math.exp(log_scale))
        np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-14)


def test_tails_to_fifty_digits():
    """Levels, means up to thousands of scales away, all scales; also in float32, given the same float32 numbers."""
    draw = np.random.default_rng(0)
    level = draw.choice([0, 1, 2, 100, 128, 254, 255, *range(0, 256, 5)], 300)
    mean = np.float32(draw.choice([-20, -1.5, -1, 0.2, 1, 1.01, 3], 300) + draw.normal(0, 0.1, 300)).astype(float)
    log_scale = np.float32(draw.uniform(-7, 3, 300)).astype(float)
    expected = [precise_log_mass(*case) for case in zip(level.tolist(), mean, log_scale, strict=True)]
    assert min(expected) < -1e4 and max(expected) > -1e-3
    rows = [[component((-FAR, m, -FAR), (0, s, 0))] for m, s in zip(mean, log_scale, strict=True)]
    values = [(0, v, 0) for v in level]
    np.testing.assert_allclose(log_prob(rows, values), expected, rtol=1e-13, atol=1e-13)
    # An x of 1 is rounded by up to 2^-25, which is 3e-5 of the smallest scale.
    np.testing.assert_allclose(log_prob(rows, values, dtype=torch.float32), expected, rtol=1e-6, atol=2e-4)


def published_log_mass(x, mean, log_scale):
    """Salimans et al.'s way between the edges: the difference where it is seen, else the density at the middle."""
    inverse = (-log_scale).exp()
    upper, lower, middle = (inverse * (x - mean + side / 255) for side in (1, -1, 0))
    mass = upper.sigmoid() - lower.sigmoid()
    density = middle - log_scale - 2 * softplus(middle) - math.log(127.5)
    return torch.where(mass > 1e-5, mass.clamp_min(1e-12).log(), density)


def test_float32_is_right_where_the_published_form_is_not():
    """A narrow component far away: within 1e-6 of 50 digits, where the density in the middle is two nats off."""
    mean = torch.tensor([0.02, 0.05, -0.1, -0.5]) + at(100)
    log_scale = torch.tensor([-7.0, -6.9, -6.8, -7.0])
    cases = list(zip(mean.tolist(), log_scale.tolist(), strict=True))
    expected = np.array([precise_log_mass(100, *case) for case in cases])
    rows = [[component((-FAR, m, -FAR), (0, s, 0))] for m, s in cases]
    ours = log_prob(rows, [(0, 100, 0)] * 4, dtype=torch.float32).numpy()
    published = published_log_mass(torch.tensor(at(100)), mean, log_scale).numpy()
    np.testing.assert_allclose(ours, expected, rtol=1e-6, atol=2e-4)
    assert (np.abs(published - expected) > 1).all()


@pytest.mark.parametrize("channel", [0, 1, 2])
def test_levels_of_a_channel_sum_to_one(channel):
    """The other channels are certain, at either end, so that green is given red, and blue given both."""
    cases = [
        (mean, log_scale, end)
        for mean in (-1e4, -30, -3, -1, -0.37, 0, 0.5, 1, 1 + 1 / 255, 4, 50)
        for log_scale in (-30, -7, -6, -4, -2, 0, 1.5, 3)
        for end in (-1, 1)
    ]
    rows, values = [], np.zeros((len(cases), 256, 3))
    for case, (mean, log_scale, end) in enumerate(cases):
        means, log_scales = [end * FAR] * 3, [-5.0] * 3
        means[channel], log_scales[channel] = mean, log_scale
        rows.append([component(means, log_scales, (0.7, -0.4, 1.3))])
        values[case] = 255 * (end > 0)
    values[..., channel] = np.arange(256)
    sums = log_prob(np.repeat(rows, 256, 0), values).exp().reshape(-1, 256).sum(1)
    assert (sums - 1).abs().max() < 1e-12


MIXTURE = [
    component((-0.6, 0.1, 0.4), (-3.0, -4.0, -2.0), (0.8, -0.5, 0.9), 0.3),
    component((0.9, -0.2, -0.9), (-1.0, -6.5, -5.0), (-1.5, 2.0, 0.2), -0.4),
    component((-1.4, 2.0, 0.0), (0.0, 1.0, 3.0), (0.1, 0.3, -3.0), 1.1),
]


def test_a_mixture_sums_to_the_marginals_and_to_one():
    """All 65,536 greens and blues of a red give its marginal mass, in a mixture whose components share one index."""
    weights = special.softmax([part[0] for part in MIXTURE])
    scales = [math.exp(part[4]) for part in MIXTURE]

    def marginal(red):
        return sum(w * bin_mass(red, part[1], s) for w, part, s in zip(weights, MIXTURE, scales, strict=True))

    assert marginal(np.arange(256)).sum() == pytest.approx(1, abs=1e-13)
    others = np.stack(np.meshgrid(range(256), range(256), indexing="ij"), -1).reshape(-1, 2)
    for red in (0, 50):
        values = np.column_stack((np.full(len(others), red), others))
        found = log_prob([MIXTURE], values, components=3).exp().sum().item()
        assert found == pytest.approx(marginal(red), abs=1e-12)


def random_outputs(components: int, *size: int, seed: int = 0, dtype=torch.float64) -> torch.Tensor:
    outputs = torch.randn(2, 10 * components, *size, generator=stream(seed), dtype=torch.float64)
    outputs[:, 4 * components : 7 * components] -= 2
    return outputs.to(dtype)


def random_images(*size: int) -> torch.Tensor:
    images = torch.randint(256, (2, 3, *size), generator=stream(1))
    images[0, :, 0, 0], images[1, :, 0, 0] = 0, 255
    return images.double() / 255


def test_a_slow_loop_agrees():
    """Pixel by pixel and component by component, with the channels' order as documented."""
    components = 3
    outputs, images = random_outputs(components, 2, 3), random_images(2, 3)
    found = LogisticMixture(components).log_prob(outputs, images)
    for image, row, column in np.ndindex(2, 2, 3):
        given = outputs[image, :, row, column].numpy()
        red, green, blue = (int(v) for v in levels(images[image, :, row, column]))
        weights = special.softmax(given[:components])
        total = 0.0
        for k in range(components):
            _, *means, r_scale, g_scale, b_scale, c0, c1, c2 = (given[kind * components + k] for kind in range(10))
            mass = bin_mass(red, means[0], np.exp(r_scale))
            mass *= bin_mass(green, means[1] + np.tanh(c0) * at(red), np.exp(g_scale))
            mass *= bin_mass(blue, means[2] + np.tanh(c1) * at(red) + np.tanh(c2) * at(green), np.exp(b_scale))
            total += weights[k] * mass
        np.testing.assert_allclose(found[image, row, column], np.log(total), rtol=1e-9)


def test_gradients_by_finite_differences():
    """Laid out either way, which the derivatives are written into."""
    outputs, images = random_outputs(2, 1, 2), random_images(1, 2)
    for layout in (torch.contiguous_format, torch.channels_last):
        laid_out = outputs.to(memory_format=layout).requires_grad_()
        assert torch.autograd.gradcheck(lambda outputs: LogisticMixture(2).log_prob(outputs, images), laid_out)


def test_the_value_is_the_same_with_and_without_a_gradient():
    outputs, images = random_outputs(10, 4, 4, dtype=torch.float32), random_images(4, 4).float()
    distribution = LogisticMixture()
    tracked = distribution.log_prob(outputs.clone().requires_grad_(), images)
    assert tracked.requires_grad and tracked.equal(distribution.log_prob(outputs, images))
    with torch.no_grad():
        assert tracked.equal(distribution.log_prob(outputs.clone().requires_grad_(), images))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_extremes_are_finite(dtype):
    """Saturated logits, means far away, scales that vanish or explode, at the edges and between."""
    cases = [
        [component((m, -m, m), (s, s, s), (c, -c, c), logit), component((0, 0, 0), (-1, -1, -1))]
        for m in (-1e6, -3, 0, 1, 1e6)
        for s in (-1e8, -7, 3, 60, 200, 1e8)
        for c in (-1e4, 0.0, 1e4)
        for logit in (-1e4, 0, 1e8)
    ]
    for value in ((0, 128, 255), (255, 0, 1), (254, 128, 0)):
        outputs = pixels(cases, dtype).requires_grad_()
        images = triples([value] * len(cases), dtype)
        found = LogisticMixture(2).log_prob(outputs, images)
        (gradient,) = torch.autograd.grad(found.sum(), outputs)
        assert found.isfinite().all() and gradient.isfinite().all()
        assert (found <= 0).all()


def test_scales_do_not_shrink_below_the_least():
    row = component((0.1, 0.2, 0.3), (LEAST_LOG_SCALE - 1, LEAST_LOG_SCALE, LEAST_LOG_SCALE - 40))
    outputs = pixels([[row]]).requires_grad_()
    found = ONE.log_prob(outputs, triples([(140, 153, 166)]))
    least = log_prob([[component((0.1, 0.2, 0.3), (LEAST_LOG_SCALE,) * 3)]], [(140, 153, 166)])
    assert found.flatten().equal(least)
    gradient = torch.autograd.grad(found.sum(), outputs)[0].flatten()[4:7]
    assert gradient[0] == 0 and gradient[1] != 0 and gradient[2] == 0


def test_each_channel_is_placed_in_the_bin_that_holds_its_uniform_number():
    """By SciPy's distribution function, green's and blue's means moved by the levels that were drawn before."""
    draw = np.random.default_rng(5)
    rows = np.column_stack(
        (np.zeros(500), draw.normal(0, 0.6, (500, 3)), draw.uniform(-9, 1, (500, 3)), draw.normal(0, 1, (500, 3)))
    )
    uniforms = draw.uniform(size=(500, 4))
    placed = ONE.place(pixels(rows[:, None])[:, :, 0, 0], torch.from_numpy(uniforms))
    drawn = levels(placed).numpy()
    r, g = at(drawn[:, 0]), at(drawn[:, 1])
    c = np.tanh(rows[:, 7:])
    means = (rows[:, 1], rows[:, 2] + c[:, 0] * r, rows[:, 3] + c[:, 1] * r + c[:, 2] * g)
    below, upto = bin_ends(drawn, np.column_stack(means), np.exp(rows[:, 4:7].clip(LEAST_LOG_SCALE)))
    assert (below - 1e-12 <= uniforms[:, 1:]).all() and (uniforms[:, 1:] <= upto + 1e-12).all()


def test_the_ends_of_the_uniform_numbers_are_no_further_than_the_tails():
    """A float32 zero would put a pixel of scale e^-7 anywhere; here the ends are 37 scales from the mean."""
    outputs = pixels([[component((0.0, 0.5, -0.5), (-7, -7, -7))]])[:, :, 0, 0].expand(2, -1)
    uniforms = torch.tensor([[0.0] * 4, [1 - 2.0**-53] * 4], dtype=torch.float64)
    reach = (ONE.place(outputs.float(), uniforms).double() * 2 - 1 - torch.tensor([0, 0.5, -0.5])).abs() * math.exp(7)
    assert (reach > 30).all() and (reach < 42).all()


@pytest.mark.parametrize("corner", [False, True])
def test_frequencies_are_the_probabilities(corner):
    """Chi-square over triples of levels in two strongly coupled, narrow components; each fails one seed in 1,000.

    The scales are a third of a bin: had green followed where red fell in its bin, and not its level, it would show.
    """
    if corner:  # of the cube, where the tails are cut off
        middle, spread = np.array([1.5, 253.5, 2.5]), -4.6
    else:
        middle, spread = np.array([100.3, 150.4, 200.1]), -6.0
    strong = np.array([2.0, -1.0, 1.5])
    t = np.tanh(strong)
    r, g, b = at(middle)
    first = component((r, g - t[0] * r, b - t[1] * r - t[2] * g), (spread,) * 3, strong, 0.4)
    second = component((r + 0.01, g + t[0] * r, b + 0.01), (spread - 0.3,) * 3, (-2.0, 0.0, 0.0), 0.0)
    reach = 15
    around = [np.arange(max(0, int(m) - reach), min(256, int(m) + reach + 1)) for m in middle]
    table = np.stack(np.meshgrid(*around, indexing="ij"), -1)
    expected = log_prob([[first, second]], table.reshape(-1, 3), components=2).exp().numpy().reshape(table.shape[:3])
    assert expected.sum() > 0.999
    count = 60_000
    outputs = pixels([[first, second]], torch.float32)[:, :, 0, 0].expand(count, -1)
    drawn = levels(LogisticMixture(2).sample(outputs, stream(7))).numpy()
    counts = np.zeros_like(expected)
    place = drawn - [first[0] for first in around]
    inside = ((place >= 0) & (place < expected.shape)).all(1)
    np.add.at(counts, tuple(place[inside].T), 1)
    expected *= count
    many = expected >= 5
    assert many.sum() > 100
    rest = count - expected[many].sum()
    assert rest > 5
    chosen, probable = [*counts[many], count - counts[many].sum()], [*expected[many], rest]
    assert stats.chisquare(chosen, probable).pvalue > 1e-3


def test_a_mixture_has_components():
    assert LogisticMixture().outputs == 100 and LogisticMixture(5).outputs == 50
    with pytest.raises(InputError, match="components is 0: 1 or more"):
        LogisticMixture(0)
