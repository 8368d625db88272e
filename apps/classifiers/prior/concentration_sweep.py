"""Choosing a concentration by validation on the task that it is for, as section 2.1 of Seo, Lee and Kwak (2021) does.

A model is trained for each value, as an ordinary run, and the values are compared by what each run reached on the
images held out from it. A task that this can be done for is one entry of `TASKS` in a room's `downstream`.
"""

import math
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from apps.command.config import Foreign, Gauge, Place, identity
from apps.command.console import say
from apps.command.flags import parse
from apps.models.classifier_priors import SWEEP, classifier_prior, is_saved, usable_concentration
from apps.models.downstream_task import DownstreamTask, Request, downstream_task
from apps.models.named import is_run, trained_data, trained_on
from apps.runs.run import Run
from apps.training.train import slug
from priors.errors import InputError, unknown


@dataclass(frozen=True)
class Trial:
    """One value that was tried."""

    concentration: float
    score: float
    """What the run reached on its held-out images: its best."""
    epochs: float
    """After how many epochs it did."""
    run: Path


@dataclass(frozen=True)
class Choice:
    """What validation says of several concentrations."""

    name: str
    """What for, as --for has it."""
    task: DownstreamTask
    trials: tuple[Trial, ...]
    best: Trial

    @property
    def how(self) -> str:
        """The choice in words."""
        tried = ", ".join(f"{trial.concentration:.6g}: {trial.score:.4g}" for trial in self.trials)
        return f"{self.best.concentration:.6g}, chosen for {self.name} by {self.task.title} among {tried}"

    @property
    def advice(self) -> str:
        """Where the best value is an end of the range, which other ones to try."""
        values = [trial.concentration for trial in self.trials]
        if self.best.concentration == max(values):
            return "the largest value is the best: larger ones may be better still"
        if self.best.concentration == min(values):
            return "the smallest value is the best: smaller ones may be better still"
        return ""


def is_sweep(concentration: Sequence[str]) -> bool:
    """Whether a concentration's words ask for a sweep."""
    return any(word.startswith(SWEEP) for word in concentration)


def sweep_values(concentration: Sequence[str]) -> tuple[float, ...]:
    """The values of `sweep:5,20,80`.

    Raises:
        InputError: fewer than two values, one given twice, one that is no concentration, or other words beside them.
    """
    given = " ".join(concentration)
    expected = "expected two or more different numbers from 0, as in sweep:5,20,80"
    if len(concentration) != 1:
        raise InputError(f"--concentration {given}: {expected}, in one word")
    values = []
    for text in given.removeprefix(SWEEP).split(","):
        try:
            values.append(float(text))
        except ValueError:
            raise InputError(f"--concentration {given}: {text!r} is no number; {expected}") from None
        if not 0 <= values[-1] < math.inf:
            raise InputError(f"--concentration {given}: {text} is no concentration; {expected}")
        usable_concentration(values[-1])
    if len(set(values)) != len(values) or len(values) < 2:
        raise InputError(f"--concentration {given}: {expected}")
    return tuple(values)


@dataclass(frozen=True)
class _Training:
    """One value's training, before it is begun."""

    concentration: float
    name: str
    """Of the run."""
    words: list[str]
    """Of its command line, without its place."""
    settings: Any
    """What the words mean."""


def choose(
    task: str,
    concentration: Sequence[str],
    options: Sequence[str],
    model: str,
    foreign: Foreign,
    place: Place,
    data: str | None = None,
    image_size: int | None = None,
    gauge: Gauge | None = None,
    classes: str | None = None,
) -> Choice:
    """Train a model for each value, or resume, or take those that are finished, and compare them.

    Args:
        task: a name of `downstream_tasks`.
        concentration: the words of --concentration, as for `sweep_values`.
        options: of the trainings, each as NAME=VALUE, several values with commas, a switch as NAME or no-NAME;
            "name" is what the runs' names begin with.
        model: as on the command line.
        foreign: what a model of one's own does not say itself.
        place: where the runs are, and what computes.
        data: images to train on; None for what the run was trained on.
        image_size: what an image folder's pictures are brought to; None as for the run.
        gauge: of the prior; nothing for a saved prior's own.
        classes: which of the images' classes to train on; None as for the run.

    Raises:
        InputError: a sweep, task, model or option that cannot be: before anything is trained.
    """
    kind, values = downstream_task(task), sweep_values(concentration)
    prior = classifier_prior(model, (str(values[0]),), foreign)
    images = _images(model, data, image_size, classes)
    request = Request(model, prior.dim, *images, foreign, place, gauge or Gauge())
    trainings = _trainings(task, kind, request, values, options)
    trials = []
    for number, training in enumerate(trainings):
        command = shlex.join([*training.words, "--name", training.name, *_changed(foreign), *_changed(place)])
        say(f"[{number + 1}/{len(values)}] penult {kind.verb} {command}")
        kind.train(training.settings)
        trials.append(_trial(kind, training.concentration, place.runs / training.name))
    best = (max if kind.larger else min)(trials, key=lambda trial: trial.score)
    return Choice(task, kind, tuple(trials), best)


