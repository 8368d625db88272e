"""Images are worked on in turn by the memory that they take: the peak is measured, and is beyond it without that."""

import pytest
import torch
from peaks import bytes_of, peak_of
from torch import nn

from analysis import discarded_information, feature_spread, pixel_sensitivity, reconstruction_uncertainty


def network() -> nn.Module:
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 12, 3), nn.BatchNorm2d(12), nn.GELU(), nn.Conv2d(12, 12, 3), nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(2)).eval()


def decoder() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Flatten(), nn.Linear(48, 48), nn.Unflatten(1, (3, 4, 4)), nn.Upsample(scale_factor=12)
    ).eval()


def uncertainty(model: nn.Module, images: torch.Tensor, **options):
    own = {"delta": "image", "steps": 2, "measured": 4, "samples": 2}
    return reconstruction_uncertainty(model, decoder(), images, **own, **options)


WAYS = {
    "solve": lambda *given, **options: discarded_information(*given, delta=1.0, steps=2, check=2, samples=4, **options),
    "linear": lambda *given, **options: discarded_information(*given, method="linear", delta="image", **options),
    "sensitivity of pixels": lambda *given, **options: pixel_sensitivity(*given, grid=None, shared=False, **options),
    "uncertainty of reconstructions": uncertainty,
    "spread at a tau": lambda *given, **options: feature_spread(*given, tau=0.01, **options),
}


SLOW = {"solve": pytest.mark.slow}
"""Takes longest; its images are worked on in turn as those of the others are."""


@pytest.mark.parametrize("name", [pytest.param(name, marks=SLOW.get(name, ())) for name in WAYS])
def test_the_peak_is_within_what_was_given(name):
    """Beside what is returned, which is held twice while its parts are put together."""
    model, images, memory = network(), torch.rand(48, 3, 48, 48), 10 * 2**20
    WAYS[name](model, images[:2])  # what torch makes once
    peak, found = peak_of(lambda: WAYS[name](model, images, memory=memory))
    most = memory + 2 * bytes_of(found) + images.nbytes
    assert peak < most
    without, other = peak_of(lambda: WAYS[name](model, images, memory=2**40))
    assert without > 1.5 * most and bytes_of(other) == bytes_of(found)
    assert without > 48 * 12 * (46**2 + 44**2) * 4  # the count counts: at least the results of both convolutions
