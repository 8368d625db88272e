"""The quantities that a training has logged, under the names and units that readers know.

`metrics.jsonl` has the losses that are optimised; what a reader follows is the bound and its parts, on training and on
held-out images alike. The run's picture and its page read them here.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

KINDS = ("train", "validation", "test")
"""Sets of images, in the order in which they are shown."""
_MOST_POINTS = 300
_NAMES = {
    "elbo": ("ELBO", "nats an image"),
    "reconstruction": ("reconstruction", "nats an image"),
    "divergence": ("KL divergence", "nats an image"),
    "cross-entropy": ("cross-entropy", "nats"),
    "accuracy": ("accuracy", "share of the images"),
    "NCE": ("NCE", "nats an image"),
    "mean squared error": ("mean squared error", "of pixel values from 0 to 1"),
    "PSNR": ("PSNR", "dB"),
}
"""By the name of a quantity in `metrics.jsonl`, what readers call it, and its unit."""
_ORDER = tuple(_NAMES)
_PARTS = ("train/distortion", "train/weighted divergence", "train/label")
"""Losses of an autoencoder that are turned into the parts of its bound."""


@dataclass(frozen=True)
class Curve:
    """One quantity on one set of images.

    Attributes:
        kind: "train", "validation" or "test".
        steps: optimiser steps.
        values: of the quantity, in the panel's unit.
    """

    kind: str
    steps: tuple[int | float, ...]
    values: tuple[float, ...]


@dataclass(frozen=True)
class Panel:
    """One quantity over a training.

    Attributes:
        name: of the quantity.
        unit: of its values; empty where it is not known.
        curves: one a set of images.
        notes: what has to be known to read them.
    """

    name: str
    unit: str
    curves: tuple[Curve, ...]
    notes: tuple[str, ...]


def panels(entries: Sequence[dict]) -> tuple[Panel, ...]:
    """The quantities of `metrics.jsonl` that moved, training and validation under one name.

    The losses of an autoencoder are turned into the parts of its bound, so that they can be compared with those on held
    out images: the bound is minus their sum, the reconstruction minus the distortion.
    """
    found: dict[str, dict[str, tuple[list, list]]] = {}
    labelled = False
    for entry in entries:
        step = entry.get("step")
        if not _is_number(step):
            continue
        labelled = labelled or "validation/log p(i)" in entry
        for key, value in (entry | _bound(entry)).items():
            kind, _, name = key.partition("/")
            if kind not in ("train", "validation") or not _is_number(value):
                continue
            if name.startswith("test "):  # the test images stood in for held-out ones
                kind, name = "test", name.removeprefix("test ")
            if key in _PARTS or name == "log p(i)":  # a constant of the data set
                continue
            steps, values = found.setdefault(name, {}).setdefault(kind, ([], []))
            steps.append(step)
            values.append(value)
    moved = {name: kinds for name, kinds in found.items() if not _constant(kinds)}
    ranked = sorted(moved, key=lambda name: _ORDER.index(name) if name in _ORDER else len(_ORDER))
    weighted = any("train/weighted divergence" in entry for entry in entries)
    return tuple(_panel(name, moved[name], labelled, weighted) for name in ranked)


def _bound(entry: dict) -> dict:
    """The parts of the bound that an autoencoder's training losses are."""
    parts = [entry.get(f"train/{name}") for name in ("distortion", "weighted divergence", "label")]
    distortion, divergence, label = (part if _is_number(part) else None for part in parts)
    if distortion is None or divergence is None:
        return {}
    return {
        "train/elbo": -(distortion + divergence + (label or 0.0)),
        "train/reconstruction": -distortion,
        "train/divergence": divergence,
    }


def _panel(name: str, kinds: dict, labelled: bool, weighted: bool) -> Panel:
    curves, notes = [], []
    for kind, (steps, values) in kinds.items():
        size = math.ceil(len(values) / _MOST_POINTS)
        blocks = range(0, len(values), size)
        curves.append(
            Curve(
                kind,
                tuple(steps[min(start + size, len(steps)) - 1] for start in blocks),
                tuple(float(np.mean(values[start : start + size])) for start in blocks),
            )
        )
        if size > 1:
            notes.append(f"{kind}: means of {size} entries")
    if name == "elbo" and labelled:
        notes.append("with log p(i)")
    if name in ("elbo", "divergence") and weighted:
        notes.append("train: KL at its warm-up weight")
    shown, unit = _NAMES.get(name, (name, ""))
    return Panel(shown, unit, tuple(sorted(curves, key=lambda curve: KINDS.index(curve.kind))), tuple(notes))


def _constant(kinds: dict[str, tuple[list, list]]) -> bool:
    values = [value for _, series in kinds.values() for value in series]
    return len(values) > 1 and min(values) == max(values)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