def _images(
    model: str, data: str | None, image_size: int | None, classes: str | None
) -> tuple[str, int | None, str | None]:
    """Which images to train on, what a folder's pictures are brought to, and which of the classes are wanted."""
    if data is not None:
        return data, image_size, classes
    if is_saved(model) or not is_run(model):
        raise InputError(f"which images to train on with the prior of {model}: give --data")
    trained = trained_on(Run(model))
    size = trained.image_size if image_size is None else image_size
    return trained_data(Run(model), None), size, trained.classes if classes is None else classes


def _trainings(
    task: str, kind: DownstreamTask, request: Request, values: Sequence[float], options: Sequence[str]
) -> list[_Training]:
    """The training of each value.

    Raises:
        InputError: options that the task's verb does not take, or that leave nothing to compare the values by.
    """
    parsed, asked = kind.parsed() if kind.parsed else kind.settings, _asked(kind, options)
    model = request.model
    source = Path(model).name.removesuffix(".safetensors") if is_run(model) else model
    (begin,) = asked.pop("name", [slug(f"{source}-{task}")])
    trainings = []
    for value in values:
        name, words = f"{begin}-kappa{_plain(value)}", _words(kind, request, asked, value)
        settings = _parsed(kind, parsed, words, options)
        settings = replace(settings, foreign=request.foreign, where=request.place.where(name))
        trainings.append(_Training(value, name, words, settings))
    if lack := kind.lacks(trainings[0].settings):
        raise InputError(f"--train {lack}")
    return trainings


def _asked(kind: DownstreamTask, options: Sequence[str]) -> dict[str, list[str]]:
    """The user's options by name, a name without value for a switch."""
    given = (
        "data",
        "image-size",
        "classes",
        "concentration",
        "space",
        "directions",
        *kind.own(Request("", 2, "", None, None, Foreign(), Place(), Gauge())),
    )
    known = {name.replace("_", "-"): value for name, value in identity(kind.settings(*kind.begins)).items()}
    known = {"name": ""} | {name: value for name, value in known.items() if name not in given}
    switches = {name for name, value in known.items() if isinstance(value, bool)}
    switches |= {f"no-{name}" for name in switches}
    asked: dict[str, list[str]] = {}
    for option in options:
        name, equals, value = option.lstrip("-").partition("=")
        name = name.replace("_", "-")
        if name in given:
            raise InputError(f"--train {option}: the sweep gives {name} itself; leave it out")
        if name not in {*known, *switches}:
            raise unknown(f"option of penult {kind.verb} (--train)", name, sorted(known))
        switch = name in switches
        if switch == bool(equals) or (equals and not value) or name in asked:
            expected = "the name alone, once" if switch else f"{name}=VALUE, once"
            raise InputError(f"--train {option}: expected {expected}")
        asked[name] = [] if switch else [value] if name == "name" else value.split(",")
    return asked


def _words(kind: DownstreamTask, request: Request, asked: dict[str, list[str]], value: float) -> list[str]:
    """The command line of one training, without its place."""
    words = [*kind.begins, "--data", request.data]
    if request.image_size is not None:
        words += ["--image-size", str(request.image_size)]
    if request.classes is not None:
        words += ["--classes", request.classes]
    for name, text in kind.own(request).items():
        words += [f"--{name}", text]
    words += ["--concentration", _plain(value), *request.gauge.given().split()]
    for name, texts in asked.items():
        words += [f"--{name}", *texts]
    return words


def _changed(section: Foreign | Place) -> list[str]:
    """The flags of a section that differ from their defaults."""
    words = []
    for part in fields(section):
        value, usual = getattr(section, part.name), getattr(type(section)(), part.name)
        if value != usual:
            values = value if isinstance(value, tuple) else (value,)
            words += [f"--{part.name.replace('_', '-')}", *map(str, values)]
    return words


def _parsed(kind: DownstreamTask, config: type, words: list[str], options: Sequence[str]):
    """The settings that the words mean.

    Raises:
        InputError: as for `parse`; the options are named, which is where such a word is from.
    """
    try:
        return parse(config, kind.verb, "", words)
    except InputError as error:
        raise InputError(f"--train {' '.join(options)}: {error}" if options else str(error)) from None


def _plain(value: float) -> str:
    """A number as one types it: 20 rather than 20.0."""
    return repr(value).removesuffix(".0")


def _trial(kind: DownstreamTask, value: float, folder: Path) -> Trial:
    run = Run(folder)
    result = run.result()
    best = result.get("best")
    named = best.items() if isinstance(best, dict) else ()
    score = next((score for name, score in named if name.partition(" (")[0] == kind.metric), None)
    if not isinstance(score, float):
        raise InputError(f"{folder} has no {kind.title} to compare values by: train it with held-out images")
    epochs = result["epochs"] * result["best step"] / result["steps"]
    return Trial(value, score, epochs, folder)
