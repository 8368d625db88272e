"""Binarisation: frequencies are the grey values, and nothing is compared with 0."""

import torch

from apps.data.binarise import binarise


def test_frequencies_are_the_grey_values():
    """256 grey values, 20,000 draws each; a z-score above 4.9 happens for about 1 seed in 3000."""
    grey = torch.arange(256).reshape(1, 16, 16) / 255
    count = 20_000
    frequency = torch.zeros(1, 16, 16, dtype=torch.float64)
    stream = torch.Generator().manual_seed(0)
    for _ in range(10):
        drawn = binarise(grey.expand(count // 10, 1, 16, 16), stream)
        assert drawn.dtype == torch.float32 and set(drawn.unique().tolist()) == {0.0, 1.0}
        frequency += drawn.double().sum(0)
    error = (frequency / count - grey)[0].flatten()
    assert error[0] == 0 and error[255] == 0
    spread = (grey * (1 - grey) / count).sqrt().flatten()
    assert (error[1:255].abs() / spread[1:255]).max() < 4.9


def test_afresh_each_time_and_reproducible():
    images = torch.rand(8, 1, 5, 5, generator=torch.manual_seed(0))
    stream = torch.Generator().manual_seed(1)
    first, second = binarise(images, stream), binarise(images, stream)
    assert not torch.equal(first, second)
    assert torch.equal(first, binarise(images, torch.Generator().manual_seed(1)))
    assert not images.eq(first).all()
