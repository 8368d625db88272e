"""Extractors that torch-fidelity knows: a tiny one registered with it, and what is said where weights are not there."""

import sys
from pathlib import Path

import pytest
import torch
import torch_fidelity
from torch_fidelity.feature_extractor_base import FeatureExtractorBase
from torch_fidelity.registry import FEATURE_EXTRACTORS_REGISTRY, register_feature_extractor

sys.path.insert(0, str(Path(__file__).parent))

from nets import images

from apps.data.sweep import sweep
from apps.fidelity import protocols
from apps.fidelity.registered import extractor_by_name, registered_extractor
from apps.fidelity.scores import scores
from priors.errors import InputError


class Tiny(FeatureExtractorBase):
    """Means of the quarters of an image as features, and of its colours as what could be logits."""

    def __init__(self, name, features_list, **_):
        super().__init__(name, features_list)
        self.scale = torch.nn.Parameter(torch.tensor(1 / 255))

    def forward(self, pixels):
        scaled = pixels.float() * self.scale
        quarters = torch.nn.functional.adaptive_avg_pool2d(scaled, 2).flatten(1)
        found = {"quarters": quarters, "logits": 8 * scaled.mean((2, 3))}
        return tuple(found[name] for name in self.features_list)

    @staticmethod
    def get_provided_features_list():
        return ("quarters", "logits")

    @staticmethod
    def get_default_feature_layer_for_metric(metric):
        return {"isc": "logits"}.get(metric, "quarters")

    @staticmethod
    def can_be_compiled():
        return True

    @staticmethod
    def get_dummy_input_for_compile():
        return torch.zeros(1, 3, 4, 4, dtype=torch.uint8)


class Bare(Tiny):
    """Without anything that is called logits."""

    @staticmethod
    def get_default_feature_layer_for_metric(metric):
        return "quarters"


@pytest.fixture(autouse=True)
def registered():
    register_feature_extractor("tiny", Tiny)
    register_feature_extractor("bare", Bare)
    yield
    for name in ("tiny", "bare"):
        del FEATURE_EXTRACTORS_REGISTRY[name]


def pair():
    shape = (3, 6, 6)
    return images(120, 0, shape=shape, darker=0.8), images(120, 1, "others", shape=shape)


def test_scores_are_torch_fidelitys_own_and_named():
    fakes, reals = pair()
    extractor = extractor_by_name("torch-fidelity:tiny")
    assert (extractor.features, extractor.layers, extractor.model) == (
        12,
        ("quarters", "logits"),
        "torch-fidelity:tiny",
    )
    found = scores(fakes, reals, protocols.single(120), extractor, 0, sweep, name="fakes")
    assert list(found.named)[:2] == ["FID (tiny, quarters)", "IS (tiny, logits)"]

    class Set(torch.utils.data.Dataset):
        def __init__(self, pixels):
            self.pixels = pixels

        def __len__(self):
            return len(self.pixels)

        def __getitem__(self, number):
            return self.pixels[number]

    theirs = torch_fidelity.calculate_metrics(
        input1=Set(fakes.images),
        input2=Set(reals.images),
        feature_extractor="tiny",
        fid=True,
        cuda=False,
        verbose=False,
        cache=False,
        save_cpu_ram=True,
    )
    assert found.fid.value == pytest.approx(theirs["frechet_inception_distance"], rel=1e-5)
    entry = found.entry()
    assert entry["extractor"] == "tiny" and entry["extractor_model"] == "torch-fidelity:tiny"


def test_without_logits_there_is_no_inception_score():
    fakes, reals = pair()
    found = scores(fakes, reals, protocols.single(120), registered_extractor("torch-fidelity:bare"), 0, sweep)
    assert found.inception_score is None and "FID (bare, quarters)" in found.named and "IS" not in found.remark
    other = registered_extractor("torch-fidelity:bare:logits")
    assert other.layers[0] == "logits" and other.features == 3


def test_on_the_command_line(penult, tmp_path):
    import numpy as np

    for some, name in zip(pair(), ("fakes", "reals"), strict=True):
        np.savez(tmp_path / f"{name}.npz", x=some.images.numpy())
    words = "evaluate", "fakes.npz", "--against", "reals.npz", "--protocol", "fid-all", "--extractor"
    said = penult(*words, "torch-fidelity:tiny")
    assert said.status == 0 and "FID (tiny, quarters)" in said.out
    for given, expected in {
        "torch-fidelity:tny": "unknown extractor of torch-fidelity 'tny': did you mean 'tiny'",
        "torch-fidelity:tiny:quartres": "unknown layer of tiny 'quartres': did you mean 'quarters'",
    }.items():
        said = penult(*words, given)
        assert said.status == 2 and expected in said.err


@pytest.mark.parametrize("name", ["clip-vit-b-32", "dinov2-vit-s-14", "vgg16"])
def test_weights_that_cannot_be_had_are_one_line(tmp_path, monkeypatch, name):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr("urllib.request.urlopen", _unreachable)
    monkeypatch.setattr("torch.hub.urlopen", _unreachable)
    with pytest.raises(InputError, match=f"torch-fidelity:{name}: its weights are not in .*could not be downloaded"):
        registered_extractor(f"torch-fidelity:{name}")


def _unreachable(*_, **__):
    raise OSError("no network")


def test_inception_with_its_usual_layer_is_the_usual_extractor(monkeypatch):
    monkeypatch.setattr("apps.fidelity.registered.inception_extractor", lambda: "usual")
    assert registered_extractor("torch-fidelity:inception-v3-compat") == "usual"
