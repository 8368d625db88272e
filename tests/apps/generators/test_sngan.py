"""The SNGAN's networks against published counts, the unfused formulas and singular values."""

import pytest
import torch
import torch.nn.functional as F
from scipy.special import ive
from small_generators import GENERATORS
from torch import nn

from apps.generators.latents import LATENTS, Gaussian, UniformSphere, VonMisesFisherLatent
from apps.generators.residual import ConditionalBatchNorm, DownBlock, UpBlock
from apps.generators.sngan import SNGAN, Discriminator, initialise, rebuild
from apps.generators.sngan_presets import PRESETS, architecture, preset
from priors import ClassifierPrior
from priors.errors import InputError

TEN = tuple("0123456789")
PLAIN = tuple(name for name in PRESETS if name != "biggan")
"""Presets of the same networks; BigGAN's have more parts, see `test_biggan.py`."""


def count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def small(preset="gan-evaluation", shape=(3, 32, 32), width=8, latent=None, classes=TEN):
    torch.manual_seed(0)
    sizes = architecture(preset, shape, width, width)
    return SNGAN(sizes, classes, latent or Gaussian(6 * sizes.parts)), Discriminator(sizes, len(classes))


def vmf_prior(dim=6, classes=TEN, concentration=5.0):
    weight = torch.randn(len(classes), dim, generator=torch.Generator().manual_seed(3))
    return ClassifierPrior.from_weight(weight, concentration, class_names=classes)


# Sizes.


def test_mimicry_has_the_published_number_of_parameters():
    sizes = architecture("mimicry", (3, 32, 32))
    generator, discriminator = SNGAN(sizes, TEN, Gaussian(128)), Discriminator(sizes, 10)
    assert round(count(generator) / 1e6, 2) == 4.30 and round(count(discriminator) / 1e6, 2) == 1.06


def convolution(before, after, side):
    return before * after * side**2 + after


@pytest.mark.parametrize("preset", PLAIN)
def test_parameters_at_32_pixels_are_those_of_the_layers_in_the_papers_tables(preset):
    sizes = architecture(preset, (3, 32, 32))
    first = 1024 if preset == "gan-evaluation" else 256
    generator = 128 * first * 16 + first * 16
    for before, after in ((first, 256), (256, 256), (256, 256)):
        generator += convolution(before, after, 3) + convolution(after, after, 3) + convolution(before, after, 1)
        generator += 2 * 10 * (before + after)
    generator += 2 * 256 * (10 if preset == "gan-evaluation" else 1) + convolution(256, 3, 3)
    assert count(SNGAN(sizes, TEN, Gaussian(128))) == generator
    discriminator = convolution(3, 128, 3) + convolution(128, 128, 3) + convolution(3, 128, 1)
    discriminator += 3 * 2 * convolution(128, 128, 3) + convolution(128, 128, 1)
    discriminator += 128 + (preset != "sngan-projection") + 10 * 128
    assert count(Discriminator(sizes, 10)) == discriminator


@pytest.mark.parametrize(
    "side, first, up, down, halvings",
    [
        # sngan_projection's ImageNet networks, and what 28 and 32 pixels have
        (64, 1024, (512, 256, 128, 64), (64, 128, 256, 512, 1024), 5),
        (128, 1024, (1024, 512, 256, 128, 64), (64, 128, 256, 512, 1024, 1024), 5),
        (32, 256, (256, 256, 256), (128, 128, 128, 128), 2),
        (28, 256, (256, 256), (128, 128, 128, 128), 2),
    ],
)
def test_widths_by_size(side, first, up, down, halvings):
    sizes = architecture("sngan-projection", (3, side, side))
    assert (sizes.first, sizes.up, sizes.down, sizes.halvings) == (first, up, down, halvings)
    assert sizes.bottom * 2 ** len(up) == side


@pytest.mark.parametrize("shape", [(1, 8, 8), (1, 28, 28), (3, 32, 32), (3, 64, 64)])
@pytest.mark.parametrize("preset", PRESETS)
def test_shapes_of_images_and_scores(shape, preset):
    generator, discriminator = small(preset, shape)
    labels = torch.tensor([0, 9, 3])
    images = generator(generator.latent.sample(labels), labels)
    assert images.shape == (3, *shape) and images.abs().max() <= 1
    assert discriminator(images, labels).shape == (3,)


