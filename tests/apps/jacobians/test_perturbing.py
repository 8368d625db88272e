"""What a pass over images measures as pixels go, against a slow way; and what is made of the numbers."""

import math

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from torch import nn

from analysis import imputed, perturbation_curve
from analysis.jacobians.controls import normal_draws, uniform_draws
from apps.data.image_set import ImageSet
from apps.jacobians.drawing import Drawing
from apps.jacobians.perturbation import measuring
from apps.jacobians.perturbation.found import helped_by_blur, improved, judged, no_better_than
from apps.jacobians.perturbation.settings import Perturbing
from apps.jacobians.settings import Output
from apps.jacobians.subject import Subject
from apps.seeds import derive
from priors import ClassifierPrior, InputError, zoo


def images(count: int = 11, channels: int = 3) -> ImageSet:
    """Noise in two classes."""
    source = torch.Generator().manual_seed(3)
    pixels = torch.randint(0, 256, (count, channels, 5, 6), generator=source, dtype=torch.uint8)
    return ImageSet("noise", "test", pixels, torch.arange(count) % 2, ("a", "b"))


def linear(channels: int = 3) -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(nn.Flatten(), nn.Linear(channels * 30, 2))


def weighed(subject: Subject) -> torch.Tensor:
    """How much each pixel adds to the logit, in size: a map that is right for a linear network."""
    return (subject.network[1].weight[subject.target].view(subject.images.shape) * subject.images).sum(1).abs()


def drawing(*controls: str, seed: int = 0) -> Drawing:
    return Drawing({"weighed": weighed}, controls, 1.0, "logit", seed)


def measured(config: Perturbing, plan: Drawing, of: ImageSet | None = None):
    return measuring.measure(config, of or images(), linear(), plan, Accelerator(cpu=True), True)


