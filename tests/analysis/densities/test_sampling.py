"""Pixel-by-pixel evaluation: what the whole network gives, and the draws of a pass for each pixel."""

import pytest
import torch
from pixel_models import every_image, small
from scipy.stats import chisquare

from analysis.densities.captured import CapturedSampler
from analysis.densities.incremental import Incremental
from analysis.densities.pixelcnn import PixelCNN
from analysis.densities.sampling import place, sample, uniforms
from priors.errors import InputError

MODELS = {
    "grey": ((1, 8, 12), (), {"layers": 1, "filters": 5}),
    "colour, vector": ((3, 8, 8), (7,), {"layers": 2, "filters": 6}),
    "grey, small maps": ((1, 8, 16), (4, 3, 5), {"layers": 3, "filters": 4}),
    "colour, large maps": ((3, 12, 4), (4, 20, 20), {"layers": 2, "filters": 4}),
    "one step": ((1, 4, 4), (2,), {"layers": 1, "filters": 3}),
}


def given(name: str, batch: int = 5):
    shape, context, options = MODELS[name]
    torch.manual_seed(1)
    images = (torch.rand(batch, *shape, dtype=torch.float64) * 255).round() / 255
    contexts = torch.randn(batch, *context, dtype=torch.float64) if context else None
    return small(shape, context, **options), images, contexts


@torch.no_grad()
def evaluate(model: PixelCNN, images, context):
    """What `model(images, context)` gives in evaluation mode, computed pixel by pixel as samples are."""
    found = images.new_empty(len(images), *images.shape[2:], model.distribution.outputs)

    def known(row, column, outputs):
        found[:, row, column] = outputs
        return images[:, :, row, column]

    Incremental(model, context, len(images)).run(known)
    return found.permute(0, 3, 1, 2)


@torch.no_grad()
def sample_by_full_passes(model: PixelCNN, context, generator, *, n: int):
    """The same draws as `sample`, by a pass of the whole network for each pixel: slow, and obviously right."""
    numbers, training = uniforms(model, n, generator), model.training
    images = torch.zeros(n, *model.image_shape, dtype=model.final.direction.dtype)
    model.eval()
    for row in range(images.shape[2]):
        for column in range(images.shape[3]):
            outputs = model(images, context)[:, :, row, column]
            images[:, :, row, column] = model.distribution.place(outputs, numbers[row, column])
    model.train(training)
    return images


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("batch", [1, 5])
def test_it_is_the_whole_network(name, batch):
    model, images, context = given(name, batch)
    with torch.no_grad():
        whole = model(images, context)
    assert float((evaluate(model, images, context) - whole).abs().max()) < 1e-12 * float(whole.abs().max())


@pytest.mark.parametrize("name", MODELS)
def test_draws_are_those_of_a_pass_for_each_pixel(name):
    """Batch by batch the same uniform numbers: so the same images, but where one falls within rounding of an end."""
    model, _, context = given(name, 3)
    found, expected = (
        draw(model, context, torch.Generator().manual_seed(2), n=3) for draw in (sample, sample_by_full_passes)
    )
    assert found.dtype == torch.float64 and torch.equal(found, expected)
    assert torch.equal(found, model.sample(context, torch.Generator().manual_seed(2), n=3))
    assert torch.equal((found * 255).round() / 255, found) and float(found.std()) > 0.05


def test_training_mode_is_kept_and_dropout_left_out():
    model, _, context = given("colour, vector", 2)
    model.train()
    draws = [
        draw(model, context, torch.Generator().manual_seed(2), n=2) for draw in (sample, sample, sample_by_full_passes)
    ]
    assert model.training and all(torch.equal(one, draws[0]) for one in draws)


