"""The one training loop: every task, on one process or many, resumable bit for bit."""

import math
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
import torch.distributed
from accelerate import Accelerator, DistributedDataParallelKwargs
from torch import nn
from tqdm import tqdm

from apps.command.config import Optimisation, Where
from apps.command.console import counted, printable
from apps.command.errors import Diverged, Interrupted
from apps.data.augmenting import Augmenting
from apps.data.batches import Batches
from apps.data.image_set import ImageSet
from apps.data.shift import Shift
from apps.data.sweep import sweep
from apps.runs.run import Run
from apps.seeds import derive
from apps.training import states
from apps.training.averaging import Average
from apps.training.buffers import keep_own, share
from apps.training.compiling import Compiled
from apps.training.interruption import StopRequest
from apps.training.log_lines import LogLines
from apps.training.meter import Meter
from apps.training.numerics import scoring
from apps.training.schedule import learning_rate, resets_momentum
from apps.training.session import agreed, from_main, on_main, tracking
from apps.training.states import Progress, Training
from apps.training.task import Task, total
from apps.training.whole_state import newest_whole
from priors.errors import InputError
from priors.files.tensors import load_weights, write_tensors


def fit(
    task: Task,
    images: ImageSet,
    run: Run,
    config: Optimisation,
    where: Where,
    accelerator: Accelerator,
    augmentation: Augmenting | None = None,
    shift: Shift | None = None,
) -> Progress:
    """Train `task` on `images` until its steps or its patience end, and write the weights into the run's folder.

    The run must be open on the first process. It goes on from the newest state that is not damaged, where there is one.

    Raises:
        Interrupted: the process was asked to stop (Ctrl-C, SIGTERM); the state is saved.
        Diverged: a loss, the weights or a validation metric were not finite.
        InputError: a state does not fit this task, or the batch does not divide.
        OSError: a state could not be written; the last complete one is untouched.
    """
    return Fit(task, images, run, config, where, accelerator, augmentation, shift).train()


