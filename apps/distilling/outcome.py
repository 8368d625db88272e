"""What a distillation came to: the scores of one student, and the spread of several."""

from collections.abc import Mapping
from statistics import mean, stdev
from typing import Any

from accelerate import Accelerator
from torch import Tensor

from apps.command.console import counted, say, table
from apps.data.image_set import ImageSet
from apps.distilling.distillation import Distillation, named_means
from apps.models.accuracy import FINAL
from apps.runs.by_image import keep_by_image
from apps.runs.run import Run
from apps.training.session import on_main, sweeping
from priors.model.classifier_prior import ClassifierPrior


def scores(run: Run, task: Distillation, accelerator: Accelerator, images: ImageSet) -> dict[str, Any]:
    """Final scores of the weights that are kept, and the best test accuracy on the way, which some papers report.

    What was found of each test image is kept in the run's folder.

    Args:
        run: with the metrics of each validation.
        task: trained.
        accelerator: of this process.
        images: to test on, as they are.
    """
    rows = task.by_image(task.networks["model"], sweeping(accelerator))
    tested = {kind.removeprefix("test"): own["accuracy"] for kind, own in rows.items() if kind.startswith("test")}
    named = {f"{kind} accuracy".strip(): values for kind, values in tested.items()}
    on_main(accelerator, lambda: keep_by_image(run.folder, named, images.digest))
    found = named_means(rows, FINAL)
    result = {f"test/{name.removeprefix('test ')}": value for name, value in found.items() if name.startswith("test ")}
    first = next(name for name in found if name.startswith("test ") and name.endswith("accuracy"))
    seen = [entry[f"validation/{first}"] for entry in run.metrics() if f"validation/{first}" in entry]
    return result | {"test/best accuracy": max([*seen, found[first]]), "test/images": len(images)}


def say_pretraining(task: Distillation, epochs: float) -> None:
    """Which terms train alone before the student is trained on all of them, and for how many epochs each."""
    names = [phase.name for phase in task.phases[:-1]]
    if names:
        trains, each = ("trains", "") if len(names) == 1 else ("train", " each")
        length = counted(f"{epochs:g}", "epoch")
        say(f"{' and then '.join(names)} {trains} alone for {length}{each} first (--pretraining).")


def say_layers(task: Distillation) -> None:
    """Which layers' bias-Jacobians are compared."""
    networks = (task.objective.student, task.objective.teacher)
    ours, theirs = ([] if one is None else list(one.shapes.biased.values()) for one in networks)
    if ours:
        say(f"Bias-Jacobians: {', '.join(ours)} of the student with {', '.join(theirs)} of the teacher.")


def say_spread(terms: str, results: Mapping[int, Mapping[str, Any]]) -> None:
    """The test scores of each seed, their means and standard deviations."""
    names = [
        name
        for name in ("shifted accuracy", "accuracy", "best accuracy", "top-5 accuracy")
        if all(f"test/{name}" in result for result in results.values())
    ]
    columns = {name: [100 * result[f"test/{name}"] for result in results.values()] for name in names}
    rows = [(seed, *(f"{values[row]:.2f}" for values in columns.values())) for row, seed in enumerate(results)]
    rows.append(("mean", *(f"{mean(values):.2f} +- {stdev(values):.2f}" for values in columns.values())))
    table(
        f"{terms}: test accuracy in %",
        ("seed", *names),
        rows,
        "of the last weights; best: after any validation; +-: sd",
    )


def say_soft_labels(task: Distillation, prior: ClassifierPrior | None) -> None:
    """How sure the targets of ckd and class-means are, since that hangs on concentration, dimension and temperature."""
    for name, soft in task.soft_labels.items():
        own, term = soft.diagonal(), task.objective.terms[name]
        source = "of the teacher's class means"
        if term.needs.prior:
            source = f"by a concentration of {_range(prior.concentration)} in {prior.dim} dimensions"
        others = ", the rest evenly on the others" if term.others == "even" else ""
        say(
            f"Soft labels {source}: {own.mean():.3f} on the class itself on average ({own.min():.3f} to "
            f"{own.max():.3f}){others}."
        )


def _range(values: Tensor) -> str:
    """One number where all are the same, else the smallest and the largest."""
    same = values.min() == values.max()
    return f"{values.min():.4g}" if same else f"{values.min():.4g} to {values.max():.4g}"
