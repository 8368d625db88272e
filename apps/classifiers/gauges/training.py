"""How a classifier's gauge moves while it is trained: which runs, what is printed of them, and where it is kept."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from accelerate import Accelerator

from apps.classifiers.gauges.figures import draw
from apps.classifiers.gauges.stages import FILE, GaugeStage, keep, measure
from apps.classifiers.gauges.sum_of_weights import has_law, kept
from apps.classifiers.settings import GaugeFollowing
from apps.classifiers.stages import Stage, stages
from apps.command.config import Optimisation, restored
from apps.command.console import counted, say, table
from apps.data.image_set import ImageSet
from apps.figures import PICTURE_SUFFIXES, short_names
from apps.models.activations import images_for
from apps.models.named import classifier, open_run, own_run, trained_on
from apps.runs.evaluations import claim_evaluations
from apps.runs.outputs import check_file, check_writable
from apps.runs.run import Run
from apps.training.session import start
from priors.errors import InputError


@dataclass(frozen=True)
class _Followed:
    """A run that is looked at."""

    model: str
    """As on the command line."""
    run: Run
    stages: tuple[Stage, ...]
    train: ImageSet
    test: ImageSet
    earlier: list[dict[str, Any]]
    """What its file holds so far."""


def follow_gauges(config: GaugeFollowing) -> None:
    """Measure the gauges of each run's snapshots, print them, keep them beside the run and draw them.

    Raises:
        InputError: no such run or images, one that is no classifier, one given twice, or a place that cannot be
            written.
    """
    out = _place(config)
    followed = [_followed(model, config) for model in config.models]
    if config.out is None:
        check_writable(out, str(out))
    accelerator = start(config.place.where())
    found = [_measured(one, config, accelerator) for one in followed]
    if not accelerator.is_main_process:
        return
    laws = [_by_law(one.run, parts) for one, parts in zip(followed, found, strict=True)]
    for one, parts, law in zip(followed, found, laws, strict=True):
        _print(one, parts, law)
        keep(one.run.folder / FILE, _protocol(one, config), parts, law, one.earlier)
    names = short_names([str(one.run.folder.resolve()) for one in followed])
    draw(out, dict(zip(names, found, strict=True)), dict(zip(names, laws, strict=True)))
    files = ", ".join(str(one.run.folder / FILE) for one in followed)
    say(f"Written to {files}; the picture is {out}.")


def _place(config: GaugeFollowing) -> Path:
    """Where to draw; what needs no network to be refused is refused here."""
    folders = [own_run(model, "its gauges are kept").folder.resolve() for model in config.models]
    twice = next((model for at, model in enumerate(config.models) if folders[at] in folders[:at]), None)
    if twice is not None:
        raise InputError(f"{twice} is given twice: give each run once")
    if config.out is not None:
        check_file(config.out, PICTURE_SUFFIXES, config.overwrite)
        return config.out
    if len(folders) > 1:
        raise InputError("where to draw? Several runs have no one folder: give --out")
    return Path(config.models[0]) / "gauges.png"


def _followed(model: str, config: GaugeFollowing) -> _Followed:
    """A run with its images; one without snapshots is told how to keep some.

    Raises:
        InputError: it is no classifier, its images are not there, or its file cannot be added to.
    """
    run, network = open_run(model), classifier(model)
    place = {"data": config.data, "classes": config.classes, "root": config.place.data_root}
    train = images_for(model, network, "train", **place)
    test = images_for(model, network, "test", **place, again=True)
    earlier = claim_evaluations(run.folder, FILE)
    moments = stages(model, run)
    if len(moments) == 1:
        say(
            f"{model} has no snapshots, so only its {moments[0].final} weights are looked at: train with --snapshots 0 "
            "100 1000 to keep some."
        )
    return _Followed(model, run, tuple(moments), train, test, earlier)


def _measured(followed: _Followed, config: GaugeFollowing, accelerator: Accelerator) -> list[GaugeStage]:
    """Each of the run's moments."""
    found = []
    for stage in followed.stages:
        said = f"{followed.run.folder.name}, step {_said(stage)}"
        network = classifier(stage.model)
        found.append(
            measure(
                network,
                followed.train,
                followed.test,
                accelerator,
                step=stage.step,
                final=stage.final,
                description=said,
            )
        )
    return found


