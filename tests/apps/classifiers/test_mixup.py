"""Mixup against soft targets by hand, and its weights against SciPy's beta distribution."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy import stats

from apps.classifiers.classification import Classification
from apps.data.batches import Batch
from apps.data.image_set import ImageSet
from apps.data.mixing import Mixing, mixup_weight
from priors import zoo


def batch_of(count, classes=4):
    stream = torch.manual_seed(0)
    index = torch.arange(count)
    return Batch(torch.rand(count, 3, 2, 2, generator=stream), index % classes, index, index * 0)


@pytest.mark.parametrize("alpha", [0.2, 1.0, 5.0])
def test_weights_are_of_the_beta_distribution(alpha):
    drawn = [mixup_weight(alpha, 3, step) for step in range(2000)]
    assert stats.kstest(drawn, stats.beta(alpha, alpha).cdf).pvalue > 1e-3
    error = np.sqrt(1 / (4 * (2 * alpha + 1)) / 2000)
    assert abs(np.mean(drawn) - 0.5) < 4 * error, "so that the mean of mixed images is that of both"
    assert drawn[5] == mixup_weight(alpha, 3, 5) != mixup_weight(alpha, 4, 5)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_the_loss_is_that_of_soft_targets(smoothing):
    network = zoo.build("mlp", classes=tuple("abcd"), image_shape=(3, 2, 2))
    batch, images = (
        batch_of(8),
        ImageSet("noise", "test", torch.zeros(1, 3, 2, 2).byte(), torch.zeros(1).long(), ("a",)),
    )
    mixing = Mixing(("mixup",), 0.4, 7)
    task = Classification(network, 7, images, False, smoothing, mixing)
    for step in range(3):
        weight = mixup_weight(0.4, 7, step)
        before = [7, *range(7)]  # the image before each
        shown = weight * batch.images + (1 - weight) * batch.images[before]
        torch.testing.assert_close(mixing.of(batch, step).images, shown)
        targets = F.one_hot(batch.labels, 4).float()
        targets = weight * targets + (1 - weight) * targets[before]
        targets = (1 - smoothing) * targets + smoothing / 4
        expected = -(targets * network(shown).log_softmax(1)).sum(1).mean()
        torch.testing.assert_close(task.losses("train", batch, step)["cross-entropy"], expected)


def test_in_expectation_over_weights_both_images_count_alike():
    batch = batch_of(6)
    mixing = Mixing(("mixup",), 0.3, 0)
    mean = sum(mixing.of(batch, step).images for step in range(4000)) / 4000
    half = (batch.images + batch.images.roll(1, 0)) / 2
    assert (mean - half).abs().max() < 4 * np.sqrt(1 / (4 * 1.6) / 4000)
