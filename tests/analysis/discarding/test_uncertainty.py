"""Reconstruction uncertainty: against closed forms for linear networks, and against the paper's example of a sum."""

import math

import pytest
import torch
from torch import nn

from analysis.discarding.decoder import TwoTrackDecoder, folded_decoder
from analysis.discarding.uncertainty import reconstruction_uncertainty
from priors.errors import InputError

C = math.log(2 * math.pi * math.e) / 2
SHAPE, ALPHA = (1, 4, 4), 1e-3


class Linear(nn.Module):
    """Features A x, and the image G f."""

    def __init__(self, matrix: torch.Tensor, shape: tuple[int, ...] = ()):
        super().__init__()
        self.matrix, self.shape = nn.Parameter(matrix), shape

    def forward(self, given):
        return (given.flatten(1) @ self.matrix.T).unflatten(1, self.shape or (-1,))


def largest(a, g, bias, alpha):
    """The largest mean of log(b^2 + M q) / 2 under the constraint, to the last digit: a slow fixed point.

    q is multiplied by the slope of what is to be large, over its price, and brought back to the constraint. Where that
    stands still, slopes over prices are all the same, or lower where q is 0: the conditions of a maximum of a concave
    function, which are looked at.
    """
    m, s = (g @ a).square(), a.square().sum(0)
    wanted = alpha * s.sum()
    q = (wanted / s.sum()).expand_as(s).clone()
    for _ in range(20_000):
        gain = ((m.T @ (1 / (bias + m @ q))) / s).sqrt()
        q = q * gain
        q = q * wanted / (q * s).sum()
    gain = (m.T @ (1 / (bias + m @ q))) / s
    level = (gain * q * s).sum() / wanted
    assert float(gain.max() / level) < 1 + 1e-3
    return ((bias + m @ q).log() / 2 + C).mean()


def linear_net(kind: str):
    torch.manual_seed(1)
    n = math.prod(SHAPE)
    if kind == "diagonal":  # water-filling: some pixels get no noise where the bias is large
        a = torch.diag(torch.linspace(0.5, 2, n, dtype=torch.float64))
        g = torch.diag(torch.linspace(1.5, 0.2, n, dtype=torch.float64))
    else:
        a = torch.randn(10, n, dtype=torch.float64) * torch.linspace(0.3, 1.5, n, dtype=torch.float64)
        g = torch.linalg.pinv(a)
    return a, g


@pytest.mark.parametrize("kind", ["diagonal", "general"])
@pytest.mark.parametrize("centre", ["image", "reconstruction"])
def test_it_is_the_maximum_of_linear_networks(kind, centre):
    """The mean entropy that the noise gives by exact formulas is within .06 nats of the largest.

    SID's noise is .3 nats off or more where pixels mix. What is measured is that of the formulas to 5 of its own
    standard errors, the draws being fixed.
    """
    a, g = linear_net(kind)
    images = 0.05 * torch.randn(4, *SHAPE, dtype=torch.float64)
    found = reconstruction_uncertainty(
        Linear(a), Linear(g, SHAPE), images, alpha=ALPHA, centre=centre, grid=None, steps=150, samples=8, measured=64
    )
    for number, image in enumerate(images):
        x = image.flatten()
        bias = (x - g @ a @ x).square() if centre == "image" else torch.zeros_like(x)
        best = largest(a, g, bias, ALPHA)
        m, s, wanted = (g @ a).square(), a.square().sum(0), ALPHA * a.square().sum()
        q, first = found.sigma[number].flatten().square(), wanted / len(x) / a.square().sum(0)
        moves = (s * q).sum() / wanted
        assert abs(float(moves) - 1) < 5 * float(found.achieved_error[number])
        reached, begun = (((bias + m @ own).log() / 2 + C).mean() for own in (q / moves, first))
        assert -1e-9 < float(best - reached) < 0.06
        assert kind == "diagonal" or float(best - begun) > 0.3
        measured = ((bias + m @ q).log() / 2 + C).mean()
        assert abs(float(found.mean[number] - measured)) < 5 * float(found.mean_error[number])
        torch.testing.assert_close(found.bias[number].flatten(), bias.sqrt())
    assert bool(((found.achieved - 1).abs() < 5 * found.achieved_error + 0.01).all())


