"""The likelihood of binary pixels, against SciPy in double precision."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.special import log_expit

from apps.generators import bernoulli, hyperspherical_vae
from apps.generators.bernoulli import LOG2_E, draws_at_once, log_likelihood, log_normalisers
from apps.generators.hvae import HVAE, HVAEC

PIXELS = (784, 64, 113, 1)


@pytest.mark.parametrize("scale", [0.01, 0.1], ids="scale {}".format)
@pytest.mark.parametrize("factors", [1, 7, 50, 112])
@pytest.mark.parametrize("pixels", PIXELS)
def test_log_normalisers_are_sums_of_softplus(pixels, factors, scale):
    seeded = torch.Generator().manual_seed(0)
    hidden = torch.randn(20, 16, generator=seeded)
    weight = torch.randn(pixels, 16, generator=seeded) * scale
    exact = -log_expit(-(hidden.double().numpy() @ weight.double().numpy().T)).sum(-1)
    if exact.max() / factors > 80:
        pytest.skip("one factor of all would overflow")
    space = torch.empty(20, pixels), torch.empty(20, min(factors, pixels))
    found = log_normalisers(hidden, LOG2_E * weight, *space)
    # the products of 16 terms are rounded in float32, relative to their absolute sum
    rounding = 3e-7 * (hidden.abs() @ weight.abs().T).sum(-1).numpy() + 2e-7 * pixels
    assert (np.abs(found.numpy() - exact) < rounding).all()


@pytest.mark.parametrize(
    ("said", "expected"),
    [("512K\n", 256), ("2048K\n", 1024), ("1024K\n", 512), ("16K\n", 64), ("65536K\n", 1024), ("?", 512), (None, 512)],
)
def test_as_many_draws_go_together_as_the_cache_holds(monkeypatch, tmp_path, said, expected):
    """Of 784 logits of four bytes: once or twice the cache, between 64 and 1,024; 1 MiB where it is not known."""
    if said is not None:
        (tmp_path / "size").write_text(said)
    monkeypatch.setattr(bernoulli, "_SECOND", tmp_path / "size")
    assert draws_at_once.__wrapped__(784) == expected


def drawn(*shape: int, scale: float = 1.0) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits, and pixels of which some are grey: the same for each draw of an image."""
    seeded = torch.Generator().manual_seed(0)
    x = torch.rand(shape[0], *[1] * (len(shape) - 2), shape[-1], generator=seeded)
    return torch.randn(shape, generator=seeded) * scale, torch.where(x < 0.2, x, x.round())


@pytest.mark.parametrize("scale", [1, 20, 1000], ids="scale {}".format)
@pytest.mark.parametrize("shape", [(5, 784), (2, 3, 113), (2, 1), (1, 20_000)], ids=str)
def test_log_likelihood_of_logits_is_that_of_scipy(shape, scale):
    """20,000 pixels of logits near 0: each factor is about 2, and the product of too many would not be finite."""
    logits, x = drawn(*shape, scale=scale if shape[-1] < 20_000 else scale / 1e6)
    at, p = logits.double().numpy(), x.double().numpy()
    exact = p * log_expit(at) + (1 - p) * log_expit(-at)
    found = log_likelihood(logits, x).numpy()
    assert (np.abs(found - exact.sum(-1)) < 3e-7 * (1 + np.abs(at)).sum(-1)).all()


@pytest.mark.parametrize("shape", [(5, 784), (2, 3, 113)], ids=str)
def test_gradients_of_log_likelihood_are_those_of_torch_to_the_bit(shape):
    logits, x = drawn(*shape, scale=5)
    grad = torch.randn(shape[:-1], generator=torch.Generator().manual_seed(1))
    logits.requires_grad_()
    peer = F.binary_cross_entropy_with_logits(logits, x.expand_as(logits), reduction="none").sum(-1)
    ours, theirs = (torch.autograd.grad(value, logits, grad)[0] for value in (log_likelihood(logits, x), -peer))
    assert ours.equal(theirs)