class Fit:
    """A training of a task: what `fit` does, in parts."""

    def __init__(self, task, images, run, config, where, accelerator, augmentation, shift):
        self.task, self.run, self.config, self.where, self.accelerator = task, run, config, where, accelerator
        self.main, self.processes = accelerator.is_main_process, accelerator.num_processes
        self.device = accelerator.device
        self.format = task.format = run.format  # arithmetic that was changed goes by it, see apps.runs.format
        self.batches = Batches(
            images,
            config.batch_size,
            config.seed,
            augmentation=augmentation,
            rank=accelerator.process_index,
            world_size=accelerator.num_processes,
            device=self.device,
            channels_last=task.channels_last,
            shift=shift,
            neighbours=task.mixes,
        )
        self.batches.order.share(config.accumulate)  # refuse a batch that does not divide before anything is done
        self.per_epoch = per_epoch = len(images) / config.batch_size
        self.steps = steps_of(config, images)
        self.snapshots = snapshots_of(where, config, images)
        self.ends = _phase_ends(task, self.steps)
        self.warmup_steps = round(config.warmup * per_epoch)
        self.validation_interval = max(1.0, config.validate_every * per_epoch)
        self.stop = StopRequest(accelerator)
        self.compiled = task.compiled = Compiled(where.compile, self.main)

    def train(self) -> Progress:
        """Train to the end, from the newest state."""
        run, accelerator = self.run, self.accelerator
        saved = from_main(accelerator, lambda: newest_whole(run))
        self.set_up(saved)
        try:
            self.prepare()
            if saved:
                agreed(accelerator, lambda: states.load_rest(self.training, saved, self.optimizer, accelerator))
            on_main(accelerator, lambda: run.rewind_metrics(self.progress.step))
            on_main(accelerator, lambda: run.rewind_snapshots(self.progress.step if saved else -1))
            on_main(accelerator, lambda: run.rewind_states(self.progress.step))
            if not saved and 0 in self.snapshots:
                self.snapshot()
            with self.stop.listening(), tracking(accelerator, self.where, run.folder):
                self.steps_left()
            return self.finish()
        finally:
            self.take_down()

    def set_up(self, saved: Path | None = None) -> None:
        """Make what a step needs; the networks as a state has them, where there is one."""
        task, config, accelerator = self.task, self.config, self.accelerator
        task.rank = accelerator.process_index
        torch.manual_seed(derive(config.seed, "global", task.rank))
        for network in (*task.networks.values(), *task.frozen.values()):
            network.to(self.device)
            if task.channels_last:
                network.to(memory_format=torch.channels_last)
        for network in task.frozen.values():
            network.eval().requires_grad_(False)
        self.training = Training(task, dict(task.networks))
        self.raw = self.training.networks
        self.trainable = {name: [p for p in raw.parameters() if p.requires_grad] for name, raw in self.raw.items()}
        self.learning = tuple(self.raw)
        if saved:
            agreed(accelerator, lambda: states.load_networks(self.training, saved, self.run))
        elif self.main:
            task.start(self.batches.at(0))
        self.progress = self.training.progress
        if config.ema is not None:
            averaged = self.raw if task.averaged is None else task.averaged
            self.training.averages = {name: Average(self.raw[name], config.ema, self.format) for name in averaged}
        if task.partial:
            accelerator.ddp_handler = DistributedDataParallelKwargs(find_unused_parameters=True)

    def prepare(self) -> None:
        """Wrap the networks for their processes and precision, and begin the phase."""
        for name, network in self.raw.items():
            self.task.to_training(network)
            self.task.networks[name] = keep_own(self.accelerator.prepare_model(network))
        for average in self.training.averages.values():  # preparing gave every process the first one's weights
            average.restart()
        self.compiled.begin(self.task)
        self.enter_phase(self.progress.phase)

    def take_down(self) -> None:
        """Give the networks back as they were given."""
        self.compiled.end()
        self.learn(*self.raw)
        for network in self.raw.values():
            _unprepare(network)
        self.accelerator.free_memory()  # it keeps all that it ever prepared, and a command may train several
        self.task.networks.update(self.raw)

    def enter_phase(self, index: int) -> None:
        """Begin a phase: its optimisers are made as its turns come up."""
        self.progress.phase = index
        self.task.phase = self.task.phases[index]
        self.training.optimizers = {}

    def optimizer(self, turn: str) -> torch.optim.Optimizer:
        """The optimiser of a turn in this phase."""
        if turn not in self.training.optimizers:
            self.learn(*self.raw)  # a frozen network would look as if it had nothing to train
            self.training.optimizers[turn] = self.task.optimizer(turn, self.task.phase, self.config)
        return self.training.optimizers[turn]

    def learn(self, *names: str) -> None:
        """Freeze the networks that are not named; what the task itself froze stays so."""
        if names != self.learning:
            self.learning = names
            for name, parameters in self.trainable.items():
                for parameter in parameters:
                    parameter.requires_grad_(name in names)

    def steps_left(self) -> None:
        """All steps to come, with their validations, states and lines."""
        progress = self.progress
        meter = Meter(self.where.log_every, self.device)
        bar = tqdm(
            total=self.steps,
            initial=progress.step,
            desc=printable(self.run.folder.name),
            unit="step",
            disable=None if self.main else True,
            dynamic_ncols=True,
        )
        lines = LogLines(self.run.folder.name, self.steps, on=self.main and bar.disable)
        began, since, mark = time.perf_counter() - progress.seconds, time.perf_counter(), progress.step
        with bar:
            while progress.step < self.steps and not progress.stopped:
                self.compiled.step(self.one_step, meter)
                progress.step += 1
                bar.update()
                lines.step(progress.step)
                step, last = progress.step, progress.step == self.steps
                validating = last or step // self.validation_interval > (step - 1) // self.validation_interval
                saving = self.where.checkpoint_every is not None and step % self.where.checkpoint_every == 0
                logging = step % self.where.log_every == 0
                if step in self.snapshots:  # before a state of this step: what resumes from it has its snapshots
                    paused = time.perf_counter()
                    self.snapshot()
                    since += time.perf_counter() - paused
                if not (validating or saving or logging or self.stop.noticed_at_once):
                    continue
                means = self.read(meter)
                now = time.perf_counter()
                rate = (step - mark) * self.config.batch_size / max(now - since, 1e-9)
                mark = step
                progress.seconds = now - began
                bar.set_postfix({"loss": f"{sum(means.values()):.4g}", "images/s": f"{rate:,.0f}"}, refresh=False)
                self.log({"step": step, **{f"train/{name}": value for name, value in means.items()}, "images/s": rate})
                self.settle()
                if validating:
                    self.validate(bar)
                    lines.validated(step, means, progress.metrics, progress.best_step == step)
                stop = self.stop.agreed()
                if validating or saving or stop:
                    states.save(self.training, self.run, self.accelerator)
                if stop and not (last or progress.stopped):
                    raise Interrupted(f"stopped at step {step} of {self.steps}")
                since = time.perf_counter()  # neither validations, checkpoints nor snapshots are part of the rate

    def one_step(self, meter: Meter) -> None:
        """One update by each turn."""
        task, accelerator, progress, parts = self.task, self.accelerator, self.progress, self.config.accumulate
        phase = next((index for index, end in enumerate(self.ends) if progress.step < end), len(self.ends) - 1)
        if phase != progress.phase:
            self.enter_phase(phase)
        plan, begin = task.phase.plan(self.config), self.ends[phase - 1] if phase else 0
        task.passed = (progress.step - begin) / (self.ends[phase] - begin)
        rate = learning_rate(plan, progress.step - begin, self.ends[phase] - begin, self.warmup_steps)
        if resets_momentum(plan, progress.step - begin, self.ends[phase] - begin):
            for optimizer in self.training.optimizers.values():
                optimizer.state.clear()
        for turn in task.turns(progress.step):
            optimizer, trained = self.optimizer(turn), task.trained(turn)
            for group in optimizer.param_groups:
                group["lr"] = rate * group.get("lr_scale", 1.0)
            self.learn(*trained)
            for part in range(parts):
                task.slice = part * self.processes + task.rank
                batch = self.batches.at(progress.drawn, micro=part, accumulate=parts)
                with ExitStack() as stack:
                    if part < parts - 1:  # the processes exchange gradients with the last part only
                        for name in trained:
                            stack.enter_context(accelerator.no_sync(task.networks[name]))
                    with accelerator.autocast():
                        losses = task.losses(turn, batch, progress.step)
                    accelerator.backward(total(losses, parts))
                meter.add(progress.step + 1, losses)
            if self.config.clip is not None:
                chosen = [p for name in trained for p in self.trainable[name] if p.grad is not None]
                nn.utils.clip_grad_norm_(chosen, self.config.clip, foreach=True)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            progress.drawn += 1
            for name in trained:
                if name in self.training.averages:
                    self.training.averages[name].update()

    def read(self, meter: Meter) -> dict[str, float]:
        """Mean losses since the last time, over all processes."""
        means, wrong = meter.read()
        if self.processes > 1:
            every: list = [None] * self.processes
            torch.distributed.all_gather_object(every, (means, wrong))
            means = {name: sum(own[name] for own, _ in every) / self.processes for name in means}
            wrong = min((found for _, found in every if found is not None), default=None)
        if wrong is not None:
            self.diverged(f"the loss {wrong[1]!r} was not finite at step {wrong[0]}")
        return means

    def settle(self) -> None:
        """Make the networks fit to be used and kept: finite, with the same buffers everywhere, and in the averages."""
        for name, network in self.raw.items():
            share(network)
            if not nn.utils.get_total_norm(network.parameters(), norm_type=math.inf, foreach=True).isfinite():
                self.diverged(f"the weights of {name!r} were not finite after step {self.progress.step}")
            if name in self.training.averages:
                self.training.averages[name].follow_buffers()

    def snapshot(self) -> None:
        """Keep the model as it is now: what a user would get if training ended here, averaged where averages are."""
        self.settle()
        step, kept = self.progress.step, self.training.kept()
        result = {"steps": step, "epochs": round(step / self.per_epoch, 3)}
        on_main(
            self.accelerator,
            lambda: self.run.save_snapshot(step, lambda folder: self.task.save(folder, kept), result),
        )

    def diverged(self, what: str) -> None:
        """Stop."""
        found = self.run.states()
        kept = f"the last good state is {found[-1]}" if found else "no state had been saved yet"
        raise Diverged(
            f"{what}; stopped, and {kept}. Try a smaller --lr, --clip 1, or --precision fp32 under another --name"
        )

    def validate(self, bar) -> None:
        """Score what would be kept, and keep it where it is the best."""
        task, training, progress = self.task, self.training, self.progress
        model = training.kept()["model"]
        model.eval()

        def over(images, function, **options):
            return sweep(images, function, accelerator=self.accelerator, progress=False, **options)

        with scoring(), self.compiled.eager():
            metrics = task.validate(model, over, progress.step)
        task.to_training(self.raw["model"])
        for name, value in metrics.items():
            if not math.isfinite(value):
                self.diverged(f"the validation metric {name!r} was not finite at step {progress.step}")
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
            training.best = training.snapshot()
            training.best_files = ()
        elif progress.step > criterion.from_step:
            progress.waited += 1
            progress.stopped = self.config.patience is not None and progress.waited >= self.config.patience
        if self.main and not bar.disable:
            shown = "  ".join(f"{name} {number:.4f}" for name, number in metrics.items())
            bar.write(f"step {progress.step}: {shown}{'  (best)' if progress.best_step == progress.step else ''}")

    def log(self, entry: dict[str, Any]) -> None:
        """Add to the metrics, and to the trackers."""
        on_main(self.accelerator, lambda: self.run.log(entry))
        if self.where.tracker:
            self.accelerator.log({key: value for key, value in entry.items() if key != "step"}, step=entry["step"])

    def finish(self) -> Progress:
        """Write what the user gets: each network's best weights, or where none is chosen the last ones.

        Where there is a best, the last ones of "model" are in `last.safetensors`.
        """
        last = self.training.snapshot()
        final = self.training.best or last
        for name, network in self.raw.items():
            load_weights(network, final[name], self.run.folder)

        def write() -> None:
            self.run.check_held()
            if self.training.best:
                write_tensors(self.run.folder / "last.safetensors", last["model"])
            self.task.save(self.run.folder, self.raw)

        on_main(self.accelerator, write)
        self.raw["model"].eval()
        return self.progress


