import math

import pytest
import torch

from apps.data import sources
from apps.data.batches import Batches
from apps.data.binarise import binarise
from apps.data.sweep import sweep
from apps.generators.hvae import HVAE, HVAEL
from apps.generators.hvae_training import HVAETraining
from apps.seeds import derive
from priors import ClassifierPrior


@pytest.fixture(scope="module")
def digits():
    return sources.load("digits", "train")


def hvae_l(digits):
    torch.manual_seed(0)
    prior = ClassifierPrior.from_weight(torch.randn(10, 4), 20, class_names=digits.class_names)
    return HVAEL(digits.image_shape, 4, digits.class_names, (32, 16), prior=prior)


def test_the_losses_are_the_bound_of_equation_12(digits):
    model = hvae_l(digits)
    task = HVAETraining(model, 7, None, warmup_steps=10)
    batch = Batches(digits, 32, 0).at(0)
    losses = task.losses("train", batch, 3)
    stream = torch.Generator().manual_seed(derive(7, "binarise", 3, 0))
    binary = binarise(batch.images, stream)
    assert set(binary.unique().tolist()) == {0.0, 1.0}
    bound = model(binary, batch.labels, torch.Generator().manual_seed(derive(7, "latent", 3, 0)))
    assert torch.equal(losses["distortion"], -bound.reconstruction.mean())
    assert torch.allclose(
        losses["weighted divergence"], 0.4 * bound.divergence.mean()
    )  # the fourth of ten warm-up steps
    assert losses["label"].item() == pytest.approx(math.log(10))


def test_the_warmup_ends_at_full_weight_and_the_label_term_can_be_left_out(digits):
    model, batch = hvae_l(digits), Batches(digits, 32, 0).at(0)
    warm = HVAETraining(model, 7, None, warmup_steps=4).losses("train", batch, 9)
    plain = HVAETraining(model, 7, None, warmup_steps=0, label_term=False).losses("train", batch, 9)
    assert torch.equal(warm["weighted divergence"], plain["weighted divergence"])
    assert "label" not in plain
    unconditional = HVAETraining(HVAE(digits.image_shape, 4, digits.class_names), 7, None).losses("train", batch, 9)
    assert set(unconditional) == {"distortion", "weighted divergence"}


def test_no_two_parts_and_no_two_steps_share_their_noise(digits):
    task, batch = HVAETraining(hvae_l(digits), 7, None), Batches(digits, 32, 0).at(0)
    seen = set()
    for step in range(3):
        for part in range(3):
            task.slice = part
            seen.add(task.losses("train", batch, step)["distortion"].item())
    assert len(seen) == 9


def test_validation_repeats_and_adds_up(digits):
    model = hvae_l(digits).eval()
    task = HVAETraining(model, 7, digits.subset(range(700)), warmup_steps=5)
    first, second = (task.validate(model, sweep, step) for step in (1, 50))
    assert first == second
    assert first["log p(i)"] == -math.log(10)
    parts = first["reconstruction"] - first["divergence"] + first["log p(i)"]
    assert first["elbo"] == pytest.approx(parts, abs=1e-4)
    assert task.criterion.metric == "elbo" and task.criterion.larger and task.criterion.from_step == 5
    assert HVAETraining(model, 7, None).validate(model, sweep, 1) == {}
