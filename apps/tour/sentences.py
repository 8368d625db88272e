"""What the tour says of its pictures: a sentence or two each, whose numbers come from what was measured on the way."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from apps.command.console import counted
from apps.runs.by_image import by_image
from apps.runs.evaluations import read_evaluations
from apps.runs.result import tested
from apps.runs.run import Run
from apps.tables.pairs import over_images
from apps.tables.words import chance
from priors.errors import InputError, reason
from priors.files.json_files import read_json

_SURE = 0.05
"""The p that a difference is called one from."""


def accuracy(run: Path) -> float:
    """Of a finished classifier or student, the part of the test images whose class it finds.

    Raises:
        InputError: the run is not finished, or is damaged.
    """
    return float(tested(Run(run).result())["accuracy"])


def prior(run: Path) -> list[str]:
    """Of a classifier of two units."""
    return [
        f"This network finds the class of {_share(accuracy(run))} of the test images by two numbers alone, whose "
        "direction is an angle on the circle. Read its final layer's weights as mean directions of von Mises-Fisher "
        "distributions, and it holds a generative model of these directions: one hill a class.",
    ]


def generator(run: Path) -> list[str]:
    """Of an HVAE-L that another network has classified."""
    entry = next(one for one in read_evaluations(run) if "GAN-test accuracy" in one["scores"])
    drawn, real = (entry["scores"][name] for name in ("GAN-test accuracy", "accuracy of the classifier"))
    return [
        "A latent is drawn from the prior of its class, which another classifier's final layer holds, and decoded. "
        f"A third network finds the class that was asked for in {_share(drawn)} of {entry['drawn']:,} images that were "
        f"drawn, and that of {_share(real)} of real ones.",
    ]


def distillation(students: Mapping[str, Path], teacher: Path, labelled: int) -> list[str]:
    """Of students of the same few images, the first of which has labels alone."""
    alone, *taught = students
    whole, least = accuracy(teacher), accuracy(students[alone])
    found = [
        f"Three students see the same {labelled} images; their teacher has seen all, and is right on {_share(whole)} "
        f"of the test images. On labels alone one gets to {_share(least)}."
    ]
    for name in taught:
        own = accuracy(students[name])
        gain = 100 * (own - least)
        how = (
            "With the teacher's answers beside them"
            if name == "the teacher"
            else "With the teacher's prior, which needs no pass of the teacher over any image,"
        )
        found.append(f"{how} it gets to {_share(own)}: {gain:+.1f} points{_said(students[name], students[alone])}.")
    return [" ".join(found)]


def _said(run: Path, other: Path) -> str:
    """Whether two networks differ on the test images, by McNemar's test; nothing where that is not kept."""
    ours, theirs = by_image(run), by_image(other)
    if ours is None or theirs is None or ours.digest != theirs.digest:
        return ""
    paired = over_images([ours.scores["accuracy"]], [theirs.scores["accuracy"]])
    p = chance(paired)
    sure = "more than chance" if paired.p is not None and paired.p < _SURE else "which may be chance"
    return f" on {paired.pairs} test images ({sure}: by McNemar's test p {'' if p.startswith('<') else '= '}{p})"


def inversion(folder: Path) -> list[str]:
    """Of two layers."""
    path = folder / "inversion.json"
    layers = _of(path, lambda found: found["layers"])
    first, last = layers[0], layers[-1]
    apart = first["NCE"] - last["NCE"]
    side = "less" if apart > 0 else "more"
    return [
        "Densities of images learn what a layer makes of each; what they then draw shows what the layer still tells. "
        f"Told {first['layer']}, the density gives test images {first['NCE']:.1f} nats on average, and told "
        f"{last['layer']} {last['NCE']:.1f}: {abs(apart):.1f} nats {side}. These densities are small and trained for "
        "seconds: longer trainings tell more of every layer.",
    ]


def spectrum(run: Path) -> list[str]:
    """Of images and the last convolution of a network, trained and not."""
    parts = _of(run / "spectrum.json", lambda found: found[-1]["scores"])
    own, other = list(parts.values())[:2]
    last = [name for name, scores in own.items() if isinstance(scores, dict) and "whittle" in scores][-1]
    return [
        f"The power of these images falls with frequency k as |k| to the {own['images']['whittle']:.2f}. That of the "
        f"maps of convolution {last} falls as |k| to the {own[last]['whittle']:.2f}, and to the "
        f"{other[last]['whittle']:.2f} before the network was trained. Maps of 8x8 pixels have few frequencies: "
        "on larger images lines are longer.",
    ]


def saliency(folder: Path) -> list[str]:
    """Of some images."""
    images = _of(folder / "saliency.json", lambda found: found["images"])
    total = sum(abs(one["output"]) for one in images)
    own = sum(abs(one["slope x image"]) for one in images)
    most = max(abs(one["residual"]) for one in images)
    return [
        "A network's output is exactly its slope times the image, plus what each layer adds of its own; a saliency map "
        f"puts all of that where it belongs. Over {counted(len(images), 'image')} outputs sum to {total:.1f}, and the "
        f"slopes' parts have sizes that sum to {own:.1f}; sums are exact to {most:.0e} of the sizes of their parts.",
    ]


def discarding(folder: Path) -> list[str]:
    """Of a network's layers."""
    entry = _of(folder / "discard.json", lambda found: found[-1])
    layers = next(iter(entry["scores"].values()))
    (first, one), *_, (last, other) = layers.items()
    way = "more" if other["SID"] > one["SID"] else "less"
    return [
        "Noise is put on an image until a layer's features move by a small step: the more noise it takes, the more of "
        f"the image the layer has thrown away. Over {entry['images']} images its entropy is {one['SID']:.2f} nats a "
        f"pixel at {first} and {other['SID']:.2f} at {last}: {last} discards {way}.",
    ]


def _share(part: float) -> str:
    return f"{100 * part:.1f} %"


def _of(path: Path, take: Any) -> Any:
    """A part of what a command has left.

    Raises:
        InputError: the file is damaged.
    """
    try:
        return take(read_json(path, "results"))
    except (IndexError, KeyError, TypeError) as error:
        raise InputError(f"{path} is damaged ({reason(error)}): move it away") from None
