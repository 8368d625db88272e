"""The encoders and decoders that autoencoders on a sphere can have; what holds of their bound is in test_hvae."""

import json
import math

import pytest
import torch
import torch.nn.functional as F

from apps.command.cli import main
from apps.data import sources
from apps.data.batches import Batches
from apps.data.sweep import sweep
from apps.generators import bernoulli
from apps.generators.class_latents import ClassLatents
from apps.generators.hvae import HVAE, HVAEC, HVAEL, VARIANTS, rebuild
from apps.generators.hvae_training import HVAETraining
from apps.models.registry import kind_of
from apps.runs.run import Run
from priors import ClassifierPrior, VonMisesFisher
from priors.errors import InputError

CLASSES = ("zero", "one", "two")


def model_of(kind, shape, dim=3, **options):
    torch.manual_seed(0)
    if issubclass(kind, ClassLatents):
        options["prior"] = ClassifierPrior.from_weight(torch.randn(3, dim), [2.0, 5.0, 9.0], class_names=CLASSES)
    return kind(shape, dim, CLASSES, networks="conv", **options).eval()


def batch(shape, images=4):
    seeded = torch.Generator().manual_seed(1)
    return (torch.rand(images, *shape, generator=seeded) > 0.5).float(), torch.arange(images) % 3


def draws(images, count, dim=3):
    return F.normalize(torch.randn(images, count, dim, generator=torch.Generator().manual_seed(2)), dim=-1)


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 32), (1, 8, 8), (3, 9, 6), (1, 1, 1)], ids=str)
@pytest.mark.parametrize("kind", VARIANTS.values(), ids=VARIANTS)
def test_convolutions_take_images_of_any_size(kind, shape):
    model = model_of(kind, shape, channels=4, encoder_label=kind is not HVAE)
    images, labels = batch(shape)
    bound = model(images, labels, torch.Generator().manual_seed(0))
    assert bound.reconstruction.shape == bound.divergence.shape == (4,)
    (bound.divergence - bound.reconstruction).mean().backward()
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in model.parameters())
    assert model.generate([0, 2]).shape == (2, *shape)
    many = model.decode(draws(2, 3), torch.tensor([[0, 1, 2], [2, 1, 0]]))
    one = model.decode(draws(2, 3)[1, 2], torch.tensor(0))
    torch.testing.assert_close(many[1, 2], one, rtol=1e-5, atol=1e-5)  # any dimensions in front, or none


def test_what_an_image_gets_does_not_hang_on_others():
    model = model_of(HVAE, (1, 9, 6)).train()
    images, labels = batch((1, 9, 6))
    whole, alone = model.encode(images, labels), model.encode(images[2:3], labels[2:3])
    torch.testing.assert_close(whole.loc[2], alone.loc[0])


@pytest.mark.parametrize("kind", [HVAEC, HVAEL])
def test_the_gradient_of_the_bound_is_its_finite_difference(kind):
    """Of the bound as an integral over the circle, since the gradient at a draw is one in expectation only."""
    model = model_of(kind, (2, 5, 6), dim=2, channels=3, blocks=2, encoder_label=True).double()
    images, labels = (part[:2] for part in batch((2, 5, 6)))
    angle = torch.arange(100, dtype=torch.float64) * (2 * math.pi / 100)
    z = torch.stack([angle.cos(), angle.sin()], -1).expand(2, -1, -1)

    def bound():
        posterior = model.encode(images.double(), labels)
        q = VonMisesFisher(posterior.loc[:, None], posterior.concentration[:, None]).log_prob(z).exp()
        found = model._log_bernoulli(images.double().flatten(1), z, labels)
        return ((q * found).sum(-1) * (2 * math.pi / 100) - model.divergence(posterior, labels)).sum()

    bound().backward()
    parameters = list(model.parameters())
    for number in range(3):
        seeded = torch.Generator().manual_seed(number)
        direction = [torch.randn(p.shape, dtype=p.dtype, generator=seeded) for p in parameters]
        slope = sum(float((p.grad * d).sum()) for p, d in zip(parameters, direction, strict=True))
        values = []
        with torch.no_grad():
            for step in (1e-7, -2e-7, 1e-7):
                for parameter, along in zip(parameters, direction, strict=True):
                    parameter += step * along
                values.append(float(bound()))
        assert (values[0] - values[1]) / 2e-7 == pytest.approx(slope, rel=1e-4)


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 9, 6)], ids=str)
@pytest.mark.parametrize(("images", "count"), [(5, 30), (2, 600)])
def test_the_quick_likelihood_is_that_of_the_logits(shape, images, count):
    """Of each draw, where images go together and where an image's draws are cut."""
    model = model_of(HVAEC, shape, channels=6)
    x, z = batch(shape, images)[0].flatten(1), draws(images, count)
    labels = torch.arange(images * count).view(images, count) % 3
    with torch.no_grad():
        found = model.networks.log_bernoulli(model.decoder, model.to_logits, x, z, labels, model._code)
        logits = model.decode(z, labels).double()
    exact = F.logsigmoid(logits * (2 * x[:, None] - 1)).sum(-1)
    torch.testing.assert_close(found.double(), exact, rtol=0, atol=2e-7 * x.shape[1] * (1 + logits.abs().max().item()))


