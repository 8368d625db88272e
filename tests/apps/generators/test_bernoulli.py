"""The likelihood of binary pixels, against SciPy in double precision."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.special import log_expit

from apps.generators import bernoulli, hyperspherical_vae
from apps.generators.bernoulli import LOG2_E, draws_at_once, log_normalisers
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


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_bounds_likelihood_is_scipys_and_its_gradient_torchs(dtype):
    """Of binary pixels and of means, at logits of any size."""
    seeded = torch.Generator().manual_seed(0)
    sizes = torch.tensor([0.0, 1e-3, 1.0, 15.0, 25.0, 39.0, 41.0, 1000.0], dtype=dtype)
    logits = torch.cat([sizes, -sizes]).expand(6, -1).clone().requires_grad_()
    x = torch.rand(6, 16, generator=seeded, dtype=dtype)
    x[:4] = (x[:4] > 0.5).to(dtype)
    found = bernoulli.log_likelihood(logits, x)
    one, other = (log_expit(sign * logits.detach().double().numpy()) for sign in (1, -1))
    exact = (x.numpy() * one + (1 - x.double().numpy()) * other).sum(-1)
    np.testing.assert_allclose(found.detach().numpy(), exact, rtol=1e-6 if dtype == torch.float32 else 1e-14)
    weights = torch.randn(6, generator=seeded, dtype=dtype)
    plain = -F.binary_cross_entropy_with_logits(logits, x, reduction="none").sum(-1)
    (ours,), (theirs,) = (torch.autograd.grad(value @ weights, logits) for value in (found, plain))
    torch.testing.assert_close(ours, theirs, rtol=0, atol=0)


def test_the_bounds_likelihood_has_derivatives_of_both_orders_in_logits_and_pixels():
    seeded = torch.Generator().manual_seed(0)
    logits, x = (torch.rand(3, 5, generator=seeded, dtype=torch.float64).requires_grad_() for _ in range(2))
    assert torch.autograd.gradcheck(bernoulli.log_likelihood, (logits, x))
    assert torch.autograd.gradgradcheck(bernoulli.log_likelihood, (logits, x))


@pytest.mark.parametrize("count", [70, 300])
def test_hidden_layers_are_taken_in_parts_that_the_cache_holds(monkeypatch, count):
    """However many draws an image has: a part is two blocks of logits at the most."""
    torch.manual_seed(0)
    model = HVAEC((1, 9, 9), 4, "abc", (20, 12))
    x = torch.bernoulli(torch.full((5, 81), 0.4))
    z = torch.nn.functional.normalize(torch.randn(5, count, 4), dim=-1)
    labels, seen = torch.randint(3, (5, count)), []

    def code(z, labels):
        seen.append(labels.numel())
        return model._code(z, labels)

    monkeypatch.setattr(bernoulli, "draws_at_once", lambda pixels: 64)
    with torch.no_grad():
        found = model.networks.log_bernoulli(model.decoder, model.to_logits, x, z, labels, code)
        exact = model._log_bernoulli_by_pixel(x, z, labels)
    torch.testing.assert_close(found, exact, rtol=1e-5, atol=1e-4)
    assert max(seen) <= 128 and sum(seen) == 5 * count


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
