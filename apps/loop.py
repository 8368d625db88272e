"""The one training loop: every task, on one process or many, resumable bit for bit."""

import os
import shutil
import signal
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from tqdm import tqdm

from apps import checkpoint
from apps.augment import Augmentation
from apps.config import Optimisation, Where
from apps.data import Batches
from apps.image_set import ImageSet
from apps.meter import Meter
from apps.run import Run
from apps.schedule import learning_rate
from apps.seeds import derive
from apps.sweep import sweep
from apps.task import Task
from priors.errors import InputError
from priors.storage import load_weights, read_json, read_tensors, write_json, write_tensors


class Interrupted(RuntimeError):
    """Training was asked to stop; the state is saved, and the same command goes on."""


class Diverged(RuntimeError):
    """A loss was not finite; the message names the step and the last good state."""


@dataclass
class Progress:
    """Where a training stands; saved with every state."""

    step: int = 0
    """Updates done."""
    drawn: int = 0
    """Global batches drawn."""
    phase: int = 0
    """Index of the current phase."""
    best: float | None = None
    """Best value of the criterion so far."""
    best_step: int | None = None
    """The step it was reached at."""
    waited: int = 0
    """Validations since then that count towards the patience."""
    seconds: float = 0.0
    """Time spent training, over all resumptions."""
    metrics: dict[str, float] = field(default_factory=dict)
    """What the last validation gave."""
    best_metrics: dict[str, float] = field(default_factory=dict)
    """What the best validation gave."""
    stopped: bool = False
    """Whether patience ran out."""


def fit(
    task: Task,
    images: ImageSet,
    run: Run,
    config: Optimisation,
    where: Where,
    accelerator: Accelerator,
    augmentation: Augmentation | None = None,
) -> Progress:
    """Train `task` on `images` until its steps are done or its patience is, and write the weights into the run's folder.

    The run must be open on the first process. It goes on from the newest state where there is one.

    Raises:
        Interrupted: the process was asked to stop (Ctrl-C, SIGTERM); the state is saved.
        Diverged: a loss was not finite.
        InputError: a state does not fit this task, or the batch does not divide.
        OSError: a state could not be written; the last complete one is untouched.
    """
    return _Fit(task, images, run, config, where, accelerator, augmentation).train()


