"""Every training there is, as words of the command: found, so that a new family, term, variant, preset or latent needs
no edit here. The images are random and the networks small.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import get_args, get_type_hints

import numpy as np

from apps.autoencoders.settings import AutoEncoderTraining
from apps.command.cli import main
from apps.generators.hvae_settings import HVAESettings
from apps.generators.sngan_presets import PRESETS
from apps.generators.sngan_settings import SNGANSettings
from distill.terms import terms
from priors.zoo.catalogue import catalogue

Words = tuple[object, ...]

CLASSES, WIDTH = 3, 8
SHARED = ("--batch-size", 4, "--threads", 1)
SHAPES = {"grey": (28, 28), "colour": (32, 32, 3)}
"""Of the images, by kind."""
LARGE = 800_000
"""Parameters of a classifier that takes seconds a step on a CPU."""


@dataclass
class Given:
    """What trainings are given, made where it is first asked for.

    Attributes:
        folder: where it lies.
    """

    folder: Path
    _made: dict = field(default_factory=dict)

    def data(self, kind: str) -> Path:
        """A file of random images, of a kind of `SHAPES`."""
        path = self.folder / f"{kind}.npz"
        if not path.exists():
            images = np.random.default_rng(len(kind)).integers(0, 256, (36, *SHAPES[kind]), np.uint8)
            labels = np.arange(36) % CLASSES
            np.savez(path, x_train=images, y_train=labels, x_test=images[:6], y_test=labels[:6])
        return path

    def classifier(self, kind: str, width: int = WIDTH) -> Path:
        """A run of a classifier of such images, with so many penultimate activations."""
        runs, name = self.folder / "runs", f"{kind}-{width}"
        if name not in self._made:
            words = ("train", "classifier", "--data", self.data(kind), "--arch", "convnet-half", "--penultimate", width)
            told = (*words, "--epochs", 0.1, "--runs", runs, "--name", name, "--device", "cpu", *SHARED)
            assert main([str(word) for word in told]) == 0
            self._made[name] = runs / name
        return self._made[name]


def choices(settings: type, flag: str) -> tuple[str, ...]:
    """What a flag can be."""
    return get_args(get_type_hints(settings)[flag])


@cache
def smallest() -> dict[str, bool]:
    """The smallest classifier of each family, and whether it takes long."""
    families = {}
    for entry in catalogue():
        size = LARGE if entry.parameters is None else entry.parameters
        families.setdefault(entry.family, []).append((size, entry.name.replace("NAME", "resnet18")))
    return {name: size >= LARGE for size, name in map(min, families.values())}


WAYS = {
    "crops and flips": ("--augment", "crop+flip"),
    "resized crops": ("--augment", "resized-crop"),
    "mirrored edges": ("--augment", "crop+flip", "--crop-fill", "reflect"),
    "mixing": ("--mixup", 0.2, "--label-smoothing", 0.1),
    "regularised": ("--regularise", "bias-jacobian:1", "dropout:0.5", "bias-decay:0.1"),
    "frozen in part": ("--freeze", "hidden1", "--head-lr", 0.01),
    "parts, clipped and averaged": ("--accumulate", 2, "--clip", 1, "--ema", 0.9),
    "sgd": ("--optimizer", "sgd", "--weight-decay", 1e-4, "--schedule", "step"),
    "adamw": ("--optimizer", "adamw", "--warmup", 0.1),
}
"""Of training a classifier."""
CODES = choices(AutoEncoderTraining, "code")
"""Of an auto-encoder."""
VARIANTS = choices(HVAESettings, "variant")
DIMS = (2, 3, WIDTH)
"""Of latents on a sphere; the first two have ways of their own to be drawn."""
CONVOLUTIONS = ("--networks", "conv", "--encoder-label")
"""Networks that see the label beside their maps."""
LATENTS = choices(SNGANSettings, "latent")
ALL = ("--r1", 1, "--r1-every", 1, "--augment", "colour", "translation", "cutout", "--standing", 2)
"""What an SNGAN can be trained with."""
SNGANS = {preset: (preset, "gaussian", ()) for preset in PRESETS} | {
    latent: (next(iter(PRESETS)), latent, ALL) for latent in LATENTS
}
"""By name, the preset, the latent and more."""


def slow_sngan(name: str) -> bool:
    """Whether one of those is left to --slow: the others have all parts between them."""
    return name not in ("vmf", "biggan")


CACHED = ("--cache-logits", "logits")
"""A teacher's logits are kept in a folder beside."""
DENSITIES = {("grey", "penultimate"): 2, ("grey", "none"): 1, ("colour", "none,penultimate"): 3}
"""By images and taps, how many densities and decoders are trained."""