@pytest.mark.parametrize("name", MODELS)
def test_caches_can_be_used_again(name):
    """For other images, whose context is another one: bit for bit as if they were new."""
    model, _, context = given(name, 3)
    numbers = [uniforms(model, 3, torch.Generator().manual_seed(seed)) for seed in (2, 3)]
    contexts = [context, None if context is None else 1 - 2 * context]
    state, seen = None, []
    with torch.no_grad():
        for own, other in zip(numbers, contexts, strict=True):
            if state is None:
                state = Incremental(model, other, 3)
            else:
                state.reset(other)
            found = state.run(lambda row, column, outputs, own=own: model.distribution.place(outputs, own[row, column]))
            assert torch.equal(found, place(model, other, own))
            seen.append(found.clone())
    assert not torch.equal(*seen)


@pytest.mark.parametrize("name", MODELS)
def test_caches_are_made_where_gradients_are_followed_too(name):
    """As where their size is asked for: there is nothing of them to follow."""
    model, _, context = given(name, 2)
    assert torch.is_grad_enabled()
    Incremental(model, context, 2).reset(context)


def test_single_precision_is_near(name="grey, small maps"):
    model, images, context = given(name)
    exact = evaluate(model, images, context)
    near = evaluate(model.float(), images.float(), context.float())
    assert float((near - exact).abs().max()) < 3e-6 * float(exact.abs().max())


def test_draws_under_autocast_are_the_same(name="grey, small maps"):
    model, _, context = given(name)
    model, context = model.float(), context.float()
    numbers = uniforms(model, len(context), torch.Generator().manual_seed(0))
    expected = place(model, context, numbers)
    with torch.autocast("cpu", torch.bfloat16):
        found = [place(model, each, numbers) for each in (context, context.bfloat16())]
        captured = CapturedSampler(model, len(context), record=lambda function: function)(context, numbers)
    assert torch.equal(found[0], expected) and torch.equal(captured, expected)
    assert torch.equal(found[1], place(model, context.bfloat16().float(), numbers))


def test_frequencies_are_the_probabilities():
    """5,000 draws of 4 x 4 black and white pixels, in 50 groups of about equal probability; fails once in 1e4 seeds."""
    model, context, logs = every_image()
    draws = sample(model, context.expand(5000, -1), torch.Generator().manual_seed(0))
    index = (draws.flatten(1).round().long() << torch.arange(16)).sum(1)
    shuffled = torch.randperm(2**16, generator=torch.Generator().manual_seed(1))
    ends = logs.exp()[shuffled].cumsum(0)
    group = torch.empty(2**16, dtype=torch.int64)
    group[shuffled] = (ends * 50).long().clamp(max=49)
    expected = torch.zeros(50, dtype=torch.float64).index_add_(0, group, logs.exp())
    seen = torch.bincount(group[index], minlength=50)
    assert expected.min() > 0.01
    assert chisquare(seen.numpy(), (expected / expected.sum() * len(draws)).numpy()).pvalue > 1e-4


def test_a_number_of_images_that_does_not_fit_is_refused():
    model, _, context = given("colour, vector", 2)
    with pytest.raises(InputError, match="n is 3, and there are 2 contexts"):
        sample(model, context, n=3)
    with pytest.raises(InputError, match="give n, the number of images"):
        sample(small((1, 4, 4)))
    with pytest.raises(InputError, match="0 images: 1 or more"):
        sample(small((1, 4, 4)), n=0)
    with pytest.raises(InputError, match=r"a context of shape \(2, 4\): \(2, 7\) was expected"):
        sample(model, context[:, :4])


@pytest.mark.slow
def test_a_model_of_the_papers_size():
    torch.manual_seed(0)
    model = PixelCNN((1, 28, 28), (32, 12, 12)).eval()
    images, context = (torch.rand(4, 1, 28, 28) * 255).round() / 255, torch.rand(4, 32, 12, 12)
    model.initialise(images, context)
    with torch.no_grad():
        whole = model(images, context)
    assert float((evaluate(model, images, context) - whole).abs().max()) < 3e-5 * float(whole.abs().max())
