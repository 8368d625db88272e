"""Captured sampling: the images of plain sampling, from operations on fixed memory that are done again and again."""

import copy
import math

import pytest
import torch
from pixel_models import small
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from analysis.densities.captured import CapturedSampler
from analysis.densities.sampling import place, uniforms
from priors.errors import InputError

MODELS = {
    "grey": ((1, 12, 4), (), {"layers": 1, "filters": 3}),
    "colour, vector": ((3, 8, 4), (7,), {"layers": 2, "filters": 4}),
    "grey, small maps": ((1, 8, 8), (4, 3, 5), {"layers": 1, "filters": 4}),
    "colour, large maps": ((3, 8, 4), (5, 20, 20), {"layers": 1, "filters": 3}),
    "one step": ((1, 4, 4), (2,), {"layers": 1, "filters": 3}),
}


def given(name: str, batch: int, seed: int):
    shape, context, options = MODELS[name]
    model, generator = small(shape, context, **options), torch.Generator().manual_seed(seed)
    contexts = torch.randn(batch, *context, dtype=torch.float64, generator=generator) if context else None
    return model, contexts, uniforms(model, batch, generator)


class Tape(TorchDispatchMode):
    """To a CPU what a CUDA graph is to a GPU: operations on fixed memory, and none of the code that led to them."""

    def __init__(self, function):
        super().__init__()
        self.operations = []
        with self:
            function()

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        found = operation(*args, **(kwargs or {}))
        self.operations.append((operation, args, kwargs or {}, found))
        return found

    def replay(self):
        own = []
        for operation, args, kwargs, found in self.operations:
            for kept, again in zip(tree_leaves(found), tree_leaves(operation(*args, **kwargs)), strict=True):
                if kept.data_ptr() != again.data_ptr():
                    own.append(kept.copy_(again))
        for temporary in own:  # graphs overwrite each other's memory
            temporary.fill_(math.nan if temporary.is_floating_point() else 0)


def tape(function):
    return Tape(function).replay


@pytest.mark.parametrize("name", MODELS)
def test_images_are_those_of_plain_sampling(name):
    """Also the second time, with other numbers and another context."""
    model = given(name, 3, 0)[0]
    sampler, seen = CapturedSampler(model, 3, record=tape), []
    for seed in (1, 2):
        _, context, numbers = given(name, 3, seed)
        seen.append(sampler(context, numbers))
        assert torch.equal(seen[-1], place(model, context, numbers))
    assert not torch.equal(*seen)


def test_a_row_of_each_kind_is_captured_and_every_row_replayed():
    model, context, numbers = given("grey", 2, 1)
    captured, replayed = [], []

    def record(function):
        number = len(captured)
        captured.append(function)
        return lambda: (replayed.append(number), function())

    found = CapturedSampler(model, 2, record=record)(context, numbers)
    assert len(captured) == 5 and replayed == [0, 1, 2, 3, 4, 1, 2, 3, 4, 1, 2, 3]
    assert torch.equal(found, place(model, context, numbers))


def test_the_model_may_change_afterwards():
    model, context, numbers = given("one step", 2, 1)
    expected = place(model, context, numbers)
    sampler = CapturedSampler(model, 2, record=tape)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.neg_()
    assert not torch.equal(place(model, context, numbers), expected)
    model.float()
    assert torch.equal(sampler(context, numbers), expected)


def test_it_may_be_made_in_inference_mode_and_used_outside():
    model, context, numbers = given("one step", 2, 1)
    with torch.inference_mode():
        sampler = CapturedSampler(copy.deepcopy(model), 2, record=tape)
    found = sampler(context, numbers)
    assert torch.equal(found, place(model, context, numbers)) and not found.is_inference()


def test_another_batch_or_context_is_refused():
    model, context, numbers = given("colour, vector", 2, 1)
    sampler = CapturedSampler(model, 2, record=lambda function: function)
    with pytest.raises(InputError, match=r"numbers of shape \(8, 4, 1, 4\): \(8, 4, 2, 4\) was expected"):
        sampler(context[:1], numbers[:, :, :1])
    for wrong in (context[:1], context[:, :3], None):
        with pytest.raises(InputError, match=r"a context of shape .*: \(2, 7\) was expected"):
            sampler(wrong, numbers)


@pytest.mark.gpu
@pytest.mark.parametrize("name", MODELS)
def test_graphs_of_a_gpu_draw_the_same_without_synchronising(name, no_waits):
    """In float64: so the same images, but where a number falls within rounding of an end."""
    model = given(name, 5, 0)[0].cuda()
    sampler = CapturedSampler(model, 5)
    for seed in (1, 2, 1):
        _, context, numbers = given(name, 5, seed)
        context, numbers = None if context is None else context.cuda(), numbers.cuda()
        with no_waits():
            found = sampler(context, numbers)
        assert torch.equal(found, place(model, context, numbers))


@pytest.mark.gpu
def test_two_samplers_of_one_gpu_keep_apart():
    samplers, expected = [], []
    for name in ("colour, vector", "grey, small maps"):
        model, context, numbers = given(name, 4, 3)
        model, own = model.cuda(), (context.cuda(), numbers.cuda())
        samplers.append((CapturedSampler(model, 4), own))
        expected.append(place(model, *own))
    for _ in range(2):
        for (sampler, own), images in zip(samplers, expected, strict=True):
            assert torch.equal(sampler(*own), images)
