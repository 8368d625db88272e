"""What a run's folder holds for its page: read as it is, with samples drawn from its weights."""

import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from apps.autoencoders.kinds import AUTO_ENCODER
from apps.command.console import counted
from apps.figures import mosaic
from apps.generators import interpolation
from apps.generators.class_latents import ClassLatents
from apps.generators.hyperspherical_vae import HypersphericalVAE
from apps.inverting.kinds import INVERSION
from apps.models.drawing import draw_all
from apps.models.generator import GENERATOR, Generator
from apps.models.named import classifier, open_run
from apps.models.registry import kind_of
from apps.report.layers import FILE as LAYERS
from apps.report.published import Published, published
from apps.runs.evaluations import read_evaluations
from apps.runs.public import public
from apps.runs.quantities import Panel, panels
from apps.runs.run import Run
from priors.errors import InputError, reason
from priors.files.json_files import read_json
from priors.files.regular import read_bytes
from priors.files.tensors import read_tensors
from priors.model.class_table import ClassSummary
from priors.model.classifier_prior import ClassifierPrior
from priors.model.provenance import PAPERS

ANALYSES = {
    "normalised.json": "Accuracy with activations and weights normalised",
    "anomaly.json": "Out-of-distribution scores and calibration",
    "gauges.json": "The gauge of the prior through the training",
    "robustness.json": "How far images have to be changed for a wrong class",
}
"""Results of `penult analyse`, and what they are called."""
_CAPTIONS = {
    "circle": "Normalised activations on the circle (dots) and each class's von Mises-Fisher density (curves)",
    "circle-gauges": "The same in each gauge of the prior",
    "reconstructions": "Test images, and what the model makes of them",
    "anomaly": "Scores of the classifier's own test images and of others",
    "reliability": "How often the predicted class is the right one, by the probability it was given",
    "robustness": "Changes of images towards wrong classes, by rank of the class",
    "gauges": "Activations in each gauge of the prior through the training, and the sum of the weights",
    "samples": "Samples",
    "layers": "Layers through several lenses: means over images with standard errors; grey: no value",
}
_ELSEWHERE = ("curves",)
"""Pictures that the page draws itself."""
_MOST_CLASSES, _MOST_GRIDS = 20, 4
_MOST_BETWEEN = 5
_STEPS = 10
_CENTRES = "z moves along the great circle between the directions of the two classes"
_DRAWS = "z moves along the great circle between two draws"
_CODES = "The class code moves in a straight line, at a fixed z"
_SAMPLE_WIDTH = 84
"""Pixels that a sample is magnified to at least, by a whole number."""
_GAP = 4
"""Pixels between samples."""


@dataclass(frozen=True)
class Picture:
    """A PNG.

    Attributes:
        name: of its file or row.
        caption: what it shows.
        png: its bytes.
        width: in pixels.
        height: in pixels.
    """

    name: str
    caption: str
    png: bytes
    width: int
    height: int


@dataclass(frozen=True)
class Samples:
    """Images drawn from a generator.

    Attributes:
        rows: one a class, or a single one of an unconditional model.
        count: images a class; of an unconditional model, in all.
        classes: how many the model has; more than rows, where those would be too many.
        seed: of the draws.
        means: whether they are the mean images of an autoencoder.
        interpolations: from one class to the next (none of a single class), or from draw to draw of an unconditional
            model.
        way: what they move along.
    """

    rows: tuple[Picture, ...]
    count: int
    classes: int | None
    seed: int
    means: bool
    interpolations: tuple[Picture, ...]
    way: str


@dataclass(frozen=True)
class Contents:
    """All that a run's page shows.

    Attributes:
        folder: the run's.
        title: what the run is, in a line.
        verb: that made it.
        command: words it was made by, after `penult`.
        config: what decides its numbers.
        older: by key, what an older run that lacks it did.
        environment: where it was trained.
        result: of its training.
        evaluations: protocols with their scores.
        published: what a paper says of such a run.
        protocol: the convention of its latents, for the numbers.
        panels: curves of its training.
        samples: of a generator.
        classes: the class prior's table.
        class_note: what the table is of, or why there is none.
        stored_prior: whether the prior is the generator's own, with its concentrations.
        analyses: by title, JSON as it was found.
        layers: what `penult analyse layers` has kept.
        pictures: the other pictures of its folder.
    """

    folder: Path
    title: str
    verb: str
    command: tuple[str, ...]
    config: dict[str, Any]
    older: dict[str, Any]
    environment: dict[str, Any]
    result: dict[str, Any]
    evaluations: tuple[dict[str, Any], ...]
    published: Published | None
    protocol: str
    panels: tuple[Panel, ...]
    samples: Samples | None
    classes: tuple[ClassSummary, ...]
    class_note: str
    stored_prior: bool
    analyses: dict[str, Any]
    layers: list[dict[str, Any]]
    pictures: tuple[Picture, ...]


