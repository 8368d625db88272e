"""Reconstruction uncertainty (RU): how uncertain an image is that a decoder makes of features which may move so far."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Literal, get_args

import torch
from jaxtyping import Bool, Float, Float64, Int64, Shaped
from torch import Tensor

from analysis.discarding.features import Function, looked_into, require_count, require_positive
from analysis.discarding.grids import Grid
from analysis.discarding.information import discarded_information
from analysis.discarding.uncertainty_search import Decoder, Found, Reconstructing, Search
from priors.errors import InputError, unknown

Centre = Literal["image", "reconstruction"]
Variant = Literal["paper", "authors"]


@dataclass(frozen=True)
class ReconstructionUncertainty:
    """The entropy of reconstructions, under the noise that makes it largest while features move by alpha delta_f^2.

    Attributes:
        entropy: pixel-level RU, H_i = log(error_i) + C of equation 8, in nats; (batch, channels, height, width). NaN
            where an image failed.
        error: its standard error, of the draws; as `entropy`.
        mean_error: standard error of `mean`; (batch,).
        bias: |mu - g(h(x))|, what of the error there is without noise, in units of `deviation`; as `entropy`.
        sigma: scales of the noise in units of `deviation`; (batch, c, rows, columns).
        capped: how many cells are at the cap, as those are that features ignore; (batch,).
        achieved: E ||f' - f||^2 / (alpha delta_f^2), measured by draws of its own; (batch,).
        achieved_error: its standard error; (batch,).
        failed: images whose features, slopes or reconstructions are not finite, or whose search did not end where it
            should; (batch,).
        delta: delta_f^2; (batch,).
        alpha: how far features move, as a part of delta_f^2; in squared units of `deviation`.
        centre: mu, what errors are taken from: the "image" or its "reconstruction".
        variant: "paper" or "authors".
        grid: the cells of the noise.
        deviation: the unit of noise, alpha and entropies, in pixel values; (channels, 1, 1).
    """

    entropy: Float64[Tensor, "batch channels height width"]
    error: Float64[Tensor, "batch channels height width"]
    mean_error: Float64[Tensor, " batch"]
    bias: Float64[Tensor, "batch channels height width"]
    sigma: Float64[Tensor, "batch c rows columns"]
    capped: Int64[Tensor, " batch"]
    achieved: Float64[Tensor, " batch"]
    achieved_error: Float64[Tensor, " batch"]
    failed: Bool[Tensor, " batch"]
    delta: Float64[Tensor, " batch"]
    alpha: float
    centre: str
    variant: str
    grid: Grid
    deviation: Float[Tensor, "channels 1 1"]

    @property
    def mean(self) -> Float64[Tensor, " batch"]:
        """Nats a value of the image: the RU of figures 3 to 5."""
        return self.entropy.flatten(1).mean(1)

    @property
    def total(self) -> Float64[Tensor, " batch"]:
        """Nats an image: H of equation 8."""
        return self.entropy.flatten(1).sum(1)


def reconstruction_uncertainty(
    function: Function,
    decoder: Decoder,
    images: Shaped[Tensor, "..."],
    *,
    alpha: int | float = 1.5e-4,
    delta: str | int | float | Shaped[Tensor, "..."] = "dataset",
    centre: str = "image",
    variant: str = "paper",
    grid: int | Sequence[int] | None = 16,
    shared: bool = True,
    deviation: int | float | Sequence[int | float] | Shaped[Tensor, "..."] | None = None,
    cap: int | float = 1.0,
    steps: int = 60,
    rate: int | float = 0.1,
    samples: int = 4,
    measured: int = 32,
    probes: int = 16,
    seed: int = 0,
    index: Shaped[Tensor, "..."] | Sequence[int] | None = None,
    memory: int = 2**30,
) -> ReconstructionUncertainty:
    """Find the noise under which reconstructions are most uncertain, of all that move features as far (equation 8).

    H_i = log(E (mu_i - x'_i)^2) / 2 + C for each value i of the image, x' = g(h(x + sigma * N(0, I))) being what the
    decoder g makes of the features h of a noisy image. Scales of noise begin as those of SID's closed form. Each step
    follows the slope of the mean of H under the constraint, whose Lagrange multiplier is found on the way, and brings
    E ||f' - f||^2 back to alpha delta_f^2; so does the end, as exactly as measured.

    Where mu is the image, errors that the decoder makes without any noise count too: what the decoder cannot give back
    is uncertain, as all pixels are in the paper's example f = sum of x (section 3.3), whatever the noise. Where mu is
    g(h(x)), only the noise counts.

    Args:
        function: h, from images to features (batch, ...), each image for itself, such as a network in evaluation mode.
        decoder: g, from these features to images, in evaluation mode too, such as a trained `TwoTrackDecoder`.
        images: x, (batch, channels, height, width), float32 or float64.
        alpha: as for `discarded_information`, like delta, grid, shared, deviation, cap, probes, index and memory.
        delta: delta_f^2: "dataset", "image", or given.
        centre: mu is the "image", as equation 8 says, or the "reconstruction" g(h(x)), as its derivation has it.
        variant: "paper" takes the logarithm of the mean squared error; "authors" the mean of its logarithm, as their
            code has it, which is .635 nats lower for normal errors. The noise is the paper's in both: slopes of the
            mean of a logarithm have no variance.
        grid: cells of the noise along each side; entropies are of each value of the image all the same.
        shared: whether all channels have one scale of noise.
        deviation: the unit of alpha, of scales and of errors.
        cap: the largest scale.
        steps: on the way from the closed form; 0: the noise is SID's.
        rate: how far a logarithm of a scale moves in the first step, at most; it falls to 0.
        samples: noisy images a step, two of which have opposite noise.
        measured: noisy images by which the end is measured, in opposite pairs too; two pairs at least, for errors.
        probes: slopes by which the closed form and delta_f^2 are found.
        seed: of the draws.
        index: of each image.
        memory: bytes that a pass may take about, beside what is returned; more images are worked on in turn.

    Raises:
        InputError: images, features, reconstructions or options that cannot be; a decoder of another layer.
    """
    for what, given, known in (("centre", centre, get_args(Centre)), ("variant", variant, get_args(Variant))):
        if given not in known:
            raise unknown(what, given, known)
    require_count("steps", steps, 0)
    for what, count, least in (("samples", samples, 2), ("measured", measured, 4)):
        require_count(what, count, least)
        if count % 2:
            raise InputError(f"{what} is {count}: an even number was expected, as noise comes in opposite pairs")
    require_positive("rate", rate)
    settings = {"alpha": alpha, "delta": delta, "grid": grid, "shared": shared, "deviation": deviation, "cap": cap}
    drawn = {"probes": probes, "seed": seed, "index": index, "memory": memory}
    begun = discarded_information(function, images, method="linear", check=2, **settings, **drawn)
    with (
        looked_into(function, images, index, deviation) as features,
        looked_into(Reconstructing(function, decoder), images, index, deviation) as reconstructions,
    ):
        search = Search(features, reconstructions, begun, centre, variant, steps, float(rate), samples, measured, seed)
        each = 8 * begun.grid.values
        found = [
            search.of(some, memory)
            for some in reconstructions.chunks(memory, draws=begun.grid.values, kept=each * measured, passes=samples)
        ]
    joined = {one.name: torch.cat([getattr(part, one.name) for part in found]) for one in fields(Found)}
    own = {"delta": begun.delta, "alpha": begun.alpha, "grid": begun.grid, "deviation": begun.deviation}
    return ReconstructionUncertainty(**joined, **own, centre=centre, variant=variant)
