"""The training loop against plain loops written out; its promises about turns, phases, averages, patience, reading."""

import copy
import math
import os
import signal
from contextlib import nullcontext

import pytest
import torch
import torch.nn.functional as F
import toys
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from apps.command.config import Optimisation, Where
from apps.command.errors import Diverged
from apps.data.batches import Batches
from apps.runs.run import Run
from apps.training.averaging import Average
from apps.training.interruption import StopRequest
from apps.training.loop import Fit, fit
from apps.training.session import start
from apps.training.task import Criterion, Phase
from priors.errors import InputError


def train(task, folder, where=None, images=None, **options):
    """Train a task in this process; what `fit` gives."""
    options = {name: float(value) if name in ("epochs", "validate_every") else value for name, value in options.items()}
    config = Optimisation(**{"epochs": 3.0, "batch_size": 12, "lr": 1e-2, **options})
    where = Where(**{"runs": folder, "device": "cpu", "threads": 1, **(where or {})})
    accelerator = start(where, precision=config.precision, work="small")
    run = Run(folder / "run")
    run.open("train toy", {"toy": True}, {})
    try:
        return fit(task, images or toys.images(), run, config, where, accelerator)
    finally:
        run.close()


def weights(task):
    return torch.cat([p.detach().flatten() for p in task.networks["model"].parameters()])


def batches(count, batch_size=12, seed=0):
    stream = Batches(toys.images(), batch_size, seed)
    return [stream.at(number) for number in range(count)]


# What it computes.


def test_it_is_the_loop_one_would_write(tmp_path):
    """Warm-up, cosine decay, clipping, weight decay and momentum with torch's own parts; the average by its formula."""
    task = toys.Plain()
    model = copy.deepcopy(task.networks["model"])
    average = copy.deepcopy(model)
    options = dict(optimizer="sgd", lr=0.5, weight_decay=1e-3, schedule="cosine", final_lr=0.1, warmup=0.5, clip=0.05)
    train(task, tmp_path, ema=0.5, **options)

    optimizer = torch.optim.SGD(model.parameters(), lr=0.5, momentum=0.9, nesterov=True, weight_decay=1e-3)
    clipped = 0
    for step, batch in enumerate(batches(12)):
        rate = 0.5 * (step + 1) / 3 if step < 2 else 0.5 * (0.1 + 0.9 * (1 + math.cos(math.pi * (step - 2) / 9)) / 2)
        optimizer.param_groups[0]["lr"] = rate
        optimizer.zero_grad()
        F.cross_entropy(model(batch.images), batch.labels).backward()
        clipped += nn.utils.clip_grad_norm_(model.parameters(), 0.05) > 0.05
        optimizer.step()
        decay = min(0.5, (2 + step) / (11 + step))  # at update step + 1
        with torch.no_grad():
            for own, new in zip(average.parameters(), model.parameters(), strict=True):
                own.copy_(decay * own + (1 - decay) * new)
    assert clipped > 3
    expected = torch.cat([p.detach().flatten() for p in average.parameters()])
    torch.testing.assert_close(weights(task), expected, rtol=1e-6, atol=1e-6)


class Double(toys.Plain):
    """In double precision."""

    def build(self):
        return {"model": super().build()["model"].double()}

    def losses(self, turn, batch, step):
        return {"cross-entropy": F.cross_entropy(self.networks["model"](batch.images.double()), batch.labels)}