def steps_of(config: Optimisation, images: ImageSet) -> int:
    """Updates that a training has, unless its patience ends it sooner; none where it is to have no epochs."""
    return max(1, round(config.epochs * len(images) / config.batch_size)) if config.epochs else 0


def snapshots_of(where: Where, config: Optimisation, images: ImageSet) -> tuple[int, ...]:
    """The updates that --snapshots names, in order and each once.

    Raises:
        InputError: the training ends before one of them.
    """
    steps, wanted = steps_of(config, images), tuple(sorted(set(where.snapshots)))
    if wanted and wanted[-1] > steps:
        raise InputError(
            f"--snapshots {wanted[-1]}: the training ends after {counted(steps, 'update')} "
            f"({counted(f'{config.epochs:g}', 'epoch')} of {counted(len(images), 'image')}, {config.batch_size} "
            f"at a time); give numbers from 0 to {steps}"
        )
    return wanted


def _phase_ends(task: Task, steps: int) -> list[int]:
    """The step before which each phase ends."""
    shares = [sum(phase.share for phase in task.phases[: index + 1]) for index in range(len(task.phases))]
    return [*(round(share * steps) for share in shares[:-1]), steps]


def _unprepare(network: nn.Module) -> None:
    """Take back the mixed precision that accelerate wraps around a network's own `forward`."""
    original = network.__dict__.pop("_original_forward", None)
    if original is not None:
        del network.forward
        if getattr(original, "__func__", None) is not type(network).forward:
            network.forward = original