class _Fit:
    def __init__(self, task, images, run, config, where, accelerator, augmentation):
        self.task, self.run, self.config, self.where, self.accelerator = task, run, config, where, accelerator
        self.main = accelerator.is_main_process
        self.device = accelerator.device
        self.batches = Batches(
            images,
            config.batch_size,
            config.seed,
            augmentation=augmentation,
            rank=accelerator.process_index,
            world_size=accelerator.num_processes,
            device=self.device,
            channels_last=task.channels_last,
        )
        per_epoch = len(images) / config.batch_size
        self.steps = max(1, round(config.epochs * per_epoch))
        self.warmup_steps = round(config.warmup * per_epoch)
        self.validation_interval = max(1.0, config.validate_every * per_epoch)
        self.progress = Progress()
        self.best: dict[str, dict[str, Tensor]] = {}
        self.best_files: Path | None = None
        self.optimizers: dict[str, torch.optim.Optimizer] = {}
        self.asked_to_stop = False

    # Setting up.

    def train(self) -> Progress:
        task, config = self.task, self.config
        task.rank = self.accelerator.process_index
        torch.manual_seed(derive(config.seed, "global", task.rank))
        for network in (*task.networks.values(), *task.frozen.values()):
            network.to(self.device)
            if task.channels_last:
                network.to(memory_format=torch.channels_last)
        for network in task.frozen.values():
            network.eval().requires_grad_(False)
        self.raw: dict[str, nn.Module] = dict(task.networks)
        states = self.run.states()
        if states:
            self.load_networks(states[-1])
        elif self.main:
            task.start(self.batches.at(0))
        self.averages = {
            name: AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(config.ema))
            for name, network in self.raw.items()
            if config.ema is not None
        }
        for name, network in self.raw.items():
            network.train()
            task.networks[name] = self.accelerator.prepare_model(network)
        self.build_optimizers()
        if states:
            self.load_rest(states[-1])
        if self.main:
            self.run.rewind_metrics(self.progress.step)
        try:
            with self.stopping_on_signals():
                self.steps_left()
            return self.finish()
        finally:
            task.networks.update(self.raw)

    def build_optimizers(self) -> None:
        phase = self.task.phases[self.progress.phase]
        turns = dict.fromkeys(self.task.turns(self.progress.step))
        self.optimizers = {turn: self.task.optimizer(turn, phase, self.config) for turn in turns}

    @contextmanager
    def stopping_on_signals(self):
        """Finish the step under way, then stop; a second Ctrl-C stops at once."""

        def ask(number, frame):
            if self.asked_to_stop:
                raise KeyboardInterrupt
            self.asked_to_stop = True

        try:
            before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
        except ValueError:  # not the main thread: whoever owns it decides
            before = {}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    # Training.

    def steps_left(self) -> None:
        progress, accelerator = self.progress, self.accelerator
        meter = Meter(self.where.log_every, self.device)
        bar = tqdm(
            total=self.steps,
            initial=progress.step,
            desc=self.run.folder.name,
            unit="step",
            disable=None if self.main else True,
            dynamic_ncols=True,
        )
        began, since, mark = time.perf_counter() - progress.seconds, time.perf_counter(), progress.step
        with bar:
            while progress.step < self.steps and not progress.stopped:
                self.enter_phase()
                self.one_step(meter)
                progress.step += 1
                bar.update()
                step, last = progress.step, progress.step == self.steps
                validating = last or step // self.validation_interval > (step - 1) // self.validation_interval
                saving = self.where.checkpoint_every is not None and step % self.where.checkpoint_every == 0
                logging = step % self.where.log_every == 0
                if not (validating or saving or logging or (self.asked_to_stop and accelerator.num_processes == 1)):
                    continue
                means, wrong = meter.read()
                if wrong is not None:
                    self.diverged(*wrong)
                now = time.perf_counter()
                rate = (step - mark) * self.config.batch_size / max(now - since, 1e-9)
                since, mark = now, step
                progress.seconds = now - began
                bar.set_postfix({"loss": f"{sum(means.values()):.4g}", "images/s": f"{rate:,.0f}"}, refresh=False)
                if means:
                    self.log({"step": step, **{f"train/{name}": value for name, value in means.items()}, "images/s": rate})
                if validating:
                    self.validate(bar)
                    since = time.perf_counter()
                stop = self.agree_to_stop()
                if validating or saving or stop:
                    self.save()
                if stop and not (last or progress.stopped):
                    raise Interrupted(f"stopped at step {step} of {self.steps}")

    def enter_phase(self) -> None:
        """Move on to the phase that the step to come belongs to, with optimisers of its own."""
        phases, end = self.task.phases, 0.0
        for index, phase in enumerate(phases):
            end += phase.share
            if self.progress.step < round(end * self.steps) or index == len(phases) - 1:
                if index != self.progress.phase:
                    self.progress.phase = index
                    self.build_optimizers()
                return

    def one_step(self, meter: Meter) -> None:
        task, accelerator, progress, parts = self.task, self.accelerator, self.progress, self.config.accumulate
        for turn in task.turns(progress.step):
            optimizer, trained = self.optimizers[turn], task.trained(turn)
            rate = learning_rate(self.config, progress.step, self.steps, self.warmup_steps)
            for group in optimizer.param_groups:
                group["lr"] = rate * group.get("lr_scale", 1.0)
            if len(trained) < len(self.raw):
                for name, network in self.raw.items():
                    network.requires_grad_(name in trained)
            for part in range(parts):
                task.slice = part * accelerator.num_processes + task.rank
                batch = self.batches.at(progress.drawn, micro=part, accumulate=parts)
                with ExitStack() as stack:
                    if part < parts - 1:  # the processes exchange gradients with the last part only
                        for name in trained:
                            stack.enter_context(accelerator.no_sync(task.networks[name]))
                    with accelerator.autocast():
                        losses = task.losses(turn, batch, progress.step)
                    accelerator.backward(sum(losses.values()) / parts)
                meter.add(progress.step, losses)
            if self.config.clip is not None:
                chosen = [p for name in trained for p in self.raw[name].parameters() if p.grad is not None]
                nn.utils.clip_grad_norm_(chosen, self.config.clip, foreach=True)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            progress.drawn += 1
            for name in trained:
                if name in self.averages:
                    self.averages[name].update_parameters(self.raw[name])

    def diverged(self, step: int, name: str) -> None:
        states = self.run.states()
        kept = f"the last good state is {states[-1]}" if states else "no state had been saved yet"
        raise Diverged(
            f"the loss {name!r} was not finite at step {step}; stopped, and {kept}. "
            "Try a smaller --lr, --clip 1, or --precision fp32 under another --name"
        )

    def agree_to_stop(self) -> bool:
        if self.accelerator.num_processes == 1:
            return self.asked_to_stop
        flag = torch.tensor([float(self.asked_to_stop)], device=self.device)
        return bool(self.accelerator.reduce(flag, reduction="sum").item() > 0)

    def validate(self, bar) -> None:
        task, progress = self.task, self.progress
        model = self.averages["model"].module if "model" in self.averages else self.raw["model"]
        model.eval()

        def over(images, function, **options):
            return sweep(images, function, accelerator=self.accelerator, progress=False, **options)

        metrics = task.validate(model, over, progress.step)
        self.raw["model"].train()
        progress.metrics = metrics
        if metrics:
            self.log({"step": progress.step, **{f"validation/{name}": value for name, value in metrics.items()}})
        criterion = task.criterion
        if criterion is None or criterion.metric not in metrics:
            return
        value = metrics[criterion.metric]
        if progress.best is None or (value > progress.best if criterion.larger else value < progress.best):
            progress.best, progress.best_step, progress.waited = value, progress.step, 0
            progress.best_metrics = metrics
            self.best = {name: snapshot(network) for name, network in self.kept().items()}
            self.best_files = None
        elif progress.step > criterion.from_step:
            progress.waited += 1
            progress.stopped = self.config.patience is not None and progress.waited >= self.config.patience
        if self.main and not bar.disable:
            shown = "  ".join(f"{name} {number:.4f}" for name, number in metrics.items())
            bar.write(f"step {progress.step}: {shown}{'  (best)' if progress.best_step == progress.step else ''}")

    def log(self, entry: dict[str, Any]) -> None:
        if self.main:
            self.run.log(entry)
        if self.where.tracker:
            self.accelerator.log({key: value for key, value in entry.items() if key != "step"}, step=entry["step"])

    # States.

    def kept(self) -> dict[str, nn.Module]:
        """The networks whose weights a user gets: averaged where averages are kept."""
        return {name: self.averages[name].module if name in self.averages else raw for name, raw in self.raw.items()}

    def save(self) -> None:
        """Write the whole state beside, then rename it: a kill at any moment leaves a complete one."""
        accelerator, step = self.accelerator, self.progress.step
        beside = self.run.folder / "state" / f".step-{step}"
        try:
            if self.main:
                self.write_state(self.run.begin_state(step))
            accelerator.wait_for_everyone()
            write_tensors(beside / f"random-{accelerator.process_index}.safetensors", checkpoint.random_state(self.device))
            accelerator.wait_for_everyone()
            if self.main:
                self.run.commit_state(beside)
                self.best_files = self.run.folder / "state" / f"step-{step}" if self.best else None
        except OSError as error:
            shutil.rmtree(beside, ignore_errors=True)
            states = self.run.states()
            kept = f"the last complete state is {states[-1]}" if states else "no state had been saved yet"
            raise OSError(error.errno, f"could not write the state of step {step}: {error.strerror}; {kept}") from error
        accelerator.wait_for_everyone()

    def write_state(self, folder: Path) -> None:
        for name, network in self.raw.items():
            write_tensors(folder / f"network-{name}.safetensors", network.state_dict())
        for name, average in self.averages.items():
            write_tensors(folder / f"average-{name}.safetensors", average.state_dict())
        for name, tensors in self.best.items():
            file = folder / f"best-{name}.safetensors"
            if self.best_files is None:
                write_tensors(file, tensors)
            else:
                link_or_copy(self.best_files / file.name, file)
        numbers = {}
        for turn, optimizer in self.optimizers.items():
            tensors, numbers[turn] = checkpoint.optimizer_state(optimizer)
            write_tensors(folder / f"optimizer-{turn}.safetensors", tensors)
        write_tensors(folder / "task.safetensors", self.task.state_dict())
        write_json(
            folder / "state.json",
            {"networks": list(self.raw), "progress": vars(self.progress), "best": list(self.best), "optimizers": numbers},
        )

    def read_state(self, folder: Path) -> dict[str, Any]:
        state = read_json(folder / "state.json", "training state")
        if not isinstance(state, dict) or state.get("networks") != list(self.raw):
            raise InputError(f"{folder} is not a state of this run: remove it to go on without it")
        return state

    def load_networks(self, folder: Path) -> None:
        state = self.read_state(folder)
        try:
            self.progress = Progress(**state["progress"])
        except TypeError:
            raise InputError(f"{folder}/state.json is not a state of this program: remove the folder to start over") from None
        for name, network in self.raw.items():
            file = folder / f"network-{name}.safetensors"
            load_weights(network, read_tensors(file, "a training state")[0], file)

    def load_rest(self, folder: Path) -> None:
        state = self.read_state(folder)
        for name, average in self.averages.items():
            file = folder / f"average-{name}.safetensors"
            load_weights(average, read_tensors(file, "a training state")[0], file)
        for turn, optimizer in self.optimizers.items():
            tensors, _ = read_tensors(folder / f"optimizer-{turn}.safetensors", "a training state")
            checkpoint.load_optimizer_state(optimizer, tensors, state["optimizers"][turn])
        for name in state["best"]:
            self.best[name] = read_tensors(folder / f"best-{name}.safetensors", "a training state")[0]
        self.best_files = folder if self.best else None
        self.task.load_state_dict(read_tensors(folder / "task.safetensors", "a training state")[0])
        file = folder / f"random-{self.accelerator.process_index}.safetensors"
        if file.exists():  # a process more than before starts on its own fresh stream
            checkpoint.load_random_state(read_tensors(file, "a training state")[0], self.device)

    def finish(self) -> Progress:
        """Write what the user gets: `model.safetensors` (the best where there is one), `last.safetensors`, the other networks."""
        last = {name: snapshot(network) for name, network in self.kept().items()}
        final = self.best or last
        for name, network in self.raw.items():
            load_weights(network, final[name], self.run.folder)
        if self.main:
            if self.best:
                write_tensors(self.run.folder / "last.safetensors", last["model"])
            self.task.save(self.run.folder, self.raw)
        self.accelerator.wait_for_everyone()
        self.raw["model"].eval()
        return self.progress


def snapshot(network: nn.Module) -> dict[str, Tensor]:
    """A copy of a network's weights on the CPU."""
    return {name: tensor.detach().to("cpu", copy=True) for name, tensor in network.state_dict().items()}


def link_or_copy(source: Path, target: Path) -> None:
    """The same file under another name, copied where the file system has no links."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