@pytest.mark.parametrize("reset", [False, True], ids=["kept", "reset"])
@pytest.mark.parametrize("optimizer", ["sgd", "momentum"])
def test_momentum_by_hand(optimizer, reset, tmp_path):
    """Of 12 updates, 6 and 9 are the first after a milestone: there the momentum is the gradient again."""
    task = Double()
    model = copy.deepcopy(task.networks["model"])
    options = dict(lr=0.2, weight_decay=1e-2, schedule="step", milestones=(0.45, 0.75), decay=0.5)
    train(task, tmp_path, optimizer=optimizer, reset_momentum=reset, **options)

    moving = [torch.zeros_like(parameter) for parameter in model.parameters()]
    for step, batch in enumerate(batches(12)):
        loss = F.cross_entropy(model(batch.images.double()), batch.labels)
        gradients = torch.autograd.grad(loss, list(model.parameters()))
        rate = 0.2 * 0.5 ** ((step >= 6) + (step >= 9))
        with torch.no_grad():
            for parameter, gradient, before in zip(model.parameters(), gradients, moving, strict=True):
                slope = gradient + 1e-2 * parameter
                before.mul_(0.0 if reset and step in (6, 9) else 0.9).add_(slope)
                parameter -= rate * (slope + 0.9 * before if optimizer == "sgd" else before)
    expected = torch.cat([parameter.detach().flatten() for parameter in model.parameters()])
    torch.testing.assert_close(weights(task), expected, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("accumulate", [2, 3, 12])
def test_parts_of_a_batch_add_up_to_it(accumulate, tmp_path):
    whole, parts = toys.Plain(), toys.Plain()
    train(whole, tmp_path / "whole", clip=0.5)
    train(parts, tmp_path / "parts", clip=0.5, accumulate=accumulate)
    torch.testing.assert_close(weights(parts), weights(whole), rtol=1e-6, atol=1e-6)
    assert not torch.equal(weights(whole), weights(toys.Plain()))


def test_no_two_parts_share_a_stream(tmp_path):
    task = toys.Noisy()
    train(task, tmp_path, accumulate=3)
    assert [entry[:2] for entry in task.drawn] == [(step, part) for step in range(12) for part in range(3)]
    assert len({tuple(entry[2]) for entry in task.drawn}) == 36


def test_a_batch_that_does_not_divide_is_refused_before_anything_is_done(tmp_path):
    with pytest.raises(InputError, match="expected a positive multiple of 5"):
        train(toys.Plain(), tmp_path, accumulate=5)
    assert not (tmp_path / "run/state").exists()


def test_bfloat16_on_a_cpu(tmp_path):
    """Near full precision, but not it; and the network is itself again afterwards."""
    low, full = toys.Plain(), toys.Plain()
    seen = []
    low.networks["model"][1].register_forward_hook(lambda module, given, result: seen.append(result.dtype))
    train(low, tmp_path / "low", precision="bf16", ema=0.5)
    train(full, tmp_path / "full", ema=0.5)
    assert set(seen) == {torch.bfloat16}
    assert weights(low).dtype == torch.float32
    difference = (weights(low) - weights(full)).abs().max()
    assert 0 < difference < 0.02
    model = low.networks["model"]
    assert "forward" not in vars(model) and "_original_forward" not in vars(model)
    assert model(toys.images().images[:2].float()).dtype == torch.float32


def test_the_average_that_is_validated_has_the_running_statistics(tmp_path):
    class Checked(toys.Adversarial):
        def validate(self, model, sweep, step):
            own, new = model[1], self.networks["model"][1]
            self.tracked.append(int(own.num_batches_tracked))
            assert model is not self.networks["model"] and not torch.equal(own.weight, new.weight)
            assert torch.equal(own.running_mean, new.running_mean) and torch.equal(own.running_var, new.running_var)
            return super().validate(model, sweep, step)

    task = Checked()
    task.tracked = []
    train(task, tmp_path, ema=0.9, epochs=6, validate_every=4)
    assert task.tracked == [10 + 3 * 6, 10 + 3 * 14]


@pytest.mark.parametrize(
    ("number", "decays"), [(0, [0.25] * 5), (1, [0.25] * 5), (2, [2 / 11, 0.25, 0.25, 0.25, 0.25])]
)
def test_the_average_by_its_formula(number, decays):
    network = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    average = Average(network, 0.25, number)
    expected = [p.detach().clone() for p in network.parameters()]
    for step, decay in enumerate(decays):
        with torch.no_grad():
            for own in network.parameters():
                own.add_(torch.randn(own.shape, generator=torch.Generator().manual_seed(step)))
        network(torch.randn(4, 3, generator=torch.Generator().manual_seed(step)))
        average.update()
        network[1].running_mean = network[1].running_mean.clone()  # as where a network is moved
        pairs = zip(expected, network.parameters(), strict=True)
        expected = [decay * old + (1 - decay) * new.detach() for old, new in pairs]
    average.follow_buffers()
    for own, value in zip(average.network.parameters(), expected, strict=True):
        torch.testing.assert_close(own, value, rtol=1e-6, atol=1e-6)
        assert not own.requires_grad
    assert all(map(torch.equal, average.network.buffers(), network.buffers())) and not average.network.training


def test_the_average_forgets_the_untrained_network():
    """Weights that jump from 0 to 1 and stay: what the average lacks is the untrained network's part of it."""
    parts = {}
    for number in (1, 2):
        network = nn.Linear(1, 1, bias=False)
        nn.init.zeros_(network.weight)
        average = Average(network, 0.999, number)
        nn.init.ones_(network.weight)
        for _ in range(100):
            average.update()
        parts[number] = 1 - average.network.weight.item()
    assert parts[1] == pytest.approx(0.999**100, rel=1e-3)
    assert parts[2] == pytest.approx(math.prod((1 + t) / (10 + t) for t in range(1, 101)), abs=1e-6)


# Turns and phases.


class Watched(toys.Adversarial):
    """Notes which parameters have gradients, and every optimiser made."""

    def __init__(self):
        super().__init__()
        self.made, self.gradients = [], []
        self.networks["critic"][1].bias.requires_grad_(False)

    def optimizer(self, turn, phase, config):
        self.made.append((turn, phase.name, super().optimizer(turn, phase, config)))
        optimizer = self.made[-1][2]
        raw = dict(self.networks)

        def note(*_):
            has = {name: [p.grad is not None for p in network.parameters()] for name, network in raw.items()}
            self.gradients.append((turn, has, optimizer.param_groups[0]["lr"]))

        optimizer.register_step_pre_hook(note)
        return optimizer


def test_turns_train_their_own_network_on_batches_of_their_own(tmp_path):
    task = Watched()
    train(task, tmp_path)
    assert [entry[2] for entry in task.seen] == ["critic"] * 5 + ["critic", "critic", "model"] * 7
    assert [entry[3] for entry in task.seen] == [batch.index.tolist() for batch in batches(26)]
    for turn, has, _ in task.gradients:
        assert has["model"] == [turn == "model"] * 6
        # The second critic's parameter is one that the task froze itself: it stays so.
        assert has["critic"] == [turn == "critic", False, turn == "critic", turn == "critic"]
    assert all(p.requires_grad for p in task.networks["model"].parameters())
    assert [p.requires_grad for p in task.networks["critic"].parameters()] == [True, False, True, True]


def test_phases_have_optimisers_and_learning_rates_of_their_own(tmp_path):
    task = Watched()
    progress = train(task, tmp_path, schedule="linear", lr=0.1)
    assert [(turn, phase) for turn, phase, _ in task.made] == [
        ("critic", "alone"),
        ("critic", "together"),
        ("model", "together"),
    ]
    assert task.made[0][2] is not task.made[1][2]
    assert [entry[1] for entry in task.seen] == ["alone"] * 5 + ["together"] * 21
    rates = [rate for turn, _, rate in task.gradients if turn == "critic"]
    alone = [0.1 * (1 - step / 4) for step in range(5)]
    together = [0.1 * (1 - step / 6) for step in range(7) for _ in range(2)]
    assert rates == pytest.approx(alone + together)
    assert progress.phase == 1 and progress.step == 12 and progress.drawn == 26


def test_a_network_that_a_phase_left_out_is_trained_in_the_next(tmp_path):
    class Growing(toys.Adversarial):
        phases = (Phase("first", 0.5), Phase("second", 0.5))

        def turns(self, step):
            return ("train",)

        def trained(self, turn):
            return ("critic",) if self.phase.name == "first" else ("critic", "model")

        def losses(self, turn, batch, step):
            return super().losses("model", batch, step)

    task = Growing()
    before, changed = weights(task), []
    original = task.optimizer

    def optimizer(turn, phase, config):
        changed.append(not torch.equal(before, weights(task)))
        return original(turn, phase, config)

    task.optimizer = optimizer
    train(task, tmp_path)
    assert changed == [False, False] and not torch.equal(before, weights(task))


def test_a_task_starts_once_and_keeps_its_own_state(tmp_path):
    class Starting(toys.Adversarial):
        def start(self, batch):
            self.started = batch.index.tolist()

        def losses(self, turn, batch, step):
            if step == self.stop_at and turn == "model":
                os.kill(os.getpid(), signal.SIGTERM)
            return super().losses(turn, batch, step)

    first, second, whole = Starting(), Starting(), Starting()
    first.stop_at, second.stop_at, whole.stop_at = 7, None, None
    with pytest.raises(RuntimeError, match="stopped at step 8 of 12"):
        train(first, tmp_path / "a")
    train(second, tmp_path / "a")
    train(whole, tmp_path / "b")
    assert first.started == batches(1)[0].index.tolist() and not hasattr(second, "started")
    assert second.phase.name == "together" and second.seen[0][0] == 8
    assert torch.equal(second.memory, whole.memory) and torch.equal(weights(second), weights(whole))


# Choosing and stopping.


class Scripted(toys.Plain):
    """Validation metrics that are given."""

    criterion = Criterion("score", larger=False)

    def __init__(self, scores):
        super().__init__()
        self.scores, self.at = list(scores), []

    def validate(self, model, sweep, step):
        self.at.append((step, torch.cat([p.detach().flatten() for p in model.parameters()])))
        assert not model.training
        return {"score": self.scores[len(self.at) - 1]}


def test_patience_stops_and_the_best_is_kept(tmp_path):
    from priors.files.tensors import read_tensors

    task = Scripted([3.0, 1.0, 2.0, 1.5, 1.0, 0.0])
    progress = train(task, tmp_path, epochs=6, patience=3)
    assert progress.stopped and progress.step == 20 and progress.waited == 3
    assert (progress.best, progress.best_step) == (1.0, 8)
    assert [step for step, _ in task.at] == [4, 8, 12, 16, 20]
    assert torch.equal(weights(task), task.at[1][1])
    last = read_tensors(tmp_path / "run/last.safetensors")[0]
    assert torch.equal(last["1.weight"].flatten(), task.at[4][1][: 8 * 16])


def test_patience_survives_a_stop_and_counts_from_its_step(tmp_path):
    class Late(Scripted):
        criterion = Criterion("score", larger=True, from_step=9)

    scores = [5.0, 4.0, 4.0, 4.0, 4.0, 4.0]
    whole = train(Late(scores), tmp_path / "whole", epochs=6, patience=2)
    assert whole.step == 16
    task = Late(scores)
    task.losses = lambda turn, batch, step: (
        os.kill(os.getpid(), signal.SIGINT) if step == 13 else None,
        toys.Plain.losses(task, turn, batch, step),
    )[1]
    with pytest.raises(RuntimeError, match="stopped at step 14"):
        train(task, tmp_path / "run", epochs=6, patience=2)
    rest = train(Late(scores[3:]), tmp_path / "run", epochs=6, patience=2)
    assert rest.step == 16 and rest.best == 5.0 and rest.best_step == 4


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_validation_metric_that_is_not_finite_stops(value, tmp_path):
    with pytest.raises(Diverged, match="'score' was not finite at step 8; stopped, .* good state is .*step-4"):
        train(Scripted([1.0, value]), tmp_path)


def test_a_second_ctrl_c_stops_at_once():
    stop = StopRequest(start(Where(device="cpu", threads=1)))
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt), stop.listening():
        os.kill(os.getpid(), signal.SIGINT)
        assert stop.asked and stop.noticed_at_once and stop.agreed()
        os.kill(os.getpid(), signal.SIGINT)
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


