"""Agreement of two measures over steps between layers: against simulated measures whose agreement is known."""

import math

import numpy as np
import pytest
import torch

from analysis import layer_agreement
from priors.errors import InputError


def drawn(correlations, images=100, shared=0.0, seed=0):
    """Changes by two measures with those correlations over images, a step each; images may be alike in all steps."""
    source = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(*shape, generator=source, dtype=torch.float64)

    steps = len(correlations)
    one, noise = (
        math.sqrt(1 - shared) * normal(images, steps) + math.sqrt(shared) * normal(images, 1) for _ in range(2)
    )
    rho = torch.as_tensor(correlations, dtype=torch.float64)
    return one, rho * one + (1 - rho**2).sqrt() * noise


def test_it_is_the_mean_of_pearsons_correlations():
    pairs = [drawn([0.5, 0.1, -0.3]), drawn([0.8, 0.2], seed=1)]
    found = layer_agreement(*zip(*pairs, strict=True))
    each = [[np.corrcoef(one[:, step], other[:, step])[0, 1] for step in range(one.shape[1])] for one, other in pairs]
    for own, expected in zip(found.each, each, strict=True):
        assert own == pytest.approx(expected, abs=1e-12)
    assert found.correlation == pytest.approx(np.tanh(np.mean([np.mean(np.arctanh(one)) for one in each])))
    assert found.steps == 5 and found.images == 100 and found.sampled == ("images", "layers")
    assert found.lowest < found.correlation < found.highest


def test_what_runs_with_depth_alone_is_no_agreement():
    """Both measures fall from layer to layer by the same curve; their images have nothing to do with one another."""
    one, other = drawn([0.0, 0.0, 0.0, 0.0], images=400)
    curve = torch.tensor([-90.0, -40.0, -20.0, -5.0])
    found = layer_agreement([one + curve], [1e3 * (other + curve)])
    assert found.alike == (4,), "the means go the same way"
    assert abs(found.correlation) < 0.1 and found.lowest < 0 < found.highest  # standard error .025: four of them
    # A measure's unit and offset, and its scale in each step, change nothing.
    plain = layer_agreement([one], [other])
    assert found.correlation == pytest.approx(plain.correlation, abs=1e-12)


def test_places_take_out_what_an_image_has_in_every_step():
    """An image's own size drives both measures in all steps: they agree on images, and on no place."""
    source = torch.Generator().manual_seed(3)
    size = 2 * torch.randn(300, 1, generator=source)
    one, other = (size + torch.randn(300, 4, generator=source) for _ in range(2))
    assert layer_agreement([one], [other]).lowest > 0.6  # 4 / 5
    places = layer_agreement([one], [other], of="places")
    assert places.lowest < 0 < places.highest and abs(places.correlation) < 0.12
    # Where one image loses early and another late, both measures tell.
    early = torch.randn(300, 1, generator=source) * torch.tensor([1.0, 1.0, -1.0, -1.0])
    assert layer_agreement([one + 2 * early], [other + 2 * early], of="places").lowest > 0.5


@pytest.mark.parametrize(
    ("networks", "steps", "spread", "least", "most"),
    [(1, 3, 0.0, 0.92, 1.0), (1, 6, 0.2, 0.89, 0.99), (2, 3, 0.2, 0.89, 0.99), (4, 3, 0.2, 0.89, 0.99)],
)
def test_intervals_hold_the_true_value_as_often_as_they_say(networks, steps, spread, least, most):
    """Of 200 sets with a fixed seed: .95 has a standard error of .015, and bounds are 4 and 2.7 of those away."""
    true, hits, source = math.atanh(0.3), 0, torch.Generator().manual_seed(5)
    for number in range(200):
        rho = torch.tanh(true + spread * torch.randn(networks, steps, generator=source, dtype=torch.float64))
        pairs = [drawn(own, 60, 0.5, 1000 * number + at) for at, own in enumerate(rho)]
        found = layer_agreement(*zip(*pairs, strict=True), draws=100, seed=number)
        hits += math.atanh(found.lowest) < true < math.atanh(found.highest)
    assert least <= hits / 200 <= most, hits
    assert found.sampled == ("images", "layers", "networks")[: 3 if networks > 2 else 2]


