"""What is printed of a prior: its classes, how vMF-like the activations are, and how a concentration was chosen."""

from apps.classifiers.prior.concentration_sweep import Choice
from apps.command.console import counted, ends, say, table
from apps.models.classifier_priors import Reading
from priors.fit.goodness_of_fit import CosineFit, fits_of
from priors.fit.likeness import Likeness
from priors.model.class_table import ClassSummary
from priors.model.classifier_prior import ClassifierPrior


def print_choice(model: str, choice: Choice) -> None:
    """What each concentration of a sweep came to.

    Args:
        model: as on the command line.
        choice: among its concentrations.
    """
    table(
        f"{model}: the concentration for {choice.name}",
        ("concentration", choice.task.title, "best at epoch", "run", ""),
        [
            (
                f"{trial.concentration:.6g}",
                f"{trial.score:.3f}",
                f"{trial.epochs:.3g}",
                trial.run,
                "chosen" if trial is choice.best else "",
            )
            for trial in choice.trials
        ],
        choice.advice,
    )


def print_classes(model: str, prior: ClassifierPrior) -> None:
    """What the weights tell of each class.

    Args:
        model: as on the command line.
        prior: of its final layer.
    """
    numbers, left_out = ends([(number, *[""] * 5) for number in range(prior.classes)], "class")
    summaries = iter(prior.class_table([row[0] for row in numbers if isinstance(row[0], int)]))
    shown = [_summary(next(summaries)) if isinstance(row[0], int) else row for row in numbers]
    table(
        f"{model}: {counted(prior.classes, 'class')} on the unit sphere of R^{prior.dim}{said_gauge(prior)}",
        ("class", "|w|", "concentration", "mean resultant length", "nearest class", "cosine"),
        shown,
        f"concentration: {prior.provenance.concentration}; |w|: norm of the final layer's weight; mean resultant "
        f"length: expected cosine with the mean direction; cosine: between the mean directions{left_out}",
    )


def print_likeness(model: str, found: Likeness) -> None:
    """How the directions go with another prior's.

    Args:
        model: the other one, as on the command line.
        found: over pairs of classes.
    """
    say(
        f"Cosines between directions, over {counted(found.pairs, 'pair')} of classes: correlation "
        f"{found.correlation:.3f} with those of {model} (p = {found.p:.3g}, by {found.permutations} permutations)"
    )


def _summary(row: ClassSummary) -> tuple[str, ...]:
    norm, concentration = f"{row.norm:.3f}", f"{row.concentration:.4g}"
    return row.name, norm, concentration, f"{row.mean_resultant_length:.3f}", row.nearest, f"{row.cosine:.3f}"


def said_gauge(prior: ClassifierPrior) -> str:
    """The gauge in words, to go on with, where it is not the usual one."""
    return said_names(prior.space.name, prior.gauge.directions, prior.space.shrinkage)


def said_names(space: str, directions: str, shrinkage: float | None) -> str:
    """The same by the names of space and directions."""
    if (space, directions) == ("raw", "weights"):
        return ""
    said = f", {directions} directions in the {space} space"
    return said if shrinkage is None else f"{said} ({shrinkage:.2g} of the covariance shrunk)"


def say_in_two_lines(reading: Reading) -> None:
    """The nearest classes, and how near the activations are to their class."""
    prior = reading.prior
    rows = prior.class_table()
    near, expected = max(rows, key=lambda row: row.cosine), sum(row.mean_resultant_length for row in rows) / len(rows)
    say(
        f"     {prior.classes} mean directions in R^{prior.dim}; the nearest two are {near.name} and {near.nearest} "
        f"(cosine {near.cosine:.2f})"
    )
    _, pooled = fits_of(prior, reading.measured.seen)
    if pooled.mean_cosine is not None:
        say(
            f"     the activations' mean cosine with their class is {pooled.mean_cosine:.2f}, and "
            f"{expected:.2f} under the prior"
        )


def print_fits(reading: Reading) -> None:
    """How the directions of the measured activations compare with the prior."""
    prior, found = reading.prior, reading.measured
    fits, pooled = fits_of(prior, found.seen)
    by_norms = ["-"] * prior.classes
    if pooled.samples and prior.gauge.directions in ("weights", "centred"):
        values = prior.with_concentration("norms", moments=found.moments).concentration.tolist()
        by_norms = [f"{value:.4g}" for value in values]
    rows = [_row(name, fit, kappa) for name, fit, kappa in zip(prior.class_names, fits, by_norms, strict=True)]
    shown, left_out = ends(rows, "class")
    zero = int(found.seen.zero.sum())
    say()
    table(
        f"directions of the activations of {found.images}",
        ("class", "images", "R", "cosine", "expected", "KS", "norms", "mle", "KS of mle"),
        [*shown, _row("all, pooled", pooled, "-")],
        "R: length of the mean direction; cosine: mean, with the class's direction; expected: that cosine under the "
        "prior; norms, mle: concentrations chosen in these ways (mle-pooled last); KS: largest gap, 0 to 1, between "
        "the distribution functions of the cosines and of the vMF's, by the prior and by mle; n draws from the vMF "
        "itself stay below 1.36 / sqrt(n) in 95 % of cases"
        + (f"; {counted(zero, 'image')} with zero activations {'is' if zero == 1 else 'are'} left out" if zero else "")
        + left_out,
    )


def _row(name: str, fit: CosineFit, by_norms: str) -> tuple[str, ...]:
    """One class's fit, or that of all; a dash where there is nothing to fit."""

    def shown(value: float | None, form: str) -> str:
        return "-" if value is None else format(value, form)

    return (
        name,
        f"{fit.samples:,}",
        shown(fit.resultant, ".3f"),
        shown(fit.mean_cosine, ".3f"),
        shown(fit.expected_cosine, ".3f"),
        shown(fit.distance, ".3f"),
        by_norms,
        shown(fit.likeliest, ".4g"),
        shown(fit.likeliest_distance, ".3f"),
    )
