"""BigGAN's parts: published counts, slow formulas in double precision, which block a part of the latent reaches."""

import pytest
import torch
from scipy.stats import truncnorm
from small_generators import prior
from torch import nn

from apps.data.batches import Batch
from apps.generators import sngan
from apps.generators.attention import SelfAttention
from apps.generators.latents import Gaussian, UniformSphere, VonMisesFisherLatent
from apps.generators.orthogonal import orthogonal_penalty, regularised
from apps.generators.residual import LinearBatchNorm
from apps.generators.sngan import SNGAN, Discriminator
from apps.generators.sngan_presets import architecture
from apps.generators.sngan_training import Objective, SNGANTraining
from apps.models.named import generator_run
from priors.errors import InputError

SHAPE = (1, 16, 16)
CLASSES = ("a", "b", "c")


def count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def small(dim=6, width=8):
    """Both networks at 16 x 16 pixels: two blocks, and three parts of the latent."""
    torch.manual_seed(0)
    sizes = architecture("biggan", SHAPE, width, width)
    return SNGAN(sizes, CLASSES, Gaussian(dim), "orthogonal"), Discriminator(sizes, 3, initialisation="orthogonal")


@pytest.fixture
def counted(monkeypatch):
    """`counted(sizes, dim, classes)`: parameters of both networks, which are built without numbers."""
    for name in ("initialise", "spectral_norm"):
        monkeypatch.setattr(sngan, name, lambda *_: None)
    monkeypatch.setattr(sngan, "by_shape", lambda _: [])
    for layer in (nn.Conv2d, nn.Linear, nn.Embedding):
        monkeypatch.setattr(layer, "reset_parameters", lambda _: None)

    def found(sizes, dim, classes):
        with torch.device("meta"):
            generator = SNGAN(sizes, tuple(map(str, range(classes))), Gaussian(dim))
            return count(generator), count(Discriminator(sizes, classes))

    return found


def test_it_has_the_published_numbers_of_parameters(counted):
    """Those at 128 x 128 are what google/compare_gan's test of its BigGAN asserts; the paper's table 1 has 158.3 M."""
    sizes = architecture("biggan", (3, 128, 128), 4 * 96, 2 * 96)
    assert counted(sizes, 120, 1000) == (70_433_988, 87_982_370)


def test_at_cifars_size_parameters_are_those_of_the_layers(counted):
    """StudioGAN's CIFAR-10 networks: z in 4 parts of 20, an embedding of 128, 384 channels, attention at 16 x 16."""

    def convolution(before, after, side):
        return before * after * side**2 + after

    given, attention = 128 + 20, 384 * (2 * 48 + 2 * 192) + 1
    up = 2 * convolution(384, 384, 3) + convolution(384, 384, 1) + 2 * 2 * given * 384
    generator = 20 * 384 * 16 + 384 * 16 + 10 * 128 + 3 * up + attention + 2 * 384 + convolution(384, 3, 3)
    discriminator = convolution(3, 384, 3) + convolution(384, 384, 3) + convolution(3, 384, 1)
    discriminator += 3 * 2 * convolution(384, 384, 3) + convolution(384, 384, 1) + attention + 385 + 10 * 384
    assert counted(architecture("biggan", (3, 32, 32)), 80, 10) == (generator, discriminator) == (9_416_196, 9_641_090)


def test_self_attention_is_the_slow_formula():
    torch.manual_seed(1)
    layer = SelfAttention(16).double()
    x = torch.randn(2, 16, 4, 6).double()
    assert torch.equal(layer(x), x)  # the gain starts at 0
    nn.init.constant_(layer.gain, 0.7)

    def at(conv, pixel):
        return conv.weight[:, :, 0, 0] @ pixel

    expected = x.clone()
    for image in range(2):
        keys, values = [], []
        for i in range(0, 4, 2):
            for j in range(0, 6, 2):
                places = [x[image, :, i + a, j + b] for a in (0, 1) for b in (0, 1)]
                keys.append(torch.stack([at(layer.key, place) for place in places]).amax(0))
                values.append(torch.stack([at(layer.value, place) for place in places]).amax(0))
        for i in range(4):
            for j in range(6):
                query = at(layer.query, x[image, :, i, j])
                shares = torch.stack([query @ key for key in keys]).exp()
                attended = sum(share * value for share, value in zip(shares / shares.sum(), values, strict=True))
                expected[image, :, i, j] += 0.7 * at(layer.out, attended)
    torch.testing.assert_close(layer(x), expected)