def test_one_step_says_nothing_of_other_layers():
    one, other = drawn([0.5])
    found = layer_agreement([one], [other])
    assert found.sampled == ("images",)
    # Fisher's own error of one correlation, by theory; the bootstrap's is within 15 % of it for 100 images.
    half = (math.atanh(found.highest) - math.atanh(found.lowest)) / 2
    assert half == pytest.approx(1.96 / math.sqrt(97), rel=0.15)


def test_few_images_have_wide_intervals():
    """A draw of the bootstrap may be one image alone, which has no correlation."""
    one, other = drawn([0.5, 0.5], images=5)
    found = layer_agreement([one], [other])
    assert math.isfinite(found.lowest) and math.isfinite(found.highest) and found.highest - found.lowest > 1


def test_images_without_a_value_are_left_out():
    one, other = drawn([0.4, 0.2])
    kept = layer_agreement([one[3:]], [other[3:]])
    one[0, 0], other[1, 1], one[2, 1] = math.nan, math.inf, -math.inf
    found = layer_agreement([one], [other])
    assert found.images == 97 and found == kept


# The entropy of the largest noise, log(2 pi e) / 2: the mean of a hundred of these is another number, by rounding.
@pytest.mark.parametrize("value", [2.5, 1.4189385332046727])
@pytest.mark.parametrize("images", [60, 97, 100])
def test_a_step_without_spread_is_left_out(value, images):
    one, other = drawn([0.4, 0.2, 0.3], images)
    one[:, 1] = value
    for of, sampled in (("changes", ("images", "layers")), ("places", ("images",))):
        found = layer_agreement([one], [other], of=of)
        assert math.isnan(found.each[0][1]) and found.steps == 2 and found.sampled == sampled
        # It is as if that step were not there, by either measure.
        rest = layer_agreement([one[:, [0, 2]]], [other[:, [0, 2]]], of=of)
        assert found.correlation == pytest.approx(rest.correlation, abs=1e-12)
        assert found.lowest == pytest.approx(rest.lowest, abs=1e-9)
    one[:, 0] = 1.0
    with pytest.raises(InputError, match="in every step but one"):
        layer_agreement([one], [other], of="places")


def test_the_same_twice_is_the_same():
    pairs = [drawn([0.4, 0.2], seed=number) for number in range(3)]
    first, second = (layer_agreement(*zip(*pairs, strict=True), seed=4) for _ in range(2))
    assert first == second and first.level == 0.95


ONE = torch.rand(10, 2, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (([ONE], [ONE[:, :1]]), "the same images and steps"),
        (([ONE], [ONE, ONE]), "the same networks"),
        (([], []), "the same networks"),
        (([ONE, ONE[:5]], [ONE, ONE[:5]]), "the same images for all networks"),
        (([ONE[:3]], [ONE[:3]]), "4 or more were expected"),
        (([torch.ones(10, 2)], [ONE]), "nothing to correlate"),
        (([ONE.long()], [ONE.long()]), "int64"),
    ],
)
def test_what_has_no_correlation_is_refused(given, said):
    with pytest.raises(InputError, match=said):
        layer_agreement(*given)


def test_other_wishes_are_refused():
    with pytest.raises(InputError, match="places"):
        layer_agreement([ONE], [ONE], of="place")
    with pytest.raises(InputError, match="one step"):
        layer_agreement([ONE[:, :1]], [ONE[:, :1]], of="places")
    with pytest.raises(InputError, match="level 1"):
        layer_agreement([ONE], [ONE], level=1.0)
