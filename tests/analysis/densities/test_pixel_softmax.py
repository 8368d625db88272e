"""The softmax over grey levels: SciPy's, pixel by pixel; sums to one; frequencies of samples."""

import numpy as np
import torch
from scipy import special, stats

from analysis.densities.pixel_softmax import PixelSoftmax
from analysis.densities.pixels import levels

SOFTMAX = PixelSoftmax()


def stream(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_a_slow_loop_agrees():
    outputs = 4 * torch.randn(2, 256, 3, 5, generator=stream(), dtype=torch.float64)
    grey = torch.randint(256, (2, 1, 3, 5), generator=stream(1))
    found = SOFTMAX.log_prob(outputs, grey.double() / 255)
    for image, row, column in np.ndindex(2, 3, 5):
        expected = special.log_softmax(outputs[image, :, row, column].numpy())[grey[image, 0, row, column]]
        np.testing.assert_allclose(found[image, row, column], expected, rtol=1e-13)


def test_all_levels_together_are_certain():
    one = 10 * torch.randn(1, 256, 1, 1, generator=stream(), dtype=torch.float64)
    every = torch.arange(256, dtype=torch.float64).reshape(256, 1, 1, 1) / 255
    assert abs(SOFTMAX.log_prob(one.expand(256, -1, -1, -1), every).exp().sum().item() - 1) < 1e-12


def test_gradients_are_finite_also_where_the_softmax_is_saturated():
    """By the logits they are what was there less the probabilities."""
    outputs = torch.randn(1, 256, 2, 2, generator=stream(), dtype=torch.float64, requires_grad=True)
    grey = torch.tensor([0, 1, 77, 255]).reshape(1, 1, 2, 2) / 255
    (gradient,) = torch.autograd.grad(SOFTMAX.log_prob(outputs, grey).sum(), outputs)
    there = np.arange(256)[:, None] == np.array([0, 1, 77, 255])
    probabilities = special.softmax(outputs.detach().flatten(2)[0].numpy(), axis=0)
    np.testing.assert_allclose(gradient.flatten(2)[0], there - probabilities, atol=1e-14)
    saturated = torch.zeros(1, 256, 2, 2)
    saturated[:, 3] = 1e30
    saturated.requires_grad_()
    log_prob = SOFTMAX.log_prob(saturated, grey)
    torch.testing.assert_close(log_prob, torch.full_like(log_prob, -1e30))
    assert torch.autograd.grad(log_prob.sum(), saturated)[0].isfinite().all()


def test_frequencies_are_the_probabilities():
    """Chi-square over the levels of two pixels, 20,000 draws each; each fails one seed in 1,000."""
    count, rounds = 20_000, 10
    outputs = 0.7 * torch.randn(2, 256, generator=stream(3))
    outputs[1, 100:] = -1e4
    generator, rows = stream(4), outputs.repeat_interleave(count // rounds, 0)
    drawn = [levels(SOFTMAX.sample(rows, generator)).reshape(2, -1) for _ in range(rounds)]
    for row, logits, possible in zip(torch.cat(drawn, 1), outputs.double().numpy(), (256, 100), strict=True):
        counts, expected = np.bincount(row.numpy(), minlength=256), count * special.softmax(logits)
        assert expected[:possible].min() > 5 and counts[possible:].sum() == 0
        assert stats.chisquare(counts[:possible], expected[:possible]).pvalue > 1e-3
