"""Networks whose heads are no linear layer, as MODELs and as networks to train."""

import json

import pytest
import torch
import torch.nn.functional as F

from apps.models.named import classifier
from priors import ClassifierPrior
from priors.files.tensors import read_tensors

OWN = """
import torch
import torch.nn.functional as F
from torch import nn

from priors.zoo import Adapted


class Body(nn.Module):
    def __init__(self, classes):
        super().__init__()
        torch.manual_seed(3)
        self.features = nn.Sequential(nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.ReLU())
        self.classifier = nn.Conv2d(8, classes, 1)
        self.prototypes, self.scale = nn.Parameter(torch.randn(classes, 8)), nn.Parameter(torch.tensor(9.0))


class Pooled(Adapted):
    def activations(self, images):
        return self.network.features(images).mean((2, 3))

    def logits(self, activations):
        return self.network.classifier(activations[:, :, None, None]).flatten(1)


class Cosine(Pooled):
    def activations(self, images):
        return F.normalize(super().activations(images))

    def logits(self, activations):
        return self.network.scale * F.linear(activations, F.normalize(self.network.prototypes))


def pooled(classes=10):
    return Pooled(Body(classes), 8)


def cosine(classes=10):
    return Cosine(Body(classes), 8)
"""


def by_hand(kind: str, tensors: dict[str, torch.Tensor]) -> torch.Tensor:
    """The weight of the final layer."""
    before = next(name for name in tensors if name.endswith("prototypes")).removesuffix("prototypes")
    if kind == "pooled":
        return tensors[f"{before}classifier.weight"][:, :, 0, 0]
    return tensors[f"{before}scale"] * F.normalize(tensors[f"{before}prototypes"])


@pytest.mark.parametrize("kind", ["pooled", "cosine"])
def test_as_models_and_networks_to_train(penult, tmp_path, kind):
    """Of the bias of a convolution the parameters that no logit hangs on stay as they are."""
    (tmp_path / "mine.py").write_text(OWN)
    said = penult("prior", f"import:mine:{kind}", "--concentration", 20, "--out", "prior.safetensors")
    assert said.status == 0, said.err
    model = classifier(f"import:mine:{kind}")
    expected = by_hand(kind, model.state_dict())
    torch.testing.assert_close(ClassifierPrior.load(tmp_path / "prior.safetensors").weight, expected)

    words = ["train", "classifier", "--arch", f"import:mine:{kind}", "--train-images", 100, "--epochs", 1]
    words += ["--batch-size", 50, "--ema", 0.5, "--device", "cpu", "--threads", 1, "--lr", 0.01]
    said = penult(*words, "--name", "whole")
    assert said.status == 0, said.err
    said = penult(*words, "--init", "runs/whole", "--freeze", "body", "--head-lr", 0.1, "--name", "probe")
    assert said.status == 0, said.err
    whole, probe = (read_tensors(tmp_path / f"runs/{name}/model.safetensors")[0] for name in ("whole", "probe"))
    of_head = {name for name in whole if any(part in name for part in ("classifier", "prototypes", "scale"))}
    changed = {name for name in whole if not torch.equal(whole[name], probe[name])}
    used = {"classifier"} if kind == "pooled" else {"prototypes", "scale"}
    assert changed and changed <= of_head and {name.split(".")[2] for name in changed} == used
    read = classifier("runs/probe")
    torch.testing.assert_close(read.head.weight.detach(), by_hand(kind, probe))
    images = torch.rand(3, 1, 8, 8)
    torch.testing.assert_close(F.linear(read.penultimate(images), read.head.weight, read.head.bias), read(images))
    said = penult("evaluate", "runs/probe", "--allow", f"import:mine:{kind}")
    assert said.status == 0, said.err
    assert json.loads((tmp_path / "runs/probe/config.json").read_text())["config"]["freeze"] == "body"
