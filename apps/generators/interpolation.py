"""Pictures on the way from one class to another: figures 4 and 5 of Seo, Lee and Kwak (2021)."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from apps.figures import PICTURE_SUFFIXES, grid
from apps.generators.class_latents import ClassLatents
from apps.generators.hvae import HVAEC
from apps.generators.hyperspherical_vae import HypersphericalVAE
from apps.generators.sampling import MOST_IN_A_PICTURE
from apps.models.drawing import BLOCK
from apps.runs.outputs import check_file
from apps.seeds import generator
from priors.errors import InputError, unknown
from priors.vmf.sphere import slerp

ROWS = 8
"""Drawn where the command line does not say."""
STEPS = 12
"""Likewise, from one end to the other."""
ARROW = " \N{RIGHTWARDS ARROW} "


def parse_chain(text: str, class_names: Sequence[str]) -> tuple[int, ...]:
    """Labels to pass through, from "1,2", class names, or a mixture; what is a class's name means that class.

    Raises:
        InputError: fewer than two, a label out of range, or an unknown class (the nearest is offered).

    Example:
        >>> parse_chain("0,emu,0", ["cat", "dog", "cow", "emu"])
        (0, 3, 0)
    """
    names, chain = list(class_names), []
    for part in filter(None, (part.strip() for part in text.split(","))):
        if part in names:
            chain.append(names.index(part))
        elif not part.isdecimal():
            raise unknown("class", part, names)
        elif int(part) < len(names):
            chain.append(int(part))
        else:
            raise InputError(f"--interpolate {text}: expected labels from 0 to {len(names) - 1}, not {part}")
    if len(chain) < 2:
        raise InputError(f"--interpolate {text!r}: expected two classes or more with commas between, such as 1,2")
    return tuple(chain)


def latents(
    model: HypersphericalVAE, label: int | None, count: int, seed: int, concentration: float | None = None
) -> Float[Tensor, "count dim"]:
    """The z of the first `count` images that `drawing.draw` gives of a class, or of an unconditional model."""
    weight = model.to_posterior.weight
    drawn = []
    for block in range(-(-count // BLOCK)):
        stream = generator("cpu", seed, "sample", -1 if label is None else label, block)
        drawn.append(model.sample_latent(torch.full((BLOCK,), label or 0, device=weight.device), stream, concentration))
    return torch.cat(drawn)[:count]


@torch.inference_mode()
def between_points(
    model: HypersphericalVAE, points: Sequence[Float[Tensor, "rows dim"]], steps: int
) -> Float[Tensor, "rows columns channels height width"]:
    """Images along great circles through `points`, `steps` from each to the next with both ends among them."""
    legs = [slerp(start, end, _fractions(steps, start)) for start, end in zip(points, points[1:], strict=False)]
    return _images(model, _joined(legs), None)


@torch.inference_mode()
def between_codes(
    model: HVAEC, z: Float[Tensor, "rows dim"], chain: Sequence[int], steps: int
) -> Float[Tensor, "rows columns channels height width"]:
    """Images of each z as the class code moves in straight lines through the classes of `chain`."""
    codes = F.one_hot(torch.tensor(chain, device=z.device), len(model.class_names)).to(z.dtype)
    f = _fractions(steps, z)[:, None]
    legs = [((1 - f) * start + f * end)[None] for start, end in zip(codes, codes[1:], strict=False)]
    code = _joined(legs).expand(len(z), -1, -1)
    return _images(model, z[:, None].expand(-1, code.shape[1], -1), code)


def _fractions(steps: int, like: Tensor) -> Tensor:
    return torch.linspace(0, 1, steps, dtype=like.dtype, device=like.device)


def _joined(legs: Sequence[Tensor]) -> Tensor:
    """Legs (rows, steps, m) as one path, each point where two legs meet once."""
    return torch.cat([legs[0], *(leg[:, 1:] for leg in legs[1:])], 1)


def _images(model: HypersphericalVAE, z: Tensor, code: Tensor | None) -> Tensor:
    return model.decode(z, code).sigmoid().unflatten(-1, model.image_shape)


def draw(
    model: HypersphericalVAE,
    chains: Sequence[Sequence[int]],
    between: Literal["centres", "draws"] | None,
    rows: int,
    steps: int,
    seed: int,
    concentration: float | None = None,
) -> tuple[Tensor, list[str]]:
    """The rows of a picture (rows, columns, C, H, W) and their names; rows that end sooner are white from there.

    HVAE-L passes from class to class between their centres (a row a chain) or between draws, HVAE-C at one drawn z by
    its class code, HVAE between draws without classes. Row r starts and ends at what `drawing.draw` gives as the
    r-th image of those classes: it does not depend on how many rows there are.

    Args:
        model: the generator.
        chains: labels to pass through; none for an unconditional model.
        between: of HVAE-L, what the ends are.
        rows: of each chain, where something is drawn.
        steps: images from one class to the next, with both.
        seed: of the draws.
        concentration: of the draws of HVAE-L, instead of the trained one.
    """
    if not chains:
        ends = latents(model, None, 2 * rows, seed)
        return between_points(model, (ends[0::2], ends[1::2]), steps), [f"draw{ARROW}draw"] * rows
    bands, names = [], []
    for chain in chains:
        if isinstance(model, HVAEC):
            band = between_codes(model, latents(model, chain[0], rows, seed), chain, steps)
        elif between == "centres":
            band = between_points(model, [model.prior.loc[label][None] for label in chain], steps)
        else:
            ends = [latents(model, label, rows, seed, concentration) for label in chain]
            band = between_points(model, ends, steps)
        bands.append(band)
        names += [ARROW.join(model.class_names[label] for label in chain)] * len(band)
    columns = max(band.shape[1] for band in bands)
    padded = [F.pad(band, (0, 0) * 3 + (0, columns - band.shape[1]), value=1.0) for band in bands]
    return torch.cat(padded), names


def check(
    model: HypersphericalVAE,
    source: Path,
    words: Sequence[str],
    between: Literal["centres", "draws"] | None,
    rows: int | None,
    steps: int | None,
    concentration: float | None,
) -> tuple[list[tuple[int, ...]], Literal["centres", "draws"] | None]:
    """The chains, and what an HVAE-L moves between; refuses flags that would be passed over.

    Raises:
        InputError: what the variant has not, or classes that cannot be.
    """
    if not model.conditional:
        if words:
            raise InputError(
                f"{source} is an unconditional {model.title}, without classes: leave out --interpolate, and give "
                "--between draws"
            )
        if between == "centres":
            raise InputError(f"{source} is an unconditional {model.title}, without centres: give --between draws")
        if concentration is not None:
            raise InputError(f"--concentration {concentration:g}: {model.title} has a uniform prior; leave it out")
        return [], "draws"
    if not words and len(model.class_names) == 1:
        raise InputError(
            f"{source} has one class, so there is nothing between classes: leave out --between and --steps"
        )
    if not words:
        flag = "--steps" if between is None else "--between"
        raise InputError(f"{flag}: between which classes? Give --interpolate as well, such as --interpolate 1,2")
    chains = [parse_chain(word, model.class_names) for word in words]
    if isinstance(model, ClassLatents):
        between = between or "centres"
        given = {"--n": rows, "--concentration": concentration}
        unused = [flag for flag, value in given.items() if value is not None and between == "centres"]
        if unused:
            raise InputError(f"{', '.join(unused)} with interpolation between centres, where nothing is drawn: leave "
                             "it out, or add --between draws")  # fmt: skip
        return chains, between
    if between is not None:
        raise InputError(f"--between {between}: {model.title} moves its class code at a fixed z; leave it out")
    if concentration is not None:
        raise InputError(f"--concentration {concentration:g}: {model.title} has a uniform prior; leave it out")
    return chains, None


def write(
    model: HypersphericalVAE,
    source: Path,
    words: Sequence[str],
    between: Literal["centres", "draws"] | None,
    rows: int | None,
    steps: int | None,
    seed: int,
    out: Path,
    concentration: float | None = None,
    overwrite: bool = False,
) -> int:
    """Draw interpolations into one picture; returns how many images it holds.

    Raises:
        InputError: as for `check`; too many images, or a place that cannot be written.
    """
    chains, between = check(model, source, words, between, rows, steps, concentration)
    check_file(out, PICTURE_SUFFIXES, overwrite, "; interpolations are drawn as one picture")
    rows, steps = rows or ROWS, steps or STEPS
    bands = [1 if between == "centres" else rows] * (len(chains) or 1)
    lengths = [(len(chain) - 1) * (steps - 1) + 1 for chain in chains] or [steps]
    if sum(bands) * max(lengths) > MOST_IN_A_PICTURE:
        raise InputError(f"{sum(bands) * max(lengths):,} images in one picture: give fewer --steps or a smaller --n")
    images, names = draw(model, chains, between, rows, steps, seed, concentration)
    grid(out, [images], [""], names)
    return sum(height * width for height, width in zip(bands, lengths, strict=True))