def _said(one: Stage | GaugeStage) -> str:
    """A moment in a word."""
    if one.step is None:
        return one.final
    return f"{one.step:,} ({one.final})" if one.final else f"{one.step:,}"


def _by_law(run: Run, found: Sequence[GaugeStage]) -> list[float]:
    """The mean row's length by the law of the sum of weights, from the first moment on; NaN where there is no law."""
    stored, result = run.config(), run.result()
    if stored["verb"] != "train classifier" or result.get("stopped early") or any(one.step is None for one in found):
        return [math.nan] * len(found)
    settings, planned = restored(Optimisation, stored["config"]), result.get("steps")
    if not has_law(settings) or not isinstance(planned, int):
        return [math.nan] * len(found)
    share = kept(settings, planned)
    first = found[0]
    return [first.total.mean_row * float(share[one.step] / share[first.step]) for one in found]


def _protocol(one: _Followed, config: GaugeFollowing) -> dict[str, Any]:
    """What the file says that the numbers are of."""
    return {
        "data": config.data or trained_on(one.run).data,
        "data_digest": one.test.digest,
        "images": len(one.test),
    }


def _print(followed: _Followed, found: Sequence[GaugeStage], law: Sequence[float]) -> None:
    """Two tables, a row a moment: the sum of the weights with the cosines, and densities with the fitted shift."""
    gauges = list(dict.fromkeys(name for one in found for name in one.cosine))
    images = f"{counted(len(followed.test), 'test image')} of {followed.test.name}"
    without = "".join(f"; without {said}" for said in dict.fromkeys(said for one in found for said in one.without))
    table(
        f"{followed.model}: the sum of the weights, and the mean cosine of {images} with their class in each gauge",
        ("step", "accuracy", "|w|", "by law", "rel.", *map(_head, gauges)),
        [
            (
                _said(one),
                f"{one.accuracy:.2%}",
                f"{one.total.mean_row:.4f}",
                _number(by_law, ".4f"),
                f"{one.total.length:.3f}",
                *(_number(one.cosine.get(name, math.nan), ".3f") for name in gauges),
            )
            for one, by_law in zip(found, law, strict=True)
        ],
        "|w|: length of the mean of the final layer's weights w_i; by law: what gradients that sum to zero, and weight "
        "decay, make of the first row's (SGD alone); rel.: |w| over the mean |w_i|; cosines: in the raw space, and "
        "(wh.) in the whitened one; gauges are measured on the training images" + without,
    )
    say()
    others = [name for name in gauges if any(name in one.above for one in found)]
    errors = [error for one in found for _, error in one.above.values() if math.isfinite(error)]
    table(
        "log q above the raw weights' in nats, and the vector c that fits w_i + c",
        ("step", *map(_head, others), "|c|", "c, -w", "c, mean a"),
        [
            (
                _said(one),
                *(_number(one.above.get(name, (math.nan, 0))[0], "+.2f") for name in others),
                _number(one.total.shift, ".3f"),
                _number(one.total.against_mean_row, ".3f"),
                _number(one.total.along_activations, ".3f"),
            )
            for one in found
        ],
        "log q: mean log-density of the test activations under their class"
        + (f", standard errors up to {max(errors):.2g}" if errors else "")
        + "; |c|: over the mean |w_i|; c, -w and c, mean a: cosines of c with minus the mean weight, which centring "
        "adds, and with the mean activation",
    )
    say()


def _head(gauge: str) -> str:
    """A gauge at the head of a column."""
    space, _, directions = gauge.partition(", ")
    return directions if space == "raw" else f"wh. {directions}"


def _number(value: float, form: str) -> str:
    return format(value, form) if math.isfinite(value) else "-"
