"""Learning rates against torch's own schedulers."""

import math
import warnings

import pytest
import torch
from torch.optim import lr_scheduler

from apps.command.config import Optimisation
from apps.command.options import check_values
from apps.training.schedule import learning_rate
from priors.errors import InputError


def torchs(config, steps, warmup):
    """The learning rate of each update, by torch."""
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=config.lr)
    left = steps - 1 - warmup
    after = {
        "constant": lambda: lr_scheduler.ConstantLR(optimizer, 1.0),
        "cosine": lambda: lr_scheduler.CosineAnnealingLR(optimizer, left, eta_min=config.lr * config.final_lr),
        "linear": lambda: lr_scheduler.LinearLR(optimizer, 1.0, config.final_lr, total_iters=left),
        "exponential": lambda: lr_scheduler.ExponentialLR(optimizer, config.decay),
        "step": lambda: lr_scheduler.MultiStepLR(
            optimizer, [math.ceil(share * steps) - warmup for share in config.milestones], gamma=config.decay
        ),
    }[config.schedule]()
    schedulers = [after]
    if warmup:
        rising = lr_scheduler.LinearLR(optimizer, 1 / (warmup + 1), 1.0, total_iters=warmup)
        schedulers = [lr_scheduler.SequentialLR(optimizer, [rising, after], [warmup])]
    rates = []
    for _ in range(steps):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        with warnings.catch_warnings():  # SequentialLR calls its parts in a way that torch warns of
            warnings.simplefilter("ignore")
            schedulers[0].step()
    return rates


@pytest.mark.parametrize("warmup", [0, 1, 7])
@pytest.mark.parametrize("final", [0.0, 0.05])
@pytest.mark.parametrize("schedule", ["constant", "cosine", "linear", "step", "exponential"])
def test_it_is_what_torch_gives(schedule, final, warmup):
    decay = 0.97 if schedule == "exponential" else 0.2
    config = Optimisation(lr=0.3, schedule=schedule, final_lr=final, decay=decay)
    ours = [learning_rate(config, step, 43, warmup) for step in range(43)]
    assert ours == pytest.approx(torchs(config, 43, warmup), rel=1e-9, abs=1e-12)


def test_milestones_are_parts_of_all_steps():
    config = Optimisation(lr=0.05, schedule="step", milestones=(0.625, 0.75, 0.875), decay=0.1)
    assert [learning_rate(config, step, 43, 0) for step in range(43)] == pytest.approx(torchs(config, 43, 0), rel=1e-9)
    # epochs 150, 180 and 210 of 240, at 782 steps each
    rates = [learning_rate(config, epoch * 782, 240 * 782, 0) for epoch in (149, 150, 180, 210)]
    assert rates == pytest.approx([0.05, 0.005, 0.0005, 0.00005])


@pytest.mark.parametrize(
    "options",
    [
        {"milestones": (0.6, 0.3)},
        {"milestones": (0.0,)},
        {"milestones": (1.0,)},
        {"decay": 0.0},
        {"schedule": "exponential"},
    ],
)
def test_impossible_steps_are_refused(options):
    with pytest.raises(InputError, match=r"--(milestones|decay) .*expected"):
        check_values(Optimisation(**options))


@pytest.mark.parametrize(
    "options", [{"schedule": "step"}, {"optimizer": "adamw", "schedule": "step"}, {"optimizer": "sgd"}]
)
def test_momentum_that_cannot_be_reset_is_refused(options):
    with pytest.raises(InputError, match="--reset-momentum with --(optimizer adamw?|schedule constant): it .* leave"):
        Optimisation(reset_momentum=True, **options)


@pytest.mark.parametrize("schedule", ["constant", "cosine", "linear", "step"])
def test_it_is_positive_and_finite_however_short_the_run(schedule):
    """One step, two steps, a warm-up as long as the run or longer."""
    config = Optimisation(lr=0.3, schedule=schedule)
    for steps in (1, 2, 3):
        for warmup in (0, 1, 3, 10):
            rates = [learning_rate(config, step, steps, warmup) for step in range(steps)]
            assert all(0 <= rate <= 0.3 for rate in rates) and rates[0] > 0