def test_log_likelihood_has_second_derivatives_and_goes_through_transforms():
    logits, x = (part.double() for part in drawn(2, 9))
    assert torch.autograd.gradgradcheck(lambda at: log_likelihood(at, x), logits.requires_grad_())
    logits = logits.detach()
    mapped = torch.func.vmap(torch.func.grad(lambda at, pixels: log_likelihood(at, pixels)))(logits, x)
    torch.testing.assert_close(mapped, x - logits.sigmoid())
    x.requires_grad_()
    (by_x,) = torch.autograd.grad(log_likelihood(logits, x).sum(), x)
    torch.testing.assert_close(by_x, logits)


@pytest.mark.parametrize("size", [(28, 28), (9, 9), (1, 1)], ids=str)
@pytest.mark.parametrize("scale", [1, 5, 20], ids="scale {}".format)
def test_log_likelihood_is_the_sum_of_log_sigmoids(size, scale):
    torch.manual_seed(0)
    model = HVAE((1, *size), 4, "abc", (20, 12))
    model.to_logits.weight.data.mul_(scale)
    x = torch.bernoulli(torch.full((3, size[0] * size[1]), 0.4))
    z = torch.nn.functional.normalize(torch.randn(3, 1500, 4), dim=-1)  # in several blocks
    with torch.no_grad():
        found = model._log_bernoulli(x, z, torch.zeros(3, dtype=torch.long))
        logits = model.decode(z).double().numpy()
        terms = model.decoder(z).abs() @ model.to_logits.weight.abs().T + model.to_logits.bias.abs()
    exact = log_expit(logits * (2 * x[:, None] - 1).numpy()).sum(-1)
    # the products' terms are rounded in float32, relative to their absolute sum
    assert (np.abs(found.numpy() - exact) < 3e-7 * (len(x[0]) + terms.sum(-1).numpy())).all()


def test_draws_that_cannot_have_made_an_image_are_not_minus_infinity():
    """With logits of 60 nats a pixel, no product of their sigmoids is left in float32."""
    torch.manual_seed(0)
    model = HVAE((1, 9, 9), 4, "abc", (20, 12))
    model.to_logits.weight.data.mul_(1000)
    x = torch.bernoulli(torch.full((3, 81), 0.4))
    z = torch.nn.functional.normalize(torch.randn(3, 100, 4), dim=-1)
    with torch.no_grad():
        found = model._log_bernoulli(x, z, torch.zeros(3, dtype=torch.long))
        logits = model.decode(z).double().numpy()
    exact = log_expit(logits * (2 * x[:, None] - 1).numpy()).sum(-1)
    assert exact.min() < -1000
    np.testing.assert_allclose(found.numpy(), exact, rtol=1e-5)


def test_the_path_without_gradients_gives_what_the_one_with_them_does():
    seeded = torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    model = HVAEC((1, 9, 9), 4, "abc", (20, 12))
    x = torch.bernoulli(torch.full((3, 81), 0.4), generator=seeded)
    z = torch.nn.functional.normalize(torch.randn(3, 600, 4, generator=seeded), dim=-1)
    labels = torch.tensor([2, 0, 1])
    with_gradients = model._log_bernoulli(x, z, labels)
    assert with_gradients.requires_grad
    with torch.no_grad():
        without = model._log_bernoulli(x, z, labels)
    torch.testing.assert_close(without, with_gradients.detach(), rtol=1e-6, atol=1e-4)


@pytest.mark.parametrize("gradients", [False, True])
def test_what_is_taken_in_parts_for_want_of_memory_is_the_same(monkeypatch, gradients):
    torch.manual_seed(0)
    model = HVAEC((1, 9, 9), 4, "abc", (20, 12))
    x = torch.bernoulli(torch.full((5, 81), 0.4))
    z = torch.nn.functional.normalize(torch.randn(5, 300, 4), dim=-1)
    labels = torch.randint(3, (5, 300))
    with torch.set_grad_enabled(gradients):
        whole = model._log_bernoulli(x, z, labels)
        for most in (70, 700):  # less than an image's draws, and two images
            monkeypatch.setattr(hyperspherical_vae, "_MOST", most)
            torch.testing.assert_close(model._log_bernoulli(x, z, labels), whole, rtol=1e-5, atol=1e-4)
