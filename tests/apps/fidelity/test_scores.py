"""Scores are torch-fidelity's own, whatever the protocol; features are taken once."""

import dataclasses
import itertools
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import scipy.linalg
import torch
import torch_fidelity
from torch.utils.data import Dataset
from torch_fidelity.feature_extractor_base import FeatureExtractorBase
from torch_fidelity.metric_fid import fid_features_to_statistics

sys.path.insert(0, str(Path(__file__).parent))

import nets

from apps.data.image_set import ImageSet
from apps.data.sweep import sweep
from apps.fidelity import inception, protocols
from apps.fidelity import scores as module
from apps.fidelity.features import drawn_features, features_of
from apps.fidelity.protocols import Protocol, named, single
from apps.fidelity.scores import KID_SUBSET, Spread, scores
from apps.figures import to_bytes
from apps.models.drawing import draw
from priors.errors import InputError

NUMBERS = itertools.count()
CHUNKED = Protocol("chunked", "3 x 40", fakes=40, reals=40, chunks=3)


@pytest.fixture
def extractor(tmp_path):
    return nets.extractor(tmp_path / "classifier")


class Pixels(Dataset):
    def __init__(self, pixels):
        self.pixels = pixels

    def __len__(self):
        return len(self.pixels)

    def __getitem__(self, index):
        return self.pixels[index]


def peer(extractor, fakes, reals, **options):
    """What torch-fidelity makes of images, with the classifier registered as one of its extractors."""

    class Registered(FeatureExtractorBase):
        def __init__(self, name, features_list, **kwargs):
            super().__init__(name, features_list)

        @staticmethod
        def get_provided_features_list():
            return ("penultimate", "logits")

        @staticmethod
        def get_default_feature_layer_for_metric(metric):
            return "logits" if metric == "isc" else "penultimate"

        def forward(self, pixels):
            penultimate = extractor.network.penultimate(pixels.float() / 255)
            found = {"penultimate": penultimate, "logits": extractor.network.head(penultimate)}
            return tuple(found[name] for name in self.features_list)

    name = f"classifier-{next(NUMBERS)}"
    torch_fidelity.register_feature_extractor(name, Registered)
    settings = {"cuda": False, "cache": False, "verbose": False, "save_cpu_ram": True, "batch_size": 32}
    metrics = {"isc": True, "fid": True, "kid": True, "prc": True}
    return torch_fidelity.calculate_metrics(
        input1=Pixels(fakes), input2=Pixels(reals), feature_extractor=name, **settings, **metrics, **options
    )


def test_one_chunk_is_what_torch_fidelity_computes(extractor):
    fakes, reals = nets.images(90, seed=1, darker=0.8), nets.images(150, seed=2)
    found = scores(fakes, reals, named("fid-all"), extractor, 0, sweep)
    theirs = peer(extractor, fakes.images, reals.images, kid_subset_size=90)
    assert found.fid.value == pytest.approx(theirs["frechet_inception_distance"], rel=1e-5) and found.fid.value > 0.01
    assert found.inception_score.value == pytest.approx(theirs["inception_score_mean"], rel=1e-6)
    assert found.inception_score.deviation == pytest.approx(theirs["inception_score_std"], rel=1e-5)
    assert found.kid.value == pytest.approx(theirs["kernel_inception_distance_mean"], rel=1e-4)
    assert found.kid.deviation is None, "all fakes are in each subset"
    assert found.precision.value == pytest.approx(theirs["precision"], abs=1e-6) and 0 < found.precision.value < 1
    assert found.recall.value == pytest.approx(theirs["recall"], abs=1e-6) and 0 < found.recall.value < 1
    assert found.kid_subset == 90 and (found.chunks, found.fakes, found.reals) == (1, 90, 150)
    assert found.fid.deviation is None


def test_the_distance_is_frechets(extractor):
    """|m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^(1/2)), with SciPy's root of a matrix."""
    fakes, reals = nets.images(90, seed=1, darker=0.8), nets.images(150, seed=2)
    x, y = (extractor.extract(some.images)[0].detach().double().numpy() for some in (fakes, reals))
    means, covariances = [x.mean(0), y.mean(0)], [np.cov(x.T), np.cov(y.T)]
    root = scipy.linalg.sqrtm(covariances[0] @ covariances[1]).real
    exact = np.square(means[0] - means[1]).sum() + np.trace(sum(covariances) - 2 * root)
    found = scores(fakes, reals, named("fid-all"), extractor, 0, sweep)
    assert found.fid.value == pytest.approx(exact, rel=1e-4)


