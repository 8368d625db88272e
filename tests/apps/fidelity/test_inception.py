"""Inception: only the known weights are given to a loader that unpickles; the scores are torch-fidelity's."""

import hashlib
import urllib.error
from dataclasses import replace

import pytest
import torch
import torch_fidelity
from device_log import MIXED, TO_HOST, WAIT
from torch.utils.data import Dataset
from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

from apps.data.image_set import ImageSet
from apps.data.sweep import sweep
from apps.fidelity import inception
from apps.fidelity.extractor import run_extractor
from apps.fidelity.inception import DECLARED, SHA256, inception_extractor
from apps.fidelity.protocols import named
from apps.fidelity.scores import scores
from priors.errors import InputError


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """torch's cache, empty; and no network."""

    def unreachable(*arguments, **options):
        raise urllib.error.URLError("no network")

    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    monkeypatch.setattr(torch.hub, "download_url_to_file", unreachable)
    return tmp_path / "hub/checkpoints"


def test_weights_that_cannot_be_had_end_in_one_line(hub):
    with pytest.raises(InputError) as caught:
        inception_extractor()
    line = str(caught.value)
    assert "\n" not in line and "no network" in line
    assert "weights-inception-2015-12-05-6726825d.pth" in line and str(hub) in line
    assert "--inception-weights FILE" in line and "--extractor RUN" in line


def test_others_are_never_unpickled(hub, tmp_path, monkeypatch):
    monkeypatch.setattr(inception, "create_feature_extractor", lambda *a, **k: pytest.fail("was loaded"))
    others = tmp_path / "others.pth"
    torch.save({"weight": torch.zeros(2)}, others)
    with pytest.raises(InputError, match="are not torch-fidelity's weights of 2015-12-05"):
        inception_extractor(others)
    with pytest.raises(InputError, match="no such file"):
        inception_extractor(tmp_path / "nowhere.pth")
    hub.mkdir(parents=True)
    (hub / "weights-inception-2015-12-05-6726825d.pth").write_bytes(others.read_bytes())
    with pytest.raises(InputError, match="damaged, or holds other weights: remove it"):
        inception_extractor()


def test_what_is_downloaded_is_checked(hub, monkeypatch):
    asked = []
    monkeypatch.setattr(
        torch.hub, "download_url_to_file", lambda url, path, digest, progress: asked.append((url, path, digest))
    )
    with pytest.raises(FileNotFoundError):
        inception_extractor()
    ((url, path, digest),) = asked
    assert digest == SHA256 and digest.startswith("6726825d") and len(digest) == 64
    assert url.endswith("/v0.2.0/weights-inception-2015-12-05-6726825d.pth") and path.startswith(str(hub))


def test_plain_names_are_inceptions_alone():
    metrics = ["FID", "IS", "KID", "precision", "recall"]
    assert [DECLARED.label(metric) for metric in metrics] == metrics


def test_grey_images_are_refused():
    with pytest.raises(
        InputError, match="mnist have a single channel, but inception-v3-compat takes 3 .RGB.*--extractor"
    ):
        DECLARED.check((1, 28, 28), "mnist")
    DECLARED.check((3, 32, 32), "cifar10")


class Pixels(Dataset):
    def __init__(self, pixels):
        self.pixels = pixels

    def __len__(self):
        return len(self.pixels)

    def __getitem__(self, index):
        return self.pixels[index]


def unweighted(monkeypatch, *layers: str) -> FeatureExtractorInceptionV3:
    """The network with random weights in the place of the real ones, which cannot be shipped."""
    torch.manual_seed(0)
    with monkeypatch.context() as patch:
        home = "torch_fidelity.feature_extractor_inceptionv3.load_state_dict_from_url"
        patch.setattr(home, lambda *arguments, **options: {})
        patch.setattr(FeatureExtractorInceptionV3, "load_state_dict", lambda self, state: None)
        return FeatureExtractorInceptionV3(DECLARED.name, list(layers))


@pytest.mark.slow
def test_its_features_are_had_on_a_gpu_without_a_wait(fake, monkeypatch):
    network = unweighted(monkeypatch, *DECLARED.layers).eval()
    extractor = replace(DECLARED, network=network, extract=network)
    pixels = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8)
    with torch.no_grad():
        expected = run_extractor(extractor, pixels)
        with fake as log:
            network.to("cuda")
            there = pixels.to("cuda")
            run_extractor(extractor, there)
            log.clear()
            found = run_extractor(extractor, there)
            assert log.kinds(MIXED, WAIT, TO_HOST) == []
            brought = [part.cpu() for part in found]
    for one, other in zip(brought, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


@pytest.mark.slow
def test_scores_by_inception_are_torch_fidelitys(monkeypatch, tmp_path):
    network = unweighted(monkeypatch, "2048")
    path = tmp_path / "weights.pth"
    torch.save(network.state_dict(), path)
    monkeypatch.setattr(inception, "SHA256", hashlib.sha256(path.read_bytes()).hexdigest())
    extractor = inception_extractor(path)
    pixels = [torch.randint(0, 256, (20, 3, 32, 32), dtype=torch.uint8) // (1 + side) for side in range(2)]
    sets = [ImageSet("noise", "all", some, torch.zeros(20, dtype=torch.int64), ("any",)) for some in pixels]
    found = scores(*sets, named("fid-all"), extractor, 0, sweep)
    theirs = torch_fidelity.calculate_metrics(
        input1=Pixels(pixels[0]), input2=Pixels(pixels[1]), feature_extractor="inception-v3-compat",
        feature_extractor_weights_path=str(path), isc=True, fid=True, kid=True, prc=True, kid_subset_size=20,
        cuda=False, cache=False, verbose=False, save_cpu_ram=True,
    )  # fmt: skip
    assert found.fid.value == pytest.approx(theirs["frechet_inception_distance"], rel=1e-3)
    assert found.inception_score.value == pytest.approx(theirs["inception_score_mean"], rel=1e-5)
    assert found.kid.value == pytest.approx(theirs["kernel_inception_distance_mean"], rel=1e-3, abs=1e-8)
    assert found.precision.value == pytest.approx(theirs["precision"])
    assert found.recall.value == pytest.approx(theirs["recall"])
    assert "2,048 features" in found.remark
