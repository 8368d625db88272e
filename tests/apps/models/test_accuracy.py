"""Scores of a classifier against NumPy's sorting."""

import numpy as np
import pytest
import torch

from apps.data.image_set import ImageSet
from apps.data.sweep import sweep
from apps.models.accuracy import FINAL, means, scores
from priors import zoo


def found(classes):
    """Scores of a network without training on noise, its logits in float64, and the labels."""
    network = zoo.build("mlp", classes=tuple(map(str, range(classes))), image_shape=(3, 2, 2)).eval()
    stream = torch.manual_seed(classes)
    pixels = torch.randint(0, 256, (300, 3, 2, 2), generator=stream, dtype=torch.uint8)
    labels = torch.randint(classes, (300,), generator=stream)
    images = ImageSet("noise", "test", pixels, labels, network.class_names)
    scored = scores(network, sweep, images, 128)
    with torch.no_grad():
        return scored, network.double()(pixels.double() / 255).numpy(), labels.numpy()


@pytest.mark.parametrize("classes", [5, 6, 40])
def test_scores_are_those_of_sorted_logits(classes):
    scored, logits, labels = found(classes)
    places = np.argsort(-logits, 1)
    assert scored["predicted"].tolist() == places[:, 0].tolist()
    assert scored["accuracy"].tolist() == (places[:, 0] == labels).tolist()
    among = [label in row for label, row in zip(labels, places[:, :5], strict=True)]
    if classes > 5:
        assert scored["top-5 accuracy"].tolist() == among and 0 < sum(among) < 300
    assert ("top-5 accuracy" in scored) == (classes > 5)
    chosen = logits[np.arange(300), labels]
    entropy = np.log(np.exp(logits).sum(1)) - chosen
    np.testing.assert_allclose(scored["cross-entropy"], entropy, rtol=1e-5)
    expected = {"accuracy": np.mean(places[:, 0] == labels), "cross-entropy": entropy.mean(), "top-5": np.mean(among)}
    given = means(scored)
    assert [*given] == list(FINAL[: 3 if classes > 5 else 2])
    assert list(given.values()) == pytest.approx(list(expected.values())[: len(given)], rel=1e-5)
