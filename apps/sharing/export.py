"""A finished run as a folder to hand on: weights, how to build the model, its scores and a model card.

What is public. Weights, class names, settings, scores, versions and the command are written as they are. Paths are not:
of an absolute one, of one that begins in a home folder, and of one that climbs by `..`, only the last part is kept, as
`./NAME`. So neither a user's name nor the layout of a machine goes along. Nothing else of a run is written: no
metrics, no states, no pictures but a new grid of samples.
"""

import os
import shutil
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch

from apps.command.places import holding
from apps.command.version import own_version
from apps.generators import sampling
from apps.models.named import model_run, open_run
from apps.runs.evaluations import protocol_of, read_evaluations
from apps.runs.outputs import check_writable
from apps.runs.public import public
from apps.runs.run import Run
from apps.sharing.model_card.card import Card, Grid, card
from apps.sharing.rounding import rounded_to
from priors.errors import InputError
from priors.files.json_files import read_json, write_json
from priors.files.regular import write_bytes
from priors.files.tensors import read_tensors, write_tensors

FILES = (
    "model.safetensors",
    "model.json",
    "config.json",
    "result.json",
    "evaluation.json",
    "samples.png",
    "README.md",
)
"""All that an export may hold."""
FORMAT = "penult export 1"
"""Of the folder that is handed on; the format of its run (`apps.runs.format`) is another number."""
SAMPLES, SEED, MOST_CLASSES = 8, 0, 20
"""Images a class of the grid (ten times as many of an unconditional model), their seed, and the most classes shown."""


def check(run: Path, folder: Path, overwrite: bool) -> Path:
    """Make sure that a run can be exported to a folder; returns the folder that is meant, behind a link.

    Raises:
        InputError: no finished run; a folder that is the run's own or within it, or the current one or around it; a
            file; a folder that is not empty and may not be replaced; a place that cannot be written.
    """
    own = open_run(run).folder
    place = folder.resolve()
    if place.is_relative_to(own.resolve()):
        raise InputError(f"{folder} is within the run {run}: export to a folder outside of it")
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder} is a file: give the name of a new folder")
    if Path.cwd().is_relative_to(place):
        raise InputError(f"{folder} is the current folder, or around it: give the name of a new folder")
    if folder.is_dir() and any(folder.iterdir()):
        if not overwrite:
            raise InputError(
                f"{folder} exists and is not an empty folder: choose another, or add --overwrite where it holds an "
                "earlier export"
            )
        _check_replaceable(folder, own)
    check_writable(place, str(folder))
    return place


def _check_replaceable(folder: Path, run: Path) -> None:
    """Make sure that nothing is lost with a folder but an earlier export."""
    path = folder / "config.json"
    stored = read_json(path) if path.is_file() else None
    mark = stored.get("export") if isinstance(stored, dict) else None
    if not isinstance(mark, dict) or mark.get("format") != FORMAT:
        raise InputError(f"{folder} holds no earlier export, and only such a one is replaced: choose another folder")
    others = sorted(path.name for path in folder.iterdir() if path.name not in FILES)
    if others:
        raise InputError(f"{folder} holds {others[0]!r} beside an earlier export: move it away, or choose another")
    known = [protocol_of(entry) for entry in _evaluations(run)]
    if any(protocol_of(entry) not in known for entry in read_evaluations(folder)):
        raise InputError(
            f"{folder}/evaluation.json has scores that {run} has not: export {folder} itself to another folder to "
            "have a card with them, or move the file away"
        )


