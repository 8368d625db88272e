"""One pass that keeps sums: the same as all maps at once, split by hand."""

import pytest
import torch
from accelerate import Accelerator
from torch import nn
from torch.nn.functional import avg_pool2d

from analysis.spectra.convention import spectrum_convention
from analysis.spectra.moments import SpectrumMoments
from apps.data import sweep
from apps.data.image_set import ImageSet
from apps.spectra import measuring
from apps.spectra.exponents import read
from apps.spectra.measuring import Key, measure
from apps.spectra.sites import map_sites
from priors import zoo

POWER = spectrum_convention("power")


@pytest.fixture(scope="module")
def scene():
    """A network of two convolutions, 60 images of noise in three classes, its layers and its maps."""
    torch.manual_seed(0)
    network = zoo.wrap(
        nn.Sequential(
            nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 5, 3, 2, 1), nn.Flatten(), nn.Linear(180, 3)
        )
    ).eval()
    pixels = torch.randint(0, 256, (60, 3, 12, 12), dtype=torch.uint8)
    images = ImageSet("noise", "test", pixels, torch.arange(60) % 3, ("a", "b", "c"))
    sites, _ = map_sites(network, ["convolutions"], (3, 12, 12))
    with torch.no_grad():
        first = network.network[0](pixels / 255)
        second = network.network[2](first.relu())
        right = network(pixels / 255).argmax(1) == images.labels
    return network, images, sites, {"images": pixels / 255, "0": first, "2": second}, right


def passed(scene, convention=POWER, **options):
    network, images, sites, _, _ = scene
    return measure(images, network, sites, convention, Accelerator(cpu=True), **options)


def whole(maps, convention=POWER):
    return SpectrumMoments.none(tuple(maps.shape[2:]), convention).add(maps)


def alike(one: SpectrumMoments, other: SpectrumMoments) -> bool:
    for name in ("images", "channels", "shape", "convention"):
        assert getattr(one, name) == getattr(other, name)
    return all(
        torch.allclose(getattr(one, name), getattr(other, name), rtol=1e-5) for name in ("power", "total", "square")
    )


def test_batches_pooling_and_splits_are_what_all_maps_at_once_give(scene, monkeypatch):
    monkeypatch.setattr(sweep, "AT_A_TIME", 7)
    _, images, _, maps, right = scene
    found = passed(scene, by=("correct", "class"))
    assert 0 < int(right.sum()) < 60, "both kinds of images are there"
    rows = {"": torch.ones_like(right), "right": right, "wrong": ~right}
    rows |= {f"class {name}": images.labels == label for label, name in enumerate("abc")}
    for of, all_maps in maps.items():
        for group, those in rows.items():
            assert alike(found.sums[Key(of, False, group)].own, whole(all_maps[those])), (of, group)
    pooled = {key.of for key in found.sums if key.pooled}
    assert pooled == {"images", "0"}, "3x3 maps have no spectrum"
    assert alike(found.sums[Key("0", True)].own, whole(avg_pool2d(maps["0"], 2)))
    assert found.accuracy == pytest.approx(float(right.double().mean()))
    assert len(found.sums) == 3 * 6 + 2


def test_what_has_no_likelihood_is_measured_twice(scene):
    found = passed(scene, spectrum_convention("dzanic"))
    images = found.sums[Key("images")]
    assert alike(images.own, whole(scene[3]["images"], spectrum_convention("dzanic")))
    assert alike(images.likely, whole(scene[3]["images"])), "channels are not made grey for the likelihood"
    assert found.sums[Key("0")].own.convention.channels == "mean", "activations have no grey"
    plain = passed(scene, spectrum_convention("paper")).sums[Key("images")]
    assert plain.likely is plain.own


def test_images_alone_and_without_pooling(scene):
    _, images, _, maps, _ = scene
    found = measure(images, None, [], POWER, Accelerator(cpu=True), pooled=False, by=("class",))
    assert set(found.sums) == {Key("images"), *(Key("images", False, f"class {name}") for name in "abc")}
    assert found.accuracy is None and alike(found.sums[Key("images")].own, whole(maps["images"]))


def test_exponents_errors_and_reasons(scene):
    spectra = read(passed(scene, by=("class",)).sums)
    noise = spectra[Key("images")]
    # White noise: exponent 0, of which 4 standard errors are missed once in 16,000 draws.
    assert abs(noise.exponent) < 4 * noise.error and abs(noise.regression.exponent) < 0.1
    assert noise.bias is not None and spectra[Key("images", False, "class a")].bias is None
    small = spectra[Key("2")]
    assert small.shape == (6, 6) and small.regression is None and small.likely is not None
    assert "3 rings" in small.without[0] and small.name == "2"
    assert spectra[Key("images", False, "class a")].name == "images, class a"
    assert spectra[Key("0", True)].name == "0, pooled"


def test_constant_maps_have_a_spectrum_and_no_exponent(scene):
    blank = ImageSet("grey", "test", torch.full((9, 3, 12, 12), 100, dtype=torch.uint8), torch.zeros(9).long(), ("a",))
    (one, _) = read(measure(blank, None, [], POWER, Accelerator(cpu=True)).sums).values()
    assert one.regression is None and one.likely is None and one.error != one.error
    assert one.spectrum.value.tolist() == [0.0] * len(one.spectrum.value)
    assert one.without == ("the maps are constant: a spectrum that is zero has no exponent",)


def test_the_sums_of_two_processes_are_brought_together(scene, monkeypatch):
    two = Accelerator(cpu=True)
    monkeypatch.setattr(two, "gather", lambda part: torch.cat([part, part]))
    own = measuring.Sums.none((12, 12), POWER, torch.device("cpu")).add(scene[3]["images"])
    both = measuring._everywhere(own, two)
    assert alike(both.own, own.own.merge(own.own)) and both.own.images == 120 and both.likely is both.own