def test_chunks_are_averaged_and_cut_at_random_by_the_seed(extractor, monkeypatch):
    """Which images each chunk holds is read off its features; torch-fidelity scores the chunks one by one."""
    fakes, reals = nets.images(130, seed=1, darker=0.8), nets.images(125, seed=2)
    cuts = []
    monkeypatch.setattr(module, "_chunk", lambda *pair: cuts.append(pair) or {"fid": 0, "precision": 0, "recall": 0})
    for seed in (0, 0, 1):
        scores(fakes, reals, CHUNKED, extractor, seed, sweep)
    monkeypatch.undo()
    first, again, other = (cuts[start : start + 3] for start in (0, 3, 6))
    same = [[torch.equal(a, b) for a, b in zip(x, y, strict=True)] for x, y in zip(first, again, strict=True)]
    assert same == [[True, True]] * 3
    assert not any(torch.equal(x, y) for a, b in zip(first, other, strict=True) for x, y in zip(a, b, strict=True))
    rows = [extractor.extract(some.images)[0] for some in (fakes, reals)]
    where = [[(chunk[:, None] == all_rows).all(2).nonzero()[:, 1] for chunk in side]
             for side, all_rows in zip(zip(*first, strict=True), rows, strict=True)]  # fmt: skip
    assert all(len(torch.cat(side).unique()) == 120 for side in where), "no image is in two chunks"
    found = scores(fakes, reals, CHUNKED, extractor, 0, sweep)
    theirs = [
        peer(extractor, fakes.images[x], reals.images[y], kid_subset_size=40, isc_splits=1)
        for x, y in zip(*where, strict=True)
    ]
    for metric, key in (
        ("fid", "frechet_inception_distance"),
        ("precision", "precision"),
        ("recall", "recall"),
        ("inception_score", "inception_score_mean"),
    ):
        values = [one[key] for one in theirs]
        assert getattr(found, metric).value == pytest.approx(np.mean(values), rel=1e-5), metric
        assert getattr(found, metric).deviation == pytest.approx(np.std(values), rel=1e-3, abs=1e-7), metric
    pooled = [side.images[torch.cat(index)] for side, index in zip((fakes, reals), where, strict=True)]
    everything = peer(extractor, *pooled, kid_subset_size=120)
    assert found.kid.value == pytest.approx(everything["kernel_inception_distance_mean"], rel=1e-3)
    assert (found.chunks, found.fakes, found.reals, found.kid_subset) == (3, 40, 40, 120)


@pytest.mark.parametrize(("fakes", "reals", "size"), [(1200, 1100, 1000), (1200, 700, 700), (300, 700, 300)])
def test_subsets_of_kid_are_as_large_as_theirs_where_they_can_be(extractor, monkeypatch, fakes, reals, size):
    asked = []
    theirs = {"kernel_inception_distance_mean": 0.0, "kernel_inception_distance_std": 0.0}
    monkeypatch.setattr(module, "kid_features_to_metric", lambda *pair, **options: asked.append(options) or theirs)
    monkeypatch.setattr(module, "_chunk", lambda *pair: {"fid": 0, "precision": 0, "recall": 0})
    found = scores(nets.images(fakes), nets.images(reals), named("fid-all"), extractor, 0, sweep)
    assert asked == [{"kid_subset_size": size, "verbose": False}] and found.kid_subset == size
    assert torch_fidelity.defaults.DEFAULTS["kid_subset_size"] == KID_SUBSET
    assert torch_fidelity.defaults.DEFAULTS["kid_subsets"] == 100


@pytest.mark.parametrize(("conditional", "count"), [(True, 200), (True, 385), (True, 3), (False, 100)])
@pytest.mark.parametrize("batch_size", [64, 200])
def test_what_is_drawn_is_what_sample_writes_class_by_class(extractor, conditional, count, batch_size):
    model = nets.Dim(conditional=conditional).eval()
    object.__setattr__(extractor, "batch_size", batch_size)
    found = drawn_features(model, count, extractor, sweep, seed=7)
    labels = range(3) if conditional else [None]
    by_class = [torch.cat(list(draw(model, label, count, 7))) for label in labels]
    written = [torch.from_numpy(to_bytes(images)).movedim(-1, 1) for images in by_class]
    ordered = torch.stack(written, 1).flatten(0, 1)[:count]
    given = ImageSet("written", "all", ordered, torch.zeros(count, dtype=torch.int64), ("any",))
    expected = features_of(given, extractor, sweep, logits=True)
    assert len(found) == count
    assert torch.allclose(found.features, expected.features, atol=1e-6)
    assert torch.allclose(found.logits, expected.logits, atol=1e-6)