@pytest.mark.parametrize("shape", [(3, 32, 28), (3, 7, 7), (3, 36, 36), (3, 2, 2)])
def test_sizes_that_cannot_be_doubled_are_refused(shape):
    with pytest.raises(InputError, match="doubled"):
        architecture("mimicry", shape)


def test_an_unknown_preset_is_refused_with_the_nearest():
    with pytest.raises(InputError, match="mimicry"):
        architecture("mimicri", (3, 32, 32))


# Blocks.


@pytest.mark.parametrize("upsample", ["nearest", "bilinear"])
def test_an_up_block_is_the_papers_formula(upsample):
    torch.manual_seed(1)
    block = UpBlock(4, 6, 3, upsample).double().train()
    for table in (block.norm1.gain, block.norm1.bias, block.norm2.gain, block.norm2.bias):
        nn.init.normal_(table.weight)
    x, labels = torch.randn(5, 4, 3, 3).double(), torch.tensor([0, 1, 2, 0, 1])

    def norm(layer, h):
        mean, variance = h.mean((0, 2, 3), keepdim=True), h.var((0, 2, 3), keepdim=True, unbiased=False)
        gain, bias = layer.gain.weight[labels][..., None, None], layer.bias.weight[labels][..., None, None]
        return (h - mean) / (variance + 1e-5).sqrt() * gain + bias

    def up(h):
        if upsample == "nearest":
            return h.repeat_interleave(2, 2).repeat_interleave(2, 3)
        return F.interpolate(h, scale_factor=2, mode="bilinear")

    h = block.conv1(up(norm(block.norm1, x).clamp_min(0)))
    expected = block.conv2(norm(block.norm2, h).clamp_min(0)) + block.shortcut(up(x))
    torch.testing.assert_close(block(x, labels), expected)


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("overwrite", [True, False])
def test_a_down_block_is_the_papers_formula(first, overwrite):
    torch.manual_seed(1)
    block = DownBlock(4, 6, halve=True, first=first, overwrite=overwrite).double()
    x = torch.randn(5, 4, 6, 6).double()

    def mean(h):
        return h.unflatten(2, (-1, 2)).unflatten(4, (-1, 2)).mean((3, 5))

    h = x if first else x.clamp_min(0)
    expected = mean(block.conv2(block.conv1(h).clamp_min(0)))
    shortcut = h if overwrite else x
    expected = expected + (block.shortcut(mean(shortcut)) if first else mean(block.shortcut(shortcut)))
    torch.testing.assert_close(block(x), expected)


def test_a_discriminator_block_without_halving_adds_its_input():
    block = DownBlock(4, 4, halve=False)
    nn.init.zeros_(block.conv2.weight)
    nn.init.zeros_(block.conv2.bias)
    x = torch.randn(2, 4, 5, 5)
    assert block.shortcut is None and torch.equal(block(x), x)


def test_every_weight_of_the_discriminator_reaches_spectral_norm_one():
    _, discriminator = small()
    discriminator.train()
    images = torch.randn(2, 3, 32, 32)
    for _ in range(60):
        discriminator(images, torch.tensor([0, 1]))
    discriminator.eval()
    weights = [module.weight for module in discriminator.modules() if hasattr(module, "parametrizations")]
    assert len(weights) == 12  # 2 + 1, 2 + 1, 2, 2, head and embedding
    for weight in weights:
        assert torch.linalg.matrix_norm(weight.detach().flatten(1), 2) == pytest.approx(1, abs=0.02)


def test_projection_adds_the_inner_product_with_the_labels_embedding():
    _, discriminator = small()
    discriminator.eval()
    images = torch.randn(4, 3, 32, 32)
    labels = torch.tensor([0, 3, 3, 9])
    features = discriminator.blocks(images).clamp_min(0).sum((2, 3))
    expected = features @ discriminator.linear.weight[0] + discriminator.linear.bias
    expected = expected + torch.einsum("nc,nc->n", discriminator.embedding.weight[labels], features)
    torch.testing.assert_close(discriminator(images, labels), expected)