@pytest.mark.parametrize("centre", ["image", "reconstruction"])
def test_a_sum_of_pixels_gives_none_of_them_back(centre):
    """Section 3.3: f = sum of x, of which the best reconstruction of each pixel is f / n.

    delta_f^2 = n, and every noise that moves f by alpha n in the square moves each reconstruction by alpha / n. Where
    mu is the image, |x_i - mean| is in the way as well, which is far larger.
    """
    n, alpha = 64, 1.5e-4
    torch.manual_seed(0)
    images = torch.rand(2, 1, 8, 8, dtype=torch.float64)
    found = reconstruction_uncertainty(
        lambda x: x.flatten(1).sum(1, keepdim=True),
        lambda f: (f / n)[..., None, None].expand(-1, 1, 8, 8),
        images,
        centre=centre,
        grid=None,
        measured=400,
        steps=10,
    )
    bias = images - images.mean((1, 2, 3), keepdim=True) if centre == "image" else 0 * images
    exact = (bias.square() + alpha / n).log() / 2 + C
    assert bool(((found.entropy - exact).abs() < 5 * found.error + 1e-6).all())
    assert float((found.mean - exact.flatten(1).mean(1)).abs().max()) < 0.1
    # All of SID's pixels are equally kept, at sigma^2 = alpha; nearly all of RU is what cannot be given back.
    if centre == "image":
        assert bool((found.mean > math.log(alpha) / 2 + C + 1).all())


def test_the_mean_of_a_logarithm_is_lower_by_what_normal_errors_say():
    """E log(chi squared of one degree) = -1.27: half of that lies between the variants."""
    a, g = linear_net("general")
    images = torch.zeros(3, *SHAPE, dtype=torch.float64)
    own = {"alpha": ALPHA, "grid": None, "centre": "reconstruction", "measured": 400, "steps": 20}
    paper = reconstruction_uncertainty(Linear(a), Linear(g, SHAPE), images, **own)
    authors = reconstruction_uncertainty(Linear(a), Linear(g, SHAPE), images, variant="authors", **own)
    torch.testing.assert_close(paper.sigma, authors.sigma)
    apart = (authors.mean - paper.mean).mean()
    expected = (math.log(2) + float(torch.digamma(torch.tensor(0.5)))) / 2
    assert float(apart) == pytest.approx(expected, abs=5 * float(authors.mean_error.max()) + 0.02)


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(2, 4, 3, 2, 1), nn.Softplus(), nn.Conv2d(4, 6, 3, 2, 1)).eval()


def test_scaled_features_give_the_same_once_the_decoder_undoes_it():
    """Coherency: the network's last layer is scaled by 4, and the decoder's first layer takes that back.

    To the bit, in single precision: each step of a search makes what rounding there is larger.
    """
    first, decoder = network(), TwoTrackDecoder((2, 8, 8), (6, 2, 2), width=4).eval()
    images = torch.rand(3, 2, 8, 8)
    own = {"steps": 20, "grid": 4, "samples": 2, "measured": 4}
    before = reconstruction_uncertainty(first, decoder, images, **own)
    scaled = network()
    for one in (scaled[2].weight, scaled[2].bias):
        one.data.mul_(4)
    after = reconstruction_uncertainty(scaled, folded_decoder(decoder, 4), images, **own)
    assert torch.equal(after.entropy, before.entropy) and torch.equal(after.sigma, before.sigma)
    assert torch.equal(after.delta, 16 * before.delta)


def test_images_in_turn_give_the_same():
    first, decoder = network().double(), TwoTrackDecoder((2, 8, 8), (6, 2, 2), width=4).double().eval()
    images = torch.rand(3, 2, 8, 8, dtype=torch.float64)
    own = {"steps": 4, "grid": 4, "shared": False, "samples": 2, "measured": 4}
    whole = reconstruction_uncertainty(first, decoder, images, **own)
    assert whole.entropy.shape == (3, 2, 8, 8) and whole.sigma.shape == (3, 2, 4, 4)
    by_one = reconstruction_uncertainty(first, decoder, images, memory=1, **own)
    torch.testing.assert_close(by_one.entropy, whole.entropy, atol=1e-9, rtol=1e-9)
    last = reconstruction_uncertainty(first, decoder, images[2:], index=[2], delta=whole.delta[:1], **own)
    torch.testing.assert_close(last.entropy, whole.entropy[2:], atol=1e-9, rtol=1e-9)