def test_memory_is_bounded_by_what_the_cache_holds(monkeypatch):
    model = model_of(HVAE, (1, 8, 8), channels=4)
    monkeypatch.setattr(bernoulli, "draws_at_once", lambda pixels: 64)
    seen = []
    model.decoder.register_forward_hook(lambda module, given, maps: seen.append(maps.shape[:2].numel()))
    with torch.no_grad():
        model._log_bernoulli(batch((1, 8, 8))[0].flatten(1), draws(4, 70), torch.zeros(4, dtype=torch.long))
    assert max(seen) == 32 and sum(seen) == 4 * 70


def test_draws_that_cannot_have_made_an_image_are_not_minus_infinity():
    model = model_of(HVAE, (1, 9, 9), channels=4)
    model.to_logits.last.weight.data.mul_(1000)
    x, z = batch((1, 9, 9))[0].flatten(1), draws(4, 100)
    with torch.no_grad():
        found = model._log_bernoulli(x, z, torch.zeros(4, dtype=torch.long))
        exact = F.logsigmoid(model.decode(z).double() * (2 * x[:, None] - 1)).sum(-1)
    assert exact.min() < -1000
    torch.testing.assert_close(found.double(), exact, rtol=1e-5, atol=1e-2)


def test_parameters_of_the_convolutional_networks():
    model = HVAE((3, 30, 28), 11, CLASSES, networks="conv", channels=20, blocks=2)
    block, size = 20 * 20 * 9 + 20, 20 * 8 * 7
    encoder = 3 * 49 * 20 + 20 + 2 * block + size * 128 + 128 + 128 * 12 + 12
    decoder = 11 * 128 + 128 + 128 * size + size + 2 * block + 20 * 9 * (3 * 16) + 3 * 16
    assert sum(parameter.numel() for parameter in model.parameters()) == encoder + decoder


@pytest.mark.parametrize("kind", VARIANTS.values(), ids=VARIANTS)
def test_a_convolutional_model_is_rebuilt(kind):
    model = model_of(kind, (1, 9, 6), channels=5, blocks=0)
    again = rebuild(json.loads(json.dumps(model.description())), model.state_dict())
    again.load_state_dict(model.state_dict())
    images, labels = batch((1, 9, 6))
    ours, theirs = (each(images, labels, torch.Generator().manual_seed(3)) for each in (model, again))
    assert torch.equal(ours.reconstruction, theirs.reconstruction)
    assert again.description() == model.description()


def test_a_description_of_before_there_were_several_kinds_is_one_of_fully_connected_networks():
    old = {
        "model": "hvae",
        "variant": "hvae",
        "image_shape": [1, 2, 2],
        "dim": 3,
        "class_names": list(CLASSES),
        "hidden": [5, 4],
        "encoder_label": False,
    }
    model = rebuild(old, {})
    assert [tuple(layer.weight.shape) for layer in (model.encoder[0], model.encoder[2])] == [(5, 4), (4, 5)]
    assert old.items() <= model.description().items() and model.description()["networks"] == "mlp"
    torch.manual_seed(0)
    model = HVAE((1, 2, 2), 3, CLASSES, (5, 4))
    torch.manual_seed(0)  # the order of layers, and so the weights that a seed starts with, are as they were
    layers = [torch.nn.Linear(*sizes) for sizes in ((4, 5), (5, 4), (4, 4), (3, 4), (4, 5), (5, 4))]
    for mine, theirs in zip(model.parameters(), (p for layer in layers for p in layer.parameters()), strict=True):
        assert torch.equal(mine, theirs)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"networks": "cnv"}, "unknown networks 'cnv': did you mean 'conv'"),
        ({"networks": "conv", "channels": 0}, "0 channels"),
        ({"hidden": ()}, "0 hidden layers"),
    ],
)
def test_networks_that_cannot_be_built_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        HVAE((1, 2, 2), 3, CLASSES, **options)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--networks conv --hidden 64 32", "--hidden 64 32 is for --networks mlp: leave it out with conv"),
        ("--channels 32", "--channels 32 is for --networks conv: leave it out with mlp"),
        ("--networks mlp --blocks 0", "--blocks 0 is for --networks conv: leave it out with mlp"),
    ],
)
def test_sizes_of_other_networks_are_refused(words, message, capsys):
    assert main(["train", "hvae", "--variant", "hvae", *words.split()]) == 2
    assert message in capsys.readouterr().err


def test_a_convolutional_model_learns_digits():
    """In sixty steps its bound rises by 10 of 45 nats or more."""
    digits = sources.load("digits", "train")
    torch.manual_seed(0)
    model = HVAE(digits.image_shape, 6, digits.class_names, networks="conv", channels=16)
    task, batches = HVAETraining(model, 0, digits.subset(range(300)), 50), Batches(digits, 64, 0)
    before = task.validate(model, sweep, 0)["elbo"]
    optimizer = torch.optim.Adam(model.parameters(), 3e-3, fused=True)
    for step in range(60):
        sum(task.losses("train", batches.at(step), step).values()).backward()
        optimizer.step()
        optimizer.zero_grad()
    after = task.validate(model, sweep, 60)["elbo"]
    assert before < -44 and after > -34


def test_a_convolutional_run_is_trained_read_and_scored(tmp_path, capsys):
    words = "train hvae --variant hvae-c --networks conv --channels 4 --latent-dim 2 --epochs 0.1 --validation 50"
    assert main([*words.split(), "--runs", str(tmp_path)]) == 0
    (folder,) = tmp_path.iterdir()
    assert folder.name == "digits-hvae-c-conv-d2-seed0"
    run = Run(folder)
    assert kind_of(run).read(run).networks.channels == 4
    assert main(["evaluate", str(folder), "--samples", "20", "--images", "20"]) == 0
    assert "log p(x)" in capsys.readouterr().out