def export(
    run: Path,
    folder: Path,
    name: str,
    repository: str | None = None,
    licence: str | None = None,
    dtype: str | None = None,
) -> tuple[str, ...]:
    """Write a run's export; the folder appears when it is complete, and what was there goes then.

    Args:
        run: of a finished training.
        folder: as `check` gave it.
        name: the model's, for the card.
        repository: OWNER/NAME it will have on the Hub.
        licence: of the weights, by the Hub's identifier; None says nothing of it.
        dtype: that weights of two or more dimensions are rounded to, as torch calls it; None leaves all as they are.
            What is read again is in single precision as before. Where that changes a number, evaluations, which are of
            the weights before, are left out.

    Returns:
        The names of the files.

    Raises:
        InputError: a file of the run that is damaged, or numbers that are too large for the type.
        OSError: the disk is full or the place cannot be written; what was at `folder` is untouched.
    """
    model = model_run(run)  # what is damaged is found before anything is written, and named by its own place
    opened = Run(run)
    stored = public(opened.config())
    stored["export"] = _mark(stored.get("export"), licence, dtype)
    described = public(read_json(opened.folder / "model.json", "model description"))
    result, evaluations = public(opened.result()), _evaluations(opened.folder)
    before, metadata = read_tensors(opened.folder / "model.safetensors")
    tensors = before if dtype is None else rounded_to(dtype, before, model)
    if any(not torch.equal(tensors[name].to(one.dtype), one) for name, one in before.items()):
        evaluations = []  # which are of the weights before
    beside = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir(parents=True)
    try:
        # Written anew and not copied: with a checksum, also where the run is of before there were any.
        write_tensors(beside / "model.safetensors", tensors, metadata)
        write_json(beside / "model.json", described)
        write_json(beside / "config.json", stored)
        write_json(beside / "result.json", result)
        if evaluations:
            write_json(beside / "evaluation.json", evaluations)
        model = model_run(beside)  # so the samples show that the copy is a model
        with holding():  # the lock of the grid is no part of the folder
            grid = _draw(model, beside / "samples.png") if hasattr(model, "generate") else None
        there = [file for file in FILES if (beside / file).exists() and file != "config.json"]  # which holds them
        stored["export"]["sha256"] = {file: sha256((beside / file).read_bytes()).hexdigest() for file in there}
        write_json(beside / "config.json", stored)
        said = Card(name, repository, licence, model, described, stored, result, tuple(evaluations), grid)
        write_bytes(beside / "README.md", card(said).encode(errors="replace"))
        files = tuple(file for file in FILES if (beside / file).exists())
        _replace(folder, beside)
    except BaseException:
        shutil.rmtree(beside, ignore_errors=True)
        raise
    return files


def _mark(before: Any, licence: str | None, dtype: str | None) -> dict[str, Any]:
    """What the folder says of itself; an export of an export knows what that was rounded to, in whatever type it is."""
    before = before if isinstance(before, dict) else {}
    rounded = before.get("rounded", before.get("dtype")) if dtype == "float32" else None
    known = {"dtype": dtype or before.get("dtype"), "rounded": rounded or before.get("rounded"), "licence": licence}
    return {"format": FORMAT, "penult": own_version()} | {name: one for name, one in known.items() if one is not None}


def _evaluations(run: Path) -> list[dict[str, Any]]:
    return public(read_evaluations(run))


def _draw(model: Any, path: Path) -> Grid:
    """Draw the grid of samples."""
    labels = list(range(min(len(model.class_names), MOST_CLASSES))) if model.conditional else None
    grid = Grid(None if labels is None else len(labels), SAMPLES if model.conditional else 10 * SAMPLES, SEED)
    sampling.write(model, labels, grid.n, grid.seed, path)
    return grid


def _replace(folder: Path, beside: Path) -> None:
    """Put a complete folder in its place. Between the two renames there is none, and a kill there leaves both."""
    if not folder.is_dir() or not any(folder.iterdir()):
        os.replace(beside, folder)
        return
    earlier = folder.with_name(f".{folder.name}.earlier")
    shutil.rmtree(earlier, ignore_errors=True)
    os.replace(folder, earlier)
    try:
        os.replace(beside, folder)
    except OSError:
        os.replace(earlier, folder)
        raise
    shutil.rmtree(earlier, ignore_errors=True)