@pytest.mark.parametrize("kind", ["xavier", "orthogonal"])
def test_initial_weights(kind):
    network = DownBlock(64, 64, halve=True)
    initialise(network, kind, 2**0.5)
    weight = network.conv2.weight.flatten(1)
    if kind == "orthogonal":
        torch.testing.assert_close(weight @ weight.T, torch.eye(64), atol=1e-5, rtol=0)
    else:  # sqrt 2 sqrt(6 / (fan in + fan out))
        bound = (2 * 6 / (2 * 64 * 9)) ** 0.5
        assert 0.98 * bound < weight.abs().max() <= bound
        assert network.shortcut.weight.abs().max() <= (6 / 128) ** 0.5
    assert not network.conv2.bias.any()


def drawn(name, format=2):
    """The networks of a preset as a training makes them, 24 channels wide."""
    found, sizes = preset(name, format), architecture(name, (3, 32, 32), 24, 24, format)
    torch.manual_seed(0)
    generator = SNGAN(sizes, TEN, Gaussian(6 * sizes.parts), "xavier", found.gain_spread, found.biases)
    return generator, Discriminator(sizes, 10, found.residual_gain, "xavier", found.biases)


@pytest.mark.parametrize("name", PLAIN)
def test_networks_start_as_the_public_code_of_their_preset(name):
    """Chainer's batch norm has eps 2e-5; Mimicry draws class gains from N(1, .02) and leaves torch's own biases."""
    mimicry = name == "mimicry"
    generator, discriminator = drawn(name)
    norms = [module for module in generator.modules() if isinstance(module, nn.BatchNorm2d)]
    assert len(norms) == 7 and {norm.eps for norm in norms} == {2e-5 if name == "sngan-projection" else 1e-5}
    classwise = [module for module in generator.modules() if isinstance(module, ConditionalBatchNorm)]
    assert len(classwise) == (7 if name == "gan-evaluation" else 6)
    assert not any(norm.bias.weight.any() for norm in classwise)
    gains = torch.cat([norm.gain.weight.flatten() for norm in classwise])  # 1,440 or more
    assert gains.mean().item() == pytest.approx(1, abs=5 * 0.02 / len(gains) ** 0.5)
    assert gains.std().item() == pytest.approx(0.02 * mimicry, abs=5 * 0.02 / (2 * len(gains)) ** 0.5 * mimicry)
    for module in (*generator.modules(), *discriminator.modules()):
        if isinstance(module, nn.Conv2d | nn.Linear) and module.bias is not None:
            bound = mimicry * module.weight[0].numel() ** -0.5
            assert module.bias.abs().max() <= bound and (len(module.bias) < 9 or bound / 3 <= module.bias.std())


@pytest.mark.parametrize("name", PLAIN)
def test_runs_of_before_have_the_presets_of_before(name):
    generator, discriminator = drawn(name, format=1)
    assert {norm.eps for norm in generator.modules() if isinstance(norm, nn.BatchNorm2d)} == {1e-5}
    assert all((norm.gain.weight == 1).all() for norm in generator.modules() if isinstance(norm, ConditionalBatchNorm))
    biases = [getattr(module, "bias", None) for module in (*generator.modules(), *discriminator.modules())]
    assert not any(bias.any() for bias in biases if isinstance(bias, nn.Parameter))
    description = generator.description()
    del description["architecture"]["norm_eps"]  # as they were written then
    assert rebuild(description, generator.state_dict()).norm.normalise.eps == 1e-5
    assert rebuild(drawn("sngan-projection")[0].description(), {}).norm.normalise.eps == 2e-5


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
@pytest.mark.parametrize("name", PRESETS)
def test_both_networks_run_in_other_precisions(name, dtype):
    labels, stream = torch.tensor([4, 2, 4]), torch.Generator()
    generator, discriminator = (network.eval() for network in drawn(name))
    images = generator.generate(labels, stream.manual_seed(5))
    scores = discriminator(images, labels)
    other = generator.to(dtype).generate(labels, stream.manual_seed(5))
    assert other.dtype == (dtype if dtype == torch.float64 else torch.float32)
    found = discriminator.to(dtype)(images.to(dtype), labels)
    close = 1e-5 if dtype == torch.float64 else 0.05
    torch.testing.assert_close(other, images.to(other.dtype), atol=close, rtol=close)
    torch.testing.assert_close(found, scores.to(found.dtype), atol=5 * close, rtol=close)