def contents(folder: Path, n: int = 8, seed: int = 0) -> Contents:
    """Read a finished run.

    Args:
        folder: the run's.
        n: samples a class to draw of a generator; of an unconditional one 10 n in all.
        seed: of those.

    Raises:
        InputError: no run, not finished, or a file of it that is damaged.
    """
    run = open_run(folder)
    folder = run.folder
    stored, result = run.config(), run.result()
    config = stored["config"]
    shown = public(config)
    kind = kind_of(run)
    model = kind.read(run) if kind.family == GENERATOR else None
    if kind.family == INVERSION:
        given = config.get("site") or "no context"
        title, protocol, samples, classes, note = f"{kind.name} of {shown.get('data')} given {given}", "", None, (), ""
    elif kind.family == AUTO_ENCODER:
        title = f"auto-encoder of {shown.get('arch')} on {shown.get('data')}, code: {shown.get('code')}"
        protocol, samples, classes, note = "", None, (), ""
    elif model is None:
        title, protocol, samples = _classifier_title(shown), "", None
        classes, note = _directions(run)
    else:
        title, protocol = _of_generator(model, shown)
        prior = model.class_prior()
        samples = _samples(model, n, seed) if n else None
        classes = () if prior is None else prior.class_table()
        note = "" if prior is None else _provenance(prior)
    return Contents(
        folder=folder,
        title=title,
        verb=str(stored["verb"]),
        command=tuple(map(str, public(stored.get("command") or []))),
        config=config,
        older=stored.get("older") if isinstance(stored.get("older"), dict) else {},
        environment=stored.get("environment") if isinstance(stored.get("environment"), dict) else {},
        result=result,
        evaluations=tuple(read_evaluations(folder)),
        published=published(folder.resolve().name, config, getattr(model, "dim", None)),
        protocol=protocol,
        panels=panels(run.metrics()),
        samples=samples,
        classes=classes,
        class_note=public(note),
        stored_prior=model is not None,
        analyses={
            title: public(read_json(folder / name, "result of an analysis"))
            for name, title in ANALYSES.items()
            if (folder / name).exists()
        },
        layers=read_evaluations(folder, LAYERS),
        pictures=_pictures(folder),
    )


