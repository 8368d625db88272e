"""Sums over batches against the definitions, on all rows at once."""

import numpy as np
import pytest
import torch

from priors import InputError
from priors.gauge.moments import ActivationMoments, DirectionMoments, merged, require_finite

CLASSES, M = 5, 7


@pytest.fixture
def rows():
    """Activations far from 0, of which class 3 has none, in single precision."""
    generator = torch.Generator().manual_seed(0)
    activations = 1000 + torch.randn(400, M, generator=generator)
    labels = torch.randint(0, 4, (400,), generator=generator)
    labels[labels == 3] = 4
    return activations, labels


def added(kind, rows, sizes):
    moments = kind.none(CLASSES, M)
    for activations, labels in zip(*(part.split(sizes) for part in rows), strict=True):
        moments = moments.add(activations, labels)
    return moments


@pytest.mark.parametrize(
    "sizes", [[400], [1] * 400, [13, 387], [100, 1, 99, 200]], ids=lambda sizes: f"{len(sizes)} batches"
)
def test_activation_moments_are_those_of_all_rows(rows, sizes):
    moments = added(ActivationMoments, rows, sizes)
    activations, labels = rows[0].double().numpy(), rows[1].numpy()
    scatter = np.zeros((M, M))
    for label in range(CLASSES):
        own = activations[labels == label]
        assert int(moments.count[label]) == len(own)
        if len(own):
            assert np.allclose(moments.mean[label], own.mean(0), rtol=1e-14)
            scatter += np.cov(own.T, bias=True) * len(own)
        else:
            assert not moments.mean[label].any()
    assert np.allclose(moments.scatter, scatter, rtol=1e-10), "means of 1,000 cost no digits"
    assert np.allclose(moments.centre, activations.mean(0), rtol=1e-14)
    assert moments.images == 400 and moments.freedom == 396
    assert moments.scatter.dtype == torch.float64


@pytest.mark.parametrize("sizes", [[400], [1] * 400, [13, 387]], ids=lambda sizes: f"{len(sizes)} batches")
def test_direction_moments_are_those_of_all_rows(rows, sizes):
    activations = (rows[0] - 1000) * torch.logspace(-30, 30, 400)[:, None]
    activations[7] = 0
    moments = added(DirectionMoments, (activations, rows[1]), sizes)
    lengths = np.linalg.norm(activations.double().numpy(), axis=1)
    for label in range(CLASSES):
        own = (rows[1].numpy() == label) & (lengths > 0)
        assert int(moments.count[label]) == own.sum()
        assert np.allclose(moments.norm[label], lengths[own].sum(), rtol=1e-12)
        assert np.allclose(moments.log_norm[label], np.log(lengths[own]).sum(), rtol=1e-12)
        assert np.allclose(moments.log_norm_square[label], (np.log(lengths[own]) ** 2).sum(), rtol=1e-12)
        units = activations.double().numpy()[own] / lengths[own][:, None]
        assert np.allclose(moments.total[label], units.sum(0), atol=1e-12)
    assert moments.zero.sum() == 1 and int(moments.zero[rows[1][7]]) == 1
    assert moments.mean_norm[3] == moments.norm.sum() / 399, "a class without images takes all images' mean"


@pytest.mark.parametrize("kind", [ActivationMoments, DirectionMoments])
def test_parts_of_a_set_come_together(rows, kind):
    """Three processes, of which one saw no image."""
    activations, labels = rows
    parts = [
        kind.none(CLASSES, M).add(activations[:150], labels[:150]),
        kind.none(CLASSES, M),
        kind.none(CLASSES, M).add(activations[150:], labels[150:]),
    ]
    for one, other in zip(vars(merged(parts)).values(), vars(added(kind, rows, [64] * 6 + [16])).values(), strict=True):
        assert torch.allclose(one, other, rtol=1e-12)


@pytest.mark.parametrize("kind", [ActivationMoments, DirectionMoments])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_is_not_finite_is_named_at_the_end(rows, kind, value):
    activations, labels = rows
    activations[5, 2] = value
    moments = added(kind, rows, [100] * 4)
    names = ["a", "b", "c", "d", "e"]
    with pytest.raises(InputError, match=f"class '{names[labels[5]]}' have values that are not finite"):
        require_finite(moments, names)