def test_a_generator_is_scored_by_its_balanced_images(extractor):
    model, reals = nets.Dim(classes=4).eval(), nets.images(125, seed=2)
    found = scores(model, reals, CHUNKED, extractor, 5, sweep)
    drawn = drawn_features(model, 120, extractor, sweep, seed=5)
    fakes = [torch.from_numpy(to_bytes(torch.cat(list(draw(model, label, 30, 5))))) for label in range(4)]
    pixels = torch.stack(fakes, 1).flatten(0, 1).movedim(-1, 1)
    score = peer(extractor, pixels, reals.images, isc_splits=3, samples_shuffle=False, kid_subset_size=120)
    assert found.inception_score.value == pytest.approx(score["inception_score_mean"], rel=1e-5)
    assert drawn.split == "drawn" and found.entry()["fakes"] == 120
    features = features_of(reals, extractor, sweep)
    assert scores(model, features, CHUNKED, extractor, 5, sweep) == found, "features of reals do as well as they"
    assert scores(model, reals, CHUNKED, extractor, 6, sweep).fid != found.fid
    assert scores(model, reals, single(20), extractor, 5, sweep).fakes == 20


def test_scores_are_named_after_what_they_are_by(extractor):
    found = scores(nets.images(40, 1), nets.images(40, 2), named("fid-all"), extractor, 3, sweep)
    assert list(found.named) == [
        "FID (mlp-noise, penultimate)",
        "IS (mlp-noise, logits)",
        "KID (mlp-noise, penultimate)",
        "precision (mlp-noise, penultimate)",
        "recall (mlp-noise, penultimate)",
    ]
    entry = found.entry()
    assert entry["scores"]["FID (mlp-noise, penultimate)"] == {"value": found.fid.value, "deviation": None}
    assert entry["protocol"] == "fid-all" and entry["seed"] == 3 and entry["extractor_digest"] == extractor.digest
    assert (entry["fakes"], entry["reals"], entry["data_digest"]) == (40, 40, nets.images(40, 2).digest)
    assert isinstance(found.fid, Spread)


@pytest.mark.filterwarnings("ignore:overflow|invalid value:RuntimeWarning")
def test_a_score_that_overflows_is_left_out_of_what_is_kept(extractor):
    def extract(pixels, before=extractor.extract):
        features, logits = before(pixels)
        return features * 1e9, logits

    object.__setattr__(extractor, "extract", extract)
    found = scores(nets.images(40, 1), nets.images(40, 2), named("fid-all"), extractor, 0, sweep)
    assert np.isnan(found.kid.value) and len(found.entry()["scores"]) == 4
    json.dumps(found.entry(), allow_nan=False)


def test_chunks_no_larger_than_the_features_are_remarked_on(extractor):
    model = nets.Dim().eval()
    small, enough = Protocol("small", "", 12, 12), Protocol("enough", "", 12, 40)
    said = scores(model, nets.images(40), enough, extractor, 0, sweep).remark
    assert "FID" not in said and "IS is left out" in said
    object.__setattr__(extractor, "features", 12)
    remark = scores(model, nets.images(40), small, extractor, 0, sweep).remark
    assert "FID needs more images than features" in remark and "chunks of 12" in remark


@pytest.mark.parametrize(("fakes", "reals"), [(20, 20), (20, 70), (31, 31), (59, 120)])
def test_no_deviation_of_kid_where_subsets_are_much_the_same(monkeypatch, fakes, reals):
    monkeypatch.setattr(module, "KID_SUBSET", 30)
    stream = torch.Generator().manual_seed(0)
    sides = [torch.randn(count, 4, generator=stream, dtype=torch.float64) for count in (fakes, reals)]
    assert module._kid(*sides).deviation is None