@pytest.mark.parametrize("rows, columns", [(3, 5), (5, 3), (4, 4)])
def test_the_orthogonal_penalty_and_its_gradient_are_those_of_the_formula(rows, columns):
    torch.manual_seed(2)
    weights = [torch.randn(rows, columns, dtype=torch.float64, requires_grad=True) for _ in range(2)]
    found = orthogonal_penalty([weights])
    products = [weight @ weight.T * (1 - torch.eye(rows).double()) for weight in weights]
    torch.testing.assert_close(found, sum(product.square().sum() for product in products))
    for slope, product, weight in zip(torch.autograd.grad(found, weights), products, weights, strict=True):
        torch.testing.assert_close(slope, 4 * product @ weight)
    for form in (
        torch.contiguous_format,
        torch.channels_last,
    ):  # DDP expects a gradient as the weight lies
        weight = torch.randn(4, 3, 1, 1).to(memory_format=form).requires_grad_()
        (slope,) = torch.autograd.grad(orthogonal_penalty([[weight]]), weight)
        assert slope.stride() == weight.stride()
    assert torch.autograd.gradcheck(lambda *given: orthogonal_penalty([list(given)]), weights)


def test_the_penalty_is_of_the_generators_filters_alone():
    generator, discriminator = small()
    task = SNGANTraining(generator, discriminator, Objective(orthogonal=0.5), seed=0)
    weights = {id(weight) for group in regularised(generator) for weight in group}
    kept = {name for name, parameter in generator.named_parameters() if id(parameter) in weights}
    left = {name for name, parameter in generator.named_parameters() if parameter.ndim > 1} - kept
    assert left == {"shared.weight"} and any("gain" in name for name in kept) and len(kept) == 20
    numbers = torch.arange(4)
    batch = Batch(torch.rand(4, *SHAPE), numbers % 3, numbers, torch.zeros_like(numbers), 0)
    found = task.losses("generator", batch, 0)
    torch.testing.assert_close(found["orthogonal"], 0.5 * orthogonal_penalty(regularised(generator)))
    assert "orthogonal" not in task.losses("discriminator", batch, 0)


def test_a_part_of_the_latent_reaches_its_block_and_those_after():
    generator, _ = small()
    generator.eval()
    z, labels = torch.randn(2, 6), torch.tensor([0, 2])

    def outputs(z):
        found = []
        parts = (generator.linear, *generator.blocks)
        hooks = [part.register_forward_hook(lambda module, given, out: found.append(out)) for part in parts]
        generator(z, labels)
        for hook in hooks:
            hook.remove()
        return found

    before = outputs(z)
    for part in range(3):
        other = z.clone()
        other[:, 2 * part : 2 * part + 2] += 1
        same = [torch.equal(one, two) for one, two in zip(before, outputs(other), strict=True)]
        assert same == [True] * part + [False] * (3 - part)


def test_gains_and_biases_are_linear_in_what_is_given():
    torch.manual_seed(3)
    norm = LinearBatchNorm(4, 3, 1e-3).double().train()
    x, given = torch.randn(5, 4, 2, 2).double(), torch.randn(5, 3).double()
    mean, variance = x.mean((0, 2, 3), keepdim=True), x.var((0, 2, 3), keepdim=True, unbiased=False)
    gain, bias = (1 + given @ norm.gain.weight.T, given @ norm.bias.weight.T)
    expected = (x - mean) / (variance + 1e-3).sqrt() * gain[..., None, None] + bias[..., None, None]
    torch.testing.assert_close(norm(x, given), expected)