# Reading.


class Reads(TorchDispatchMode):
    """Counts what makes the program wait for a device: values read into Python, sizes that depend on values."""

    WAITING = (
        torch.ops.aten._local_scalar_dense.default,
        torch.ops.aten.nonzero.default,
        torch.ops.aten.is_nonzero.default,
        torch.ops.aten.masked_select.default,
    )

    def __init__(self):
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.count += function in self.WAITING
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_no_step_waits_for_the_device(optimizer, tmp_path):
    """Ten times the steps between two readings read no more values."""
    counts = []
    for epochs in (2, 20):
        with Reads() as reads:
            how = dict(epochs=epochs, validate_every=epochs, optimizer=optimizer, clip=1.0, ema=0.9, accumulate=2)
            train(toys.Plain(), tmp_path / str(epochs), where={"log_every": 1000}, **how)
        counts.append(reads.count)
    assert counts[0] == counts[1] > 0


@pytest.mark.gpu
def test_no_step_waits_for_a_gpu(tmp_path, monkeypatch, no_waits):
    one_step = Fit.one_step

    def strict(loop, meter):
        with no_waits() if 3 <= loop.progress.step < 20 else nullcontext():
            one_step(loop, meter)

    monkeypatch.setattr(Fit, "one_step", strict)
    train(
        toys.Plain(), tmp_path, where={"device": "auto", "log_every": 1000}, epochs=20, clip=1.0, ema=0.9, accumulate=2
    )


def test_what_is_logged_is_the_mean_since_the_last_entry(tmp_path):
    seen = []

    class Kept(toys.Plain):
        def losses(self, turn, batch, step):
            losses = super().losses(turn, batch, step)
            seen.append(float(losses["cross-entropy"].detach()))
            return losses

    train(Kept(), tmp_path, where={"log_every": 5}, validate_every=3)
    entries = [entry for entry in Run(tmp_path / "run").metrics() if "train/cross-entropy" in entry]
    assert [entry["step"] for entry in entries] == [5, 10, 12]
    windows = [seen[:5], seen[5:10], seen[10:]]
    expected = [sum(window) / len(window) for window in windows]
    assert [entry["train/cross-entropy"] for entry in entries] == pytest.approx(expected, rel=1e-6)


def test_trackers_get_what_is_logged(tmp_path):
    train(toys.Plain(), tmp_path, where={"log_every": 5, "tracker": ("tensorboard",)})
    [file] = (tmp_path / "run").glob("events.out.tfevents.*")
    assert b"train/cross-entropy" in file.read_bytes()