@pytest.mark.parametrize("first", ["least", "most"])
@pytest.mark.parametrize("fill", ["black", "mean"])
@pytest.mark.parametrize(
    ("measure", "signed"), [("logit", False), ("logit", True), ("softmax", False), ("accuracy", False)]
)
def test_values_are_those_of_pixel_by_pixel_arithmetic(first, fill, measure, signed):
    config = Perturbing("net", first=first, fill=fill, measure=measure, signed=signed, fractions=(0.1, 0.4, 0.9))
    found = measured(config, drawing())
    pixels = (images().images.numpy() / 255).astype(np.float64)
    weight, bias = (part.detach().double().numpy() for part in linear()[1].parameters())
    colour = pixels.mean((0, 2, 3)) if fill == "mean" else np.zeros(3)

    def logits(image: np.ndarray) -> np.ndarray:
        return weight @ image.reshape(-1) + bias

    def probability(of: np.ndarray, label: int) -> float:
        return np.exp(of[label]) / np.exp(of).sum()

    for number, image in enumerate(pixels):
        before = logits(image)
        label = int(before.argmax())
        salience = np.abs((weight[label].reshape(image.shape) * image).sum(0))
        order = np.argsort(salience.reshape(-1))
        order = order if first == "least" else order[::-1]
        for at, part in enumerate(config.fractions):
            changed = image.copy()
            for place in order[: round(30 * part)]:
                changed[:, place // 6, place % 6] = colour
            after = logits(changed)
            if measure == "accuracy":
                expected = float(after.argmax() == number % 2)
            elif measure == "softmax":
                expected = abs(probability(after, label) / probability(before, label) - 1)
            else:
                change = (after[label] - before[label]) / before[label]
                expected = change if signed else abs(change)
            assert float(found.values["weighed"][number, at]) == pytest.approx(expected, rel=2e-4, abs=2e-5)
    assert found.accuracy == pytest.approx(
        np.mean([logits(image).argmax() == number % 2 for number, image in enumerate(pixels)])
    )


def test_log_densities_change_in_nats():
    """Of which there is no fraction, since they have no zero of their own."""
    network = zoo.build("mlp", classes=2, image_shape=(3, 5, 6), penultimate=4).eval()
    prior = ClassifierPrior.from_classifier(network, 7.0)
    plan = Drawing({}, ("random",), 1.0, "log-density", 0, prior)
    for signed in (False, True):
        config = Perturbing("net", explained=Output("log-density"), signed=signed, fractions=(0.5,))
        found = measuring.measure(config, images(), network, plan, Accelerator(cpu=True), True)
        shown = images().images / 255
        maps = uniform_draws(derive(0, "random maps", "test"), torch.arange(11), 5, 6)
        gone = maps < maps.flatten(1).kthvalue(16).values[:, None, None]  # the 15 least of 30
        with torch.no_grad():
            label = network(shown).argmax(1, keepdim=True)
            before, after = (
                prior.log_prob(network.penultimate(one)).gather(1, label) for one in (shown, shown * ~gone[:, None])
            )
        change = (after - before).double()
        expected = change if signed else change.abs()
        assert expected.abs().max() > 0.1
        torch.testing.assert_close(found.values["random"], expected, rtol=1e-4, atol=1e-5)


def test_road_fills_in_from_around_with_noise_of_each_image():
    config = Perturbing("net", "road", imputed_noise=0.1, measure="logit", fractions=(0.5,))
    found = measured(config, drawing("random"))
    shown, network = images().images / 255, linear()
    noise = normal_draws(derive(0, "noise of imputed pixels"), torch.arange(11), 3, 5, 6)
    maps = uniform_draws(derive(0, "random maps", "test"), torch.arange(11), 5, 6)
    mask = maps > maps.flatten(1).median(1).values[:, None, None]  # the upper half of an even number
    assert (mask.flatten(1).sum(1) == 15).all()
    with torch.no_grad():
        before = network(shown)
        after = network(imputed(shown, mask, 0.1 * noise))
    label = before.argmax(1, keepdim=True)
    change = ((after - before) / before).gather(1, label).abs()
    torch.testing.assert_close(found.values["random"], change.double(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("benchmark", ["pixel", "road"])
def test_how_images_are_batched_changes_nothing(monkeypatch, benchmark):
    config, plan = Perturbing("net", benchmark, measure="logit"), drawing("random", "sobel", "blurred")
    whole = measured(config, plan)
    monkeypatch.setattr(measuring, "fewer_if_large", lambda given: 3)
    parts = measured(config, plan)
    assert list(whole.values) == ["weighed", "weighed, blurred", "sobel", "sobel, blurred", "random"] == plan.names
    for name, values in whole.values.items():
        torch.testing.assert_close(values, parts.values[name], rtol=1e-4, atol=1e-5)
    other = measured(config, drawing("random", seed=1))
    assert not torch.equal(other.values["random"], whole.values["random"])


def test_maps_that_are_right_are_better_than_random_ones_both_ways():
    """Maps no better than random ones would pass twice with probability 1e-9; the draws are fixed."""
    for first, better in (("least", -1), ("most", 1)):
        config = Perturbing("net", first=first, fractions=(0.2, 0.5))
        assert config.better == better
        found = measured(config, drawing("random"), images(200))
        one = judged(config.parts, found.values)[0]
        assert one.name == "weighed" and one.from_random.value * better > 4 * one.from_random.standard_error
        assert no_better_than(judged(config.parts, found.values), found.values, "random", better) == []
        assert no_better_than(judged(config.parts, found.values), found.values, "random", -better) == ["weighed"]


def test_pixels_that_are_of_the_fill_already_are_counted():
    dark = images(4, channels=1)
    dark.images[:, :, :3] = 0
    assert measured_share(dark, "black") == pytest.approx(0.6, abs=0.02)  # the noise is 0 in one of 256
    assert measured_share(dark, "mean") == 0


def measured_share(shown: ImageSet, fill: str) -> float:
    config = Perturbing("net", fill=fill, fractions=(0.5,))
    plan = Drawing({}, ("random",), 1.0, "logit", 0)
    return measuring.measure(config, shown, linear(1), plan, Accelerator(cpu=True), True).same


def test_what_blurring_does_is_a_paired_difference():
    source = torch.Generator().manual_seed(0)
    own = torch.rand(50, 3, generator=source)
    values = {
        "plain": own,
        "plain, blurred": own - 0.1 + 0.01 * torch.randn(50, 3, generator=source),
        "other": own,
        "other, blurred": own + 0.1 + 0.01 * torch.randn(50, 3, generator=source),
        "sobel": own + 0.5,
        "sobel, blurred": own,
        "random": own + 0.05,
    }
    found = judged((0.1, 0.2, 0.5), values)
    by_name = {one.name: one for one in found}
    blur = by_name["plain, blurred"].by_blur
    assert blur.value == pytest.approx(-0.1, abs=0.01) and blur.standard_error < 0.002
    assert by_name["plain"].by_blur is None and by_name["random"].from_random is None
    assert by_name["plain"].from_random.value == pytest.approx(-0.05, abs=1e-6)
    for better, expected in ((-1, ["plain, blurred"]), (1, ["other, blurred"])):
        helped, count = helped_by_blur(found, better)
        assert [one.name for one in helped] == expected and count == 2
    torch.testing.assert_close(by_name["sobel"].curve.mean, perturbation_curve((0.1, 0.2, 0.5), values["sobel"]).mean)


def test_few_pairs_must_differ_by_more():
    """Student's t on both sides at 95 %: 4.303 errors of three pairs, 1.972 of 200, none of one."""
    from analysis import CurveDifference

    for pairs, enough in ((3, 4.303), (200, 1.972)):
        assert improved(CurveDifference(-enough - 0.01, 1.0), pairs, -1)
        assert not improved(CurveDifference(-enough + 0.01, 1.0), pairs, -1)
        assert not improved(CurveDifference(-enough - 0.01, 1.0), pairs, 1)
    assert not improved(CurveDifference(-9.0, math.nan), 1, -1)


def test_maps_that_are_not_finite_are_refused_by_name():
    def broken(subject):
        return torch.full(subject.images[:, 0].shape, torch.nan)

    with pytest.raises(InputError, match="broken gives maps that are not finite"):
        measured(Perturbing("net"), Drawing({"broken": broken}, (), 1.0, "logit", 0))