def classifier(given: Given, name: str, *more: object) -> Words:
    """A classifier's."""
    return ("train", "classifier", "--data", given.data("colour"), "--arch", name, *more, *SHARED)


def hvae(given: Given, variant: str, dim: int, *more: object) -> Words:
    """An autoencoder's on a sphere."""
    words = ("train", "hvae", "--data", given.data("grey"), "--variant", variant, "--latent-dim", dim)
    if variant == "hvae-l":
        words += ("--classifier", given.classifier("grey", dim))
    sizes = ("--channels", 4) if "conv" in more else ("--hidden", 16)
    words += ("--convention", "ambient", "--validation", 6, *sizes, "--ema", 0.9)
    return (*words, *more, *SHARED)


def autoencoder(given: Given, code: str, *more: object) -> Words:
    """An auto-encoder's, of a classifier's layers."""
    words = ("train", "autoencoder", "--data", given.data("colour"), "--arch", "convnet-half", "--code", code)
    return (*words, "--decoder-width", 4, "--validation", 6, "--augment", "flip", *more, *SHARED)


def sngan(given: Given, name: str, *more: object) -> Words:
    """An SNGAN's, one of `SNGANS`."""
    preset, latent, how = SNGANS[name]
    words = ("train", "sngan", "--data", given.data("colour"), "--preset", preset, "--latent", latent, *how)
    words += ("--classifier", given.classifier("colour")) if latent == "vmf" else ()
    words += ("--generator-width", 8, "--discriminator-width", 8, "--steps", 9, "--discriminator-turns", 1)
    return (*words, "--labels", "uniform", *more, *SHARED)


def distillation(given: Given, term: str, *more: object) -> Words:
    """A student's, on labels and a term."""
    sum_of = term if term == "ce" else f"ce+{term}"
    words = ("distill", sum_of, "--data", given.data("colour"), "--student", "convnet-half", "--epochs", 0.5)
    made = terms()[term]()
    if made.needs.teacher_at_all or made.needs.prior:
        words += ("--teacher", given.classifier("colour"))
    if made.pretrains:
        words += ("--pretraining", 0.5)
    return (*words, *more, *SHARED)


def density(given: Given, kind: str, taps: str, *more: object) -> Words:
    """Densities' and decoders', of some of a classifier's layers."""
    words = ("analyse", "invert", given.classifier(kind), "--data", given.data(kind), "--taps", taps)
    return (*words, "--layers", 1, "--filters", 4, "--decoder-filters", 4, "--validation", 6, *more, *SHARED)


@dataclass(frozen=True)
class Training:
    """A command that trains.

    Attributes:
        name: what it is called.
        build: one of the functions above.
        how: what that is told first.
        slow: whether it takes long on a CPU.
        count: of the trainings that it has.
    """

    name: str
    build: Callable[..., Words]
    how: Words
    slow: bool = False
    count: int = 1

    def words(self, given: Given, *more: object) -> Words:
        """Of the command, with more flags."""
        return self.build(given, *self.how, *more)


def trainings() -> Iterator[Training]:
    """All of them."""
    for name, slow in smallest().items():
        yield Training(f"classifier {name}", classifier, (name,), slow)
    for name, way in WAYS.items():
        yield Training(f"classifier, {name}", classifier, ("mlp", *way))
    for variant in VARIANTS:
        for dim in DIMS:
            yield Training(f"{variant} of {dim}", hvae, (variant, dim), dim != WIDTH)
    yield Training("hvae-l of convolutions", hvae, ("hvae-l", WIDTH, *CONVOLUTIONS))
    for code in CODES:
        yield Training(f"autoencoder {code}", autoencoder, (code,))
    for name in SNGANS:
        yield Training(f"sngan {name}", sngan, (name,), slow_sngan(name))
    for term in terms():
        yield Training(f"distill {term}", distillation, (term,))
    yield Training("distill hinton, cached", distillation, ("hinton", *CACHED))
    for (kind, taps), count in DENSITIES.items():
        yield Training(f"invert {kind} {taps}", density, (kind, taps), (kind, taps) != next(iter(DENSITIES)), count)
