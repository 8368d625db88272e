"""The grid of 256 levels, what is refused, and what both distributions of a pixel promise: types, draws, no waiting."""

import math
from contextlib import nullcontext

import numpy as np
import pytest
import torch

from analysis.densities.logistics import LogisticMixture
from analysis.densities.pixel_softmax import PixelSoftmax
from analysis.densities.pixels import categorical, levels
from priors.errors import InputError

BOTH = pytest.mark.parametrize("distribution", [PixelSoftmax(), LogisticMixture(), LogisticMixture(3)], ids=repr)


def stream(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def given(distribution, *size: int, dtype=torch.float32, seed: int = 0) -> torch.Tensor:
    """Two images' outputs of that size, or that many pixels' rows."""
    shape = (2, distribution.outputs, *size) if len(size) == 2 else (*size, distribution.outputs)
    return torch.randn(shape, generator=stream(seed), dtype=torch.float64).to(dtype)


def grid_images(channels: int, *size: int, dtype=torch.float32) -> torch.Tensor:
    return torch.randint(256, (2, channels, *size), generator=stream(9)).to(dtype) / 255


def test_every_level_comes_back():
    bytes_ = np.arange(256, dtype=np.uint8)
    for dtype in (np.float32, np.float64):
        assert levels(torch.from_numpy(bytes_.astype(dtype) / dtype(255))).equal(torch.arange(256))
    # As other ways of scaling round them, and through a normalisation and back.
    single = torch.arange(256) / 255
    for near in (torch.arange(256) * (1 / 255), single.double(), (single - 0.4914) / 0.2023 * 0.2023 + 0.4914):
        assert levels(near).equal(torch.arange(256))
    assert levels(torch.zeros(0, 3, 4, 4)).shape == (0, 3, 4, 4)


@pytest.mark.parametrize(
    ("images", "said"),
    [
        (torch.tensor([0.2, 0.2 + 4e-4]), r"up to 0.0004 away from the grid k / 255.*discrete.*\(images \* 255\)"),
        (torch.rand(3, 4, 4, generator=stream()), "away from the grid"),
        (torch.tensor([0.0, 1.0 + 1 / 255]), "values between 0 and 1.00392: values k / 255"),
        (torch.arange(256.0), "between 0 and 255: .*divide bytes by 255"),
        (torch.tensor([-1.0, 1.0]), "between -1 and 1: .*undo any normalisation"),
        (torch.tensor([0.0, math.nan]), "not finite"),
        (torch.tensor([0.0, math.inf]), "not finite"),
        (torch.tensor([-math.inf, 0.0]), "not finite"),
        ((torch.arange(256) / 255).bfloat16(), "torch.bfloat16: float32 or float64"),
        ((torch.arange(256) / 255).bfloat16().float(), "away from the grid"),
    ],
)
def test_other_images_are_refused_in_one_line(images, said):
    with pytest.raises(InputError, match=said) as caught:
        levels(images)
    assert "\n" not in str(caught.value)


def test_what_the_error_says_to_do_helps():
    images = torch.rand(3, 4, 4, generator=stream())
    assert levels((images * 255).round() / 255).equal((images * 255).round().long())
    assert levels(images, check=False).equal((images * 255).round().long()), "not looked at"


@BOTH
def test_what_does_not_fit_is_refused_with_both_numbers(distribution):
    right, other = distribution.channels, 4 - distribution.channels
    outputs = given(distribution, 4, 4)
    with pytest.raises(InputError, match=f"{distribution.outputs} outputs .* {other} channels: .* images of {right}"):
        distribution.log_prob(outputs, grid_images(other, 4, 4))
    with pytest.raises(InputError, match=f"17 outputs a pixel .* takes {distribution.outputs} outputs"):
        distribution.log_prob(outputs[:, :17], grid_images(right, 4, 4))
    with pytest.raises(InputError, match=f"17 outputs .* takes {distribution.outputs} outputs"):
        distribution.sample(outputs[:, :17, 0, 0], stream())
    with pytest.raises(InputError, match=f"2 draws a pixel: .* and {distribution.draws} draws"):
        distribution.place(outputs[:, :, 0, 0], torch.rand(2, 2, dtype=torch.float64))
    with pytest.raises(InputError, match="away from the grid"):
        distribution.log_prob(outputs, grid_images(right, 4, 4) * 0.999)


@BOTH
def test_types_and_shapes(distribution):
    images = grid_images(distribution.channels, 3, 5)
    exact = distribution.log_prob(given(distribution, 3, 5, dtype=torch.float64), images.double())
    assert exact.dtype == torch.float64 and exact.shape == (2, 3, 5) and (exact < 0).all()
    outputs = given(distribution, 3, 5)
    single = distribution.log_prob(outputs, images)
    assert single.dtype == torch.float32
    torch.testing.assert_close(single.double(), exact, rtol=1e-5, atol=1e-5)
    strided = outputs.to(memory_format=torch.channels_last)
    torch.testing.assert_close(distribution.log_prob(strided, images), single, rtol=1e-6, atol=1e-6)
    assert distribution.log_prob(outputs, images, check=False).equal(single)
    assert distribution.log_prob(outputs[:0], images[:0]).shape == (0, 3, 5)


@BOTH
def test_half_precision_is_computed_in_float32(distribution):
    images, outputs = grid_images(distribution.channels, 4, 4), given(distribution, 4, 4)

    def found(outputs):
        outputs = outputs.clone().requires_grad_()
        log_prob = distribution.log_prob(outputs, images)
        return log_prob.detach(), torch.autograd.grad(log_prob.sum(), outputs)[0]

    plain, gradient = found(outputs)
    rounded, rounded_gradient = found(outputs.bfloat16().float())
    with torch.autocast("cpu", torch.bfloat16):
        inside, inside_gradient = found(outputs)
        half, half_gradient = found(outputs.bfloat16())
        pixels = distribution.sample(outputs[:, :, 0, 0].bfloat16(), stream())
    assert inside.dtype == torch.float32 and inside.equal(plain) and inside_gradient.equal(gradient)
    assert half.dtype == torch.float32 and half.equal(rounded)
    assert half_gradient.dtype == torch.bfloat16 and half_gradient.equal(rounded_gradient.bfloat16())
    assert pixels.equal(distribution.sample(outputs[:, :, 0, 0].bfloat16().float(), stream()))


@BOTH
def test_draws_are_the_generators(distribution):
    outputs = given(distribution, 300)
    state = torch.get_rng_state()
    drawn = distribution.sample(outputs, stream(1))
    assert torch.get_rng_state().equal(state), "no other source was touched"
    assert drawn.shape == (300, distribution.channels) and drawn.dtype == torch.float32
    assert drawn.equal(distribution.sample(outputs, stream(1)))
    assert not drawn.equal(distribution.sample(outputs, stream(2)))
    # Exactly bytes / 255, and so on the grid; a pixel is placed by its own row of uniform numbers alone.
    assert drawn.equal(levels(drawn).float() / 255) and len(levels(drawn).unique()) > 50
    uniforms = torch.rand(300, distribution.draws, generator=stream(1), dtype=torch.float64)
    assert drawn[7:8].equal(distribution.place(outputs[7:8], uniforms[7:8]))
    double = distribution.sample(given(distribution, 300, dtype=torch.float64), stream(1))
    assert double.dtype == torch.float64 and levels(double).equal(levels(drawn))
    tracked = distribution.sample(outputs.requires_grad_())
    assert not tracked.requires_grad and levels(tracked).shape == drawn.shape


def test_categorical_inverts_the_cumulated_softmax():
    logits = 3 * torch.randn(400, 37, generator=stream(), dtype=torch.float64)
    uniforms = torch.rand(400, generator=stream(1), dtype=torch.float64)
    found = categorical(logits, uniforms)
    for row, (weights, u) in enumerate(zip(logits.exp().numpy(), uniforms.numpy(), strict=True)):
        assert found[row] == np.searchsorted(np.cumsum(weights / weights.sum()), u, side="right")


def test_categorical_of_what_is_no_number_is_the_last_class():
    """One that there is, so that what is picked by it is picked within its tensor."""
    uniforms = torch.tensor([0.0, 0.5, 1 - 2.0**-53], dtype=torch.float64)
    for logits in ([float("nan")] * 4, [0.0, float("nan"), 1.0, 2.0], [0.0, float("inf"), 1.0, 2.0]):
        assert categorical(torch.tensor(logits).expand(3, -1), uniforms).tolist() == [3, 3, 3]


def test_categorical_never_draws_what_cannot_be():
    """At the smallest and largest numbers that a generator gives, classes of probability zero at both ends."""
    logits = torch.tensor([-math.inf, -2000.0, 0.3, -math.inf, 0.1, -5000.0, -math.inf])
    ends = torch.tensor([0.0, 2.0**-53, 1 - 2.0**-53], dtype=torch.float64)
    assert categorical(logits.expand(3, -1), ends).tolist() == [2, 2, 4]
    generator = stream()
    for _ in range(200):  # the sum may be any number
        some = torch.randn(1, 7, generator=generator) * 5 + logits
        assert categorical(some.expand(3, -1), ends).tolist() == [2, 2, 4]


@pytest.mark.gpu
@BOTH
def test_on_a_gpu_without_synchronising(distribution, no_waits):
    images, outputs, rows = grid_images(distribution.channels, 8, 8), given(distribution, 8, 8), given(distribution, 50)
    uniforms = torch.rand(50, distribution.draws, generator=stream(), dtype=torch.float64)

    def results(device):
        ours, seen = outputs.to(device).requires_grad_(), images.to(device)
        on_device = rows.to(device), uniforms.to(device)
        with no_waits() if device == "cuda" else nullcontext():
            log_prob = distribution.log_prob(ours, seen, check=False)
            return log_prob, torch.autograd.grad(log_prob.sum(), ours)[0], distribution.place(*on_device)

    for a, b in zip(results("cuda"), results("cpu"), strict=True):
        torch.testing.assert_close(a.cpu(), b, rtol=2e-5, atol=2e-5)
    assert distribution.sample(rows.cuda(), stream()).cpu().equal(distribution.sample(rows, stream()))