def _raised(number: int) -> str:
    return str(number).translate(str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹"))


def _of_generator(model: Generator, config: dict[str, Any]) -> tuple[str, str]:
    """Its title, and how likelihoods are meant where it has any."""
    if isinstance(model, HypersphericalVAE):
        sphere = f"sphere S{_raised(model.dim - 1)} in R{_raised(model.dim)}"
        protocol = f"{sphere}, encoder {'q(z|x, i)' if model.encoder_label else 'q(z|x)'}"
        return f"{model.title} on {config.get('data')}, latent {sphere}", protocol
    latent = model.latent
    title = f"{model.title} on {config.get('data')}, {latent.name} latents in R{_raised(latent.dim)}"
    return title, ""


def _classifier_title(config: dict[str, Any]) -> str:
    width = f" with {counted(str(config['penultimate']), 'penultimate unit')}" if config.get("penultimate") else ""
    if "terms" in config:
        shift = f", shifted by {config['shift']}" if config.get("shift") else ""
        return (
            f"student {config.get('student', '')}{width} on {config.get('data')}{shift}, distilled by {config['terms']}"
        )
    return f"classifier {config.get('arch', '')}{width} on {config.get('data')}"


def _directions(run: Run) -> tuple[tuple[ClassSummary, ...], str]:
    """The class table of a classifier, and what it is of; a network that cannot be built here has none."""
    described = read_json(run.folder / "model.json", "model description")
    wrapped = described.get("wrapped")
    network = classifier(str(run.folder)) if wrapped is None else None
    try:
        # No matter which concentration: only directions are shown.
        prior = _stored_prior(run, wrapped) if network is None else ClassifierPrior.from_classifier(network, 1.0)
    except InputError as error:  # a single penultimate unit has no directions
        return (), f"No prior in the final layer: {error}."
    return prior.class_table(), (
        f"|w|: norm of the final layer's weight; nearest: the class whose direction in R{_raised(prior.dim)} "
        "is closest, with the cosine between the two."
    )


def _stored_prior(run: Run, wrapped: Any) -> ClassifierPrior:
    """The prior of a network of the user's own by its stored weights: a page runs no code.

    Raises:
        InputError: the final layer's weight is not stored as it is applied, or has no directions.
    """
    place = run.folder / "model.safetensors"
    tensors, _ = read_tensors(place)
    names = wrapped.get("class_names") if isinstance(wrapped, dict) else None
    layer = f"network.{wrapped.get('head')}".removesuffix(".") if isinstance(wrapped, dict) else ""
    if f"{layer}.weight" not in tensors:
        raise InputError(f"{place} does not hold its weight as it is; see penult prior {run.quoted}")
    return ClassifierPrior.from_weight(tensors[f"{layer}.weight"], 1.0, class_names=names)


def _provenance(prior: ClassifierPrior) -> str:
    source = prior.provenance
    papers = source.gauge == PAPERS
    gauge = "" if papers else f"; gauge (space, directions): {source.gauge}"
    row = "the layer's weight" if papers else "its row in that gauge"
    return (
        "The prior of z, stored with the run: von Mises-Fisher distributions on the unit sphere of "
        f"R{_raised(prior.dim)}, from the final layer of {source.network}, trained on {source.dataset}; concentration "
        f"{source.concentration}{gauge}. |w|: norm of {row}; cosine: to the direction of the nearest class."
    )


def _samples(model: Generator, n: int, seed: int) -> Samples:
    """Mean images, `n` a class of the first classes, or 10 n of an unconditional model, and what lies between some."""
    between, means = _interpolations(model, seed), isinstance(model, HypersphericalVAE)
    if not model.conditional:
        images = draw_all(model, None, 10 * n, seed)
        sheet = _strip(images, "samples", f"{10 * n} samples")
        return Samples((sheet,), 10 * n, None, seed, means, between, _DRAWS)
    labels = range(min(len(model.class_names), _MOST_CLASSES))
    drawn = draw_all(model, labels, n, seed)
    names = [model.class_names[label] for label in labels]
    rows = tuple(
        _strip(images[None], name, f"{counted(n, 'sample')} of class {name}")
        for name, images in zip(names, drawn, strict=True)
    )
    way = _CENTRES if isinstance(model, ClassLatents) else _CODES
    return Samples(rows, n, len(model.class_names), seed, means, between, way)


def _interpolations(model: Generator, seed: int) -> tuple[Picture, ...]:
    """Figure 4 or 5 of Seo, Lee and Kwak (2021): from each of the first classes to the next; autoencoders have them."""
    if not isinstance(model, HypersphericalVAE):
        return ()
    labels = range(min(len(model.class_names) - 1, _MOST_BETWEEN)) if model.conditional else ()
    chains = [(label, label + 1) for label in labels]
    if model.conditional and not chains:  # a single class has no next one
        return ()
    rows = 1 if chains else _MOST_BETWEEN
    ends = "centres" if isinstance(model, ClassLatents) else None
    images, names = interpolation.draw(model, chains, ends, rows, _STEPS, seed)
    if not chains:
        names = [f"{2 * row + 1}{interpolation.ARROW}{2 * row + 2}" for row in range(rows)]
    return tuple(_strip(row[None], name, f"{_STEPS} images, {name}") for row, name in zip(images, names, strict=True))


def _strip(images: Tensor, name: str, caption: str) -> Picture:
    """Rows and columns of images (rows, columns, C, H, W), magnified by a whole number, as a PNG with clear gaps."""
    scale = max(1, -(-_SAMPLE_WIDTH // images.shape[-1]))
    large = images.repeat_interleave(scale, -1).repeat_interleave(scale, -2)
    sheet = mosaic(large, gap=_GAP)
    gaps = mosaic(torch.zeros_like(large[:, :, :1]), gap=_GAP)  # white where there is no image
    drawn = Image.fromarray(sheet.squeeze(-1) if sheet.shape[-1] == 1 else sheet)
    drawn.putalpha(Image.fromarray(255 - gaps.squeeze(-1)))
    buffer = io.BytesIO()
    drawn.save(buffer, "PNG")
    return Picture(name, caption, buffer.getvalue(), *drawn.size)


def _pictures(folder: Path) -> tuple[Picture, ...]:
    """The PNGs of a folder, those that are known first, and some that its training drew on the way."""
    files = [file for file in sorted(folder.glob("*.png")) if file.stem not in _ELSEWHERE]
    known: Sequence[str] = list(_CAPTIONS)
    files.sort(key=lambda file: (known.index(file.stem) if file.stem in known else len(known), file.name))
    files = [file for file in files if not file.name.startswith(".")]
    grids = sorted(file for file in folder.glob("grids/step-*.png") if _step(file).isdecimal())
    most = min(_MOST_GRIDS, len(grids))
    spread = sorted({round(place * (len(grids) - 1) / max(1, most - 1)) for place in range(most)})
    meanwhile = [
        read_picture(file, f"Samples after {counted(int(_step(file)), 'step')}")
        for file in (grids[at] for at in spread)
    ]
    return (*map(read_picture, files), *meanwhile)


def _step(file: Path) -> str:
    return file.stem.removeprefix("step-")


def read_picture(file: Path, shows: str = "") -> Picture:
    """A PNG of a run's folder.

    Args:
        file: its place.
        shows: what it shows; empty: as its name says.

    Raises:
        InputError: it is not there, or no PNG.
    """
    png = read_bytes(file, "picture")  # one line for a folder in its place
    try:
        with Image.open(io.BytesIO(png), formats=["PNG"]) as opened:
            opened.load()
            width, height = opened.size
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise InputError(f"{file} is no readable PNG ({reason(error)}): draw it again, or move it away") from None
    return Picture(file.stem, shows or _CAPTIONS.get(file.stem) or caption(file.stem), png, width, height)


def caption(stem: str) -> str:
    """What a picture shows, from its file's name.

    Example:
        >>> caption("interpolation-1-2"), caption("anomaly_roc")
        ('Interpolation 1 2', 'Anomaly roc')
    """
    words = re.sub(r"[-_]+", " ", stem).strip() or stem
    return words[:1].upper() + words[1:]