def test_the_deviation_of_kid_is_of_its_subsets(monkeypatch):
    """By a plain U-statistic of many subsets."""
    monkeypatch.setattr(module, "KID_SUBSET", 30)
    rng = np.random.default_rng(0)
    fakes, reals = rng.normal(size=(120, 3)), rng.normal(0.3, 1, size=(150, 3))
    values = []
    for _ in range(2000):
        x, y = rng.choice(fakes, 30, False), rng.choice(reals, 30, False)
        xx, yy, xy = ((a @ b.T / 3 + 1) ** 3 for a, b in ((x, x), (y, y), (x, y)))
        np.fill_diagonal(xx, 0), np.fill_diagonal(yy, 0)
        values.append((xx.sum() + yy.sum()) / (30 * 29) - 2 * xy.mean())
    found = module._kid(torch.from_numpy(fakes), torch.from_numpy(reals))
    assert found.deviation == pytest.approx(np.std(values), rel=0.25)


@pytest.mark.parametrize("count", [10, 19, 20])
def test_no_inception_score_of_single_images(count):
    """It would be 1, whatever the images are."""
    logits = 9 * torch.eye(10).repeat(2, 1)[:count]
    found = module._inception_score(logits, 1)
    assert (found is None) == (count < 20)
    layout = protocols.layout(protocols.single(count), count, "reals")
    several = dataclasses.replace(inception.DECLARED, features=5)
    expected = "IS is left out" if count < 20 else "at most 2 for splits of 2 images"
    assert expected in module.few_images(layout, several)
    assert module.few_images(protocols.Layout(1, 1000, 1000), several) == ""
    assert module.few_images(protocols.Layout(10, 100, 100), several) == ""


def test_what_cannot_be_scored(extractor):
    model, reals = nets.Dim().eval(), nets.images(60)
    with pytest.raises(InputError, match="1x6x6 .* those of noise 1x8x8: they must agree"):
        scores(model, nets.images(60, shape=(1, 8, 8)), single(20), extractor, 0, sweep)
    with pytest.raises(
        InputError, match="3x6x6: they must be grey both, or both in colour; convert the one or the other$"
    ):
        scores(model, nets.images(60, shape=(3, 6, 6)), single(20), extractor, 0, sweep)
    with pytest.raises(InputError, match="images of noise are 8x8, but mlp-noise takes 6x6"):
        other = nets.images(60, shape=(1, 8, 8))
        scores(other, other, single(20), extractor, 0, sweep)
    with pytest.raises(InputError, match="noise have 3 channels, but mlp-noise takes 1"):
        other = nets.images(60, shape=(3, 6, 6))
        scores(other, other, single(20), extractor, 0, sweep)
    with pytest.raises(InputError, match="fid-1x80 needs 80 real images, and noise .train. has 60"):
        scores(model, reals, single(80), extractor, 0, sweep)
    model.brightness.data[1] = torch.nan
    with pytest.raises(InputError, match="7 of the 20 images that the generator draws are not finite"):
        scores(model, reals, single(20), extractor, 0, sweep)
    extractor.network.head.weight.data.fill_(1)
    extractor.network.get_parameter(next(name for name, _ in extractor.network.named_parameters())).data.fill_(
        torch.inf
    )
    with pytest.raises(InputError, match="features that mlp-noise has of image 0 of noise are not finite"):
        scores(reals, reals, single(20), extractor, 0, sweep)


def test_statistics_by_parts_are_those_of_the_whole(monkeypatch):
    features = 5 + torch.randn(700, 12, generator=torch.manual_seed(0)) @ torch.randn(12, 12)
    whole = fid_features_to_statistics(features)
    monkeypatch.setattr(module, "_AT_ONCE", 0)
    monkeypatch.setattr(module, "_PART", 64)
    parts = module._statistics(features)
    assert parts["mu"].dtype == whole["mu"].dtype and parts["sigma"].dtype == whole["sigma"].dtype
    assert np.allclose(parts["mu"], whole["mu"], rtol=1e-5) and np.allclose(parts["sigma"], whole["sigma"], atol=1e-10)


def test_rows_in_their_own_order_are_not_copied():
    rows = torch.randn(5, 2, generator=torch.manual_seed(0))
    assert module._ordered(rows, torch.arange(5)) is rows
    assert torch.equal(module._ordered(rows, torch.tensor([4, 0])), rows[[4, 0]])