# Latents.


def test_latents_have_their_laws():
    """A mean of 4,000 draws lies within five standard errors of what theory says: less than 1e-5 of failing."""
    labels = torch.arange(10).repeat(400)
    stream = torch.Generator().manual_seed(0)
    gaussian = Gaussian(128).sample(labels, stream)
    assert gaussian.norm(dim=1).square().mean() == pytest.approx(128, abs=5 * (2 * 128 / 4000) ** 0.5)
    sphere = UniformSphere(128, 10).sample(labels, stream)
    torch.testing.assert_close(sphere.norm(dim=1), torch.full((4000,), 10.0))
    assert sphere.mean(0).norm() < 5 * 10 / 4000**0.5
    prior = vmf_prior(128)
    z = VonMisesFisherLatent(prior, 10).sample(labels, stream)
    torch.testing.assert_close(z.norm(dim=1), torch.full((4000,), 10.0))
    cosine = (z * prior.loc[labels]).sum(1) / 10
    expected = ive(64, 5) / ive(63, 5)
    assert expected == pytest.approx(0.039, abs=5e-4)  # nearly uniform in 128 dimensions
    assert cosine.mean() == pytest.approx(expected, abs=5 / (128 * 4000) ** 0.5)


def test_the_concentration_can_be_another_at_sampling():
    latent = VonMisesFisherLatent(vmf_prior(), 10)
    labels = torch.arange(10)
    z = latent.sample(labels, torch.Generator().manual_seed(0), 1e6)
    torch.testing.assert_close(z, latent.prior.loc * 10, atol=0.1, rtol=0)
    with pytest.raises(InputError, match="vmf"):
        Gaussian(6).sample(labels, concentration=3.0)


@pytest.mark.parametrize("kind", LATENTS)
def test_a_generator_is_rebuilt_from_its_description_and_weights(kind):
    latent = {"gaussian": Gaussian(6), "uniform-sphere": UniformSphere(6, 7.0)}.get(kind)
    generator, _ = small(latent=latent or VonMisesFisherLatent(vmf_prior(), 7.0))
    generator.eval()
    weights = generator.state_dict()
    again = rebuild(generator.description(), weights)
    again.load_state_dict(weights)
    labels = torch.tensor([4, 2])
    images = [network.eval().generate(labels, torch.Generator().manual_seed(5)) for network in (generator, again)]
    assert torch.equal(*images) and images[0].min() >= 0 and images[0].max() <= 1


def test_a_damaged_description_is_refused():
    generator, _ = small()
    description = generator.description()
    del description["architecture"]["up"]
    with pytest.raises(InputError, match="damaged"):
        rebuild(description, generator.state_dict())
    with pytest.raises(InputError, match="gaussian"):
        rebuild(generator.description() | {"latent": "gausian"}, {})


def test_images_in_evaluation_depend_on_their_own_latent_alone():
    generator, _ = small()
    labels = torch.tensor([0, 1, 2, 3])
    z = torch.randn(4, 6)
    generator.train()
    generator(z, labels)
    generator.eval()
    torch.testing.assert_close(generator(z, labels)[2:3], generator(z[2:3], labels[2:3]), atol=1e-6, rtol=1e-5)


def test_a_latent_of_another_size_than_its_prior_is_damage():
    """An exported card would say it."""
    model = GENERATORS["sngan of a prior"]()
    description, weights = model.description(), model.state_dict()
    assert rebuild(description, weights).latent.dim == 5
    for dim in ("x", 6, None):
        with pytest.raises(InputError, match="'dim' is .*, and the prior's 5"):
            rebuild(description | {"dim": dim}, weights)