def test_an_image_that_cannot_be_measured_is_told_and_the_rest_is_kept():
    class Breaking(nn.Module):
        def forward(self, x):
            return x / (x.flatten(1).mean(1) < 0.9)[:, None, None, None]

    images = torch.stack([torch.full((1, 4, 4), 0.3), torch.full((1, 4, 4), 0.95)])
    found = reconstruction_uncertainty(Breaking(), lambda f: f, images, grid=None, steps=2)
    assert found.failed.tolist() == [False, True]
    assert bool(found.entropy[0].isfinite().all()) and bool(found.entropy[1].isnan().all())


def test_an_image_whose_features_jump_is_told_and_the_rest_is_kept():
    """However little noise there is, the second image's features move by more than is wanted."""

    def features(images):
        low = images[:, :, :1, :1] < 0.1
        still = (images - images.detach().round(decimals=2)).abs().amax((1, 2, 3), keepdim=True) < 1e-12
        return images + torch.where(low & ~still, 5.0, 0.0)

    images = torch.full((2, 1, 4, 4), 0.5, dtype=torch.float64)
    images[1, :, 0, 0] = 0.05
    found = reconstruction_uncertainty(features, lambda f: f, images, grid=2, steps=3)
    assert found.failed.tolist() == [False, True] and found.achieved[1].item() > 1e3
    assert bool(found.entropy[0].isfinite().all()) and bool(found.entropy[1].isnan().all())


@pytest.mark.parametrize("steps", [0, 20])
@pytest.mark.parametrize("cap", [1.0, 0.05])
def test_cells_that_features_ignore_stay_at_the_cap(steps, cap):
    """The right half is ignored; the noise of the left is what it would be alone."""

    def decoder(f):
        return torch.cat([f.view(-1, 1, 4, 2), torch.zeros_like(f).view(-1, 1, 4, 2)], 3)

    images = torch.rand(3, *SHAPE, dtype=torch.float64)
    found = reconstruction_uncertainty(
        lambda x: x[..., :2].flatten(1), decoder, images, grid=None, steps=steps, alpha=ALPHA, cap=cap
    )
    assert found.capped.tolist() == [8, 8, 8] and bool((found.sigma[..., 2:] == cap).all())
    assert bool((found.sigma[..., :2] < cap).all())
    assert bool(((found.achieved - 1).abs() < 5 * found.achieved_error).all())


def test_what_does_not_fit_is_refused():
    first, images = network(), torch.rand(2, 2, 8, 8)
    decoder = TwoTrackDecoder((2, 8, 8), (6, 2, 2), width=2).eval()
    other = TwoTrackDecoder((2, 8, 8), (4, 4, 4), width=2).eval()
    smaller = TwoTrackDecoder((1, 8, 8), (6, 2, 2), width=2).eval()
    for change, said in (
        (
            {"decoder": other},
            r"features of shape \(6, 2, 2\): \(4, 4, 4\) was expected, from the network and the layer",
        ),
        ({"decoder": smaller}, r"shape \(1, 1, 8, 8\) for images .* a decoder that was trained on this layer"),
        ({"centre": "imge"}, "unknown centre 'imge': did you mean 'image'"),
        ({"variant": "author"}, "unknown variant 'author'"),
        ({"steps": -1}, "steps is -1"),
        ({"samples": 3}, "samples is 3: an even number"),
        ({"measured": 2}, "measured is 2: a whole number of at least 4"),
        ({"rate": 0.0}, "rate is 0"),
        ({"alpha": -1.0}, "alpha is -1"),
        ({"grid": 16}, "smaller than the grid"),
    ):
        own = {"decoder": decoder, "grid": 4} | change
        with pytest.raises(InputError, match=said):
            reconstruction_uncertainty(first, images=images, **own)
