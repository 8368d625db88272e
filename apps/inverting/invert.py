"""The program of penult analyse invert: plan, train, score, then print and draw."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from accelerate import Accelerator
from torch import Tensor

from apps.data.image_set import ImageSet
from apps.inverting import report, through_training
from apps.inverting.layer_runs import Inversion
from apps.inverting.overfitting import overfit
from apps.inverting.plan import Plan, plan, said_of_second
from apps.inverting.scoring import log_likelihoods, squared_errors
from apps.inverting.settings import InvertSettings
from apps.inverting.through_training import Curve, State
from apps.models.named import is_run, open_run
from apps.runs.run import Run
from apps.training.session import start

OWN = "as trained"
"""What the network itself is called beside another."""


@dataclass(frozen=True)
class Trained:
    """The runs of one command."""

    densities: Mapping[str, Run]
    """By layer."""
    decoders: Mapping[str, Run]
    """By layer."""
    on_the_way: Mapping[str, Mapping[int | None, Mapping[str, Run]]]
    """Densities by network, its updates (None: finished), and layer."""


@dataclass(frozen=True)
class Scores:
    """What the runs give each test image."""

    nats: Mapping[str, Tensor]
    """log p(x | h), (images,), by layer."""
    errors: Mapping[str, Tensor]
    """|x - f(h)|^2, (images,), by layer."""
    others: Mapping[str, Tensor]
    """log p(x | h), (images,), by run of another density."""
    curves: Mapping[str, Curve]
    """log p(x | h) by network, its updates, and layer."""


def invert(config: InvertSettings) -> None:
    """Train what is not trained, score, print and draw.

    Raises:
        InputError: something of what is asked for is not there, or does not go together.
    """
    planned = plan(config)
    inversion = _inversion(planned)
    _check(planned, inversion)
    second = [] if planned.second is None else _train_second(planned)
    if planned.second is not None:  # which had its own precision
        inversion = _inversion(planned)
    trained = _train(planned, inversion, second)
    scores = _score(planned, trained, inversion.accelerator)
    _conclude(planned, trained, scores, inversion.accelerator)


def _inversion(planned: Plan) -> Inversion:
    """What the trainings share."""
    config, images = planned.config, planned.images
    accelerator = start(planned.where, precision=config.optimisation.precision)
    own = (config.density, config.decoder, config.optimisation, planned.where, accelerator)
    return Inversion(images.training, images.held_out, *own)


def _check(planned: Plan, inversion: Inversion) -> None:
    """Build everything once, and look for its runs, before anything is trained."""
    config = planned.config
    for called, layer in planned.layers.items():
        inversion.check(planned.where.name, called, config.model, config.foreign, layer)
    for state in planned.earlier:
        for called, layer in planned.layers_of(state).items():
            inversion.check(state.name, called, state.model, config.foreign, layer)


def _train_second(planned: Plan) -> list[State]:
    """Train the second network, or resume it; the moments of its training that are inverted."""
    training = planned.second
    accelerator = start(training.where, precision=training.optimisation.precision)
    run = overfit(training, accelerator, planned.config.model)
    return through_training.states(
        str(run.folder), training.where.name, snapshots=planned.config.snapshots, finished=True
    )


def _train(planned: Plan, inversion: Inversion, second: list[State]) -> Trained:
    """Train the densities and the decoders, or resume them."""
    config, name = planned.config, planned.where.name
    own = (config.model, config.foreign)
    densities = {called: inversion.invert(name, called, *own, layer) for called, layer in planned.layers.items()}
    decoders = {
        called: inversion.reconstruct(name, called, *own, layer)
        for called, layer in planned.layers.items()
        if layer is not None and config.decoder.decoder_epochs
    }

    def inverted(state: State) -> dict[str, Run]:
        return {
            called: inversion.invert(state.name, called, state.model, config.foreign, layer)
            for called, layer in planned.layers_of(state).items()
        }

    on_the_way = {OWN: {state.updates: inverted(state) for state in planned.earlier}}
    if second:
        on_the_way[said_of_second(config)] = {state.updates: inverted(state) for state in second}
    return Trained(densities, decoders, on_the_way)


def _score(planned: Plan, trained: Trained, accelerator: Accelerator) -> Scores:
    """Score the test images by all of them."""
    test = planned.images.test

    def nats(runs: Mapping[str, Run]) -> dict[str, Tensor]:
        return {called: log_likelihoods(run, test, accelerator) for called, run in runs.items()}

    found = nats(trained.densities)
    errors = {called: squared_errors(run, test, accelerator) for called, run in trained.decoders.items()}
    others = nats(planned.others)
    curves = {
        network: {updates: nats(runs) for updates, runs in curve.items()}
        for network, curve in trained.on_the_way.items()
    }
    curves[OWN][None] = {called: one for called, one in found.items() if called != "none"}
    return Scores(found, errors, others, curves)


def _conclude(planned: Plan, trained: Trained, scores: Scores, accelerator: Accelerator) -> None:
    """Print, write and draw: the first process does, but for what is drawn for long, which all do together."""
    config, folder, test = planned.config, planned.folder, planned.images.test
    if config.place.threads is None:
        torch.set_num_threads(1)  # drawing is small operations: a second thread costs more than it brings
    if accelerator.is_main_process:
        report.conclude(config.model, _accuracy(config.model), folder, scores.nats, scores.errors, test)
        if planned.others:
            report.against(folder, scores.nats, scores.others)
    _draw(planned, trained, accelerator.device)
    if not accelerator.is_main_process:
        return
    if config.estimates:
        report.estimate(planned.layers, test)
    if planned.earlier or planned.second is not None:
        through_training.conclude(config.model, folder, scores.curves, test)


def _draw(planned: Plan, trained: Trained, device: torch.device) -> None:
    """The sheet, table 1 and figure 2, as they are asked for; every process calls this."""
    config, folder, seed = planned.config, planned.folder, planned.config.optimisation.seed
    training, test = planned.images.training, planned.images.test
    some = _first(test, config.shown)
    if config.shown:
        report.draw_sheet(folder, trained.densities, trained.decoders, some, config.n, seed, device)
    if config.distances:
        report.compare(folder, trained.densities, training, test, config.distances, seed, device)
    if config.closest is not None:
        run = trained.densities[config.closest]
        report.draw_closest(folder, config.closest, run, training, some, config.draws, seed, device)


def _first(test: ImageSet, shown: int) -> ImageSet:
    """The images that are drawn; at least one."""
    return test.subset(range(min(max(shown, 1), len(test))))


def _accuracy(model: str) -> float | None:
    """Of the network on the test images that it was trained beside, where it is a run that says so."""
    found = open_run(model).result().get("test/accuracy") if is_run(model) else None
    return found if isinstance(found, float) else None
