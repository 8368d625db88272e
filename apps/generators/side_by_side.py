"""Several generators of the same images side by side: their samples in one picture, their likelihoods in one table."""

from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from apps.command.config import Place
from apps.command.console import counted, table
from apps.data import sources
from apps.figures import grid
from apps.generators.hyperspherical_vae import HypersphericalVAE
from apps.generators.likelihood import Likelihood, likelihood
from apps.models.drawing import draw_all
from apps.models.named import generator_run
from apps.training.session import start, sweeping

MOST_SCORED = 1000
"""Test images scored at the most: ten decodings for each of 500 draws of each take their time."""
MOST_SHOWN = 10
"""Classes in the picture at the most."""


def show_side_by_side(
    runs: Sequence[Path], picture: Path, data: str, place: Place, *, columns: int, samples: int, seed: int = 0
) -> int:
    """Draw samples of each generator, score the test images by each, and print the table.

    Args:
        runs: folders of finished HVAEs, in the order of the table; the picture shows the last one first.
        picture: where to draw.
        data: name of the images that they were trained on.
        place: where data sets are, and what computes.
        columns: samples a class.
        samples: K, importance samples an image.
        seed: of the samples in the picture.

    Returns:
        how many classes are shown.

    Raises:
        InputError: no such images, or a run that is not a finished generator.
    """
    accelerator = start(place.where(), work="small")
    test = sources.load(data, "test", root=place.data_root)
    scored, scope = test, f"{counted(len(test), 'test image')} of {data}"
    if len(test) > MOST_SCORED:
        scored, scope = test.subset(range(MOST_SCORED)), f"the first {MOST_SCORED:,} of {scope}"
    shown = min(MOST_SHOWN, test.classes)
    panels, titles, rows = [], [], []
    for folder in runs:
        model = generator_run(folder).to(accelerator.device)
        found = likelihood(model, scored, sweeping(accelerator, progress=True), samples=samples, seed=0)
        rows.append(_row(model, found))
        panels.append(_panel(model, shown, columns, seed))
        titles.append(model.title if model.conditional else f"{model.title}: any class")
    if accelerator.is_main_process:
        grid(picture, panels[::-1], titles[::-1], test.class_names[:shown])
        table(
            f"{scope}, in nats; K = {counted(samples, 'importance sample')}",
            ("model", "ELBO", "log p(x|i)", "log p(x,i)", "log p(x)"),
            rows,
            "ELBO bounds log p(x) of HVAE and log p(x|i) of the others; log p(x) compares all (mean +- standard error)",
        )
    return shown


def _row(model: HypersphericalVAE, found: Likelihood) -> tuple[str, ...]:
    """A generator's likelihoods, a dash for what an unconditional one does not have."""
    labelled = [f"{mean.value:.2f}" if mean else "-" for mean in (found.given_label, found.joint)]
    return model.title, f"{found.elbo.value:.2f}", *labelled, str(found.marginal)


def _panel(model: HypersphericalVAE, classes: int, columns: int, seed: int) -> Tensor:
    """Samples (classes, columns, C, H, W); of an unconditional generator as many of any class."""
    if model.conditional:
        return draw_all(model, range(classes), columns, seed)
    images = draw_all(model, None, columns * classes, seed).flatten(0, 1)
    return images[: columns * classes].unflatten(0, (classes, columns))