def test_every_weight_of_the_generator_reaches_spectral_norm_one():
    generator, discriminator = small(dim=9)
    for network, number in ((generator, 20), (discriminator, 16)):
        layers = [module for module in network.train().modules() if hasattr(module, "parametrizations")]
        with torch.no_grad():
            for _ in range(60):
                weights = [layer.weight for layer in layers]  # each time it is asked for is an iteration
        assert len(weights) == number
        for weight in weights:
            assert torch.linalg.matrix_norm(weight.flatten(1), 2) == pytest.approx(1, abs=0.02)
    assert not hasattr(generator.shared, "parametrizations")


def test_parts_that_cannot_be_are_refused():
    with pytest.raises(InputError, match=r"--attention 20 at images of 32 pixels: .* of side 8, 16; give one of these"):
        sngan.Architecture(**vars(architecture("biggan", (3, 32, 32))) | {"attention": 20})
    with pytest.raises(InputError, match="--shared-embedding 128, or --hierarchical no"):
        sngan.Architecture(**vars(architecture("biggan", (3, 32, 32))) | {"shared": 0})
    with pytest.raises(InputError, match=r"130 dimensions in 4 equal parts.*--latent-dim 128 or 132"):
        SNGAN(architecture("biggan", (3, 32, 32), 8, 8), CLASSES, Gaussian(130))
    with pytest.raises(InputError, match=r"2 dimensions in 4 equal parts.*--latent-dim 4,"):
        SNGAN(architecture("biggan", (3, 32, 32), 8, 8), CLASSES, Gaussian(2))


def test_truncated_latents_are_those_within():
    """As scipy's truncated normal: means of 40,000 within five standard errors, which fails in less than 1e-5."""
    labels, stream = torch.zeros(4000, dtype=torch.long), torch.Generator().manual_seed(0)
    for most in (0.5, 2.0, 9.0):
        z = Gaussian(10).truncated(most).sample(labels, stream).double().flatten()
        law = truncnorm(-most, most)
        assert z.abs().max() <= most and z.mean().item() == pytest.approx(0, abs=5 * law.std() / 200)
        error = (law.moment(4) - law.var() ** 2) ** 0.5 / 200
        assert z.square().mean().item() == pytest.approx(law.var(), abs=5 * error)
    assert Gaussian(3).truncated(1.0).description() == Gaussian(3).description()
    for latent, knob in ((UniformSphere(3), "one length"), (VonMisesFisherLatent(prior()), "--concentration")):
        with pytest.raises(InputError, match=f"for Gaussian latents.*{knob}"):
            latent.truncated(0.5)


def test_it_trains_and_samples_from_the_prior_of_a_classifier(penult, trained):
    words = ["train", "sngan", "--data", "digits", "--device", "cpu", "--threads", 1, "--preset", "biggan"]
    words += ["--generator-width", 8, "--discriminator-width", 8, "--batch-size", 16, "--discriminator-turns", 1]
    words += ["--latent", "vmf", "--classifier", trained / "classifier", "--steps", 2, "--standing", 1]
    said = penult(*words, "--r1", 1, "--r1-every", 1, "--name", "g")
    assert said.status == 0, said.err
    model = generator_run("runs/g")
    assert model.architecture.attention == 4 and model.architecture.parts == 2 and model.latent.dim == 6
    assert model.attention.gain.item() != 0  # it has learned
    said = penult("sample", "runs/g", "--labels", "2,5", "--n", 2, "--out", "a.npz")
    assert said.status == 0, said.err
    said = penult("sample", "runs/g", "--truncation", 0.5, "--out", "b.npz")
    assert said.status == 2 and "these are vmf: --concentration" in said.err and said.err.count("\n") == 1
    said = penult("sample", trained / "hvae", "--truncation", 0.5, "--out", "b.npz")
    assert said.status == 2 and "it is for an SNGAN" in said.err and said.err.count("\n") == 1
