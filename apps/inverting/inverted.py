"""A finished inversion: the model, and the network and layer that its contexts are of."""

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from analysis.densities.captured import CapturedSampler
from analysis.densities.incremental import Incremental
from analysis.densities.pixelcnn import PixelCNN
from analysis.densities.sampling import place
from analysis.inversion.reconstruction import UpConvolution
from apps.command import own_code
from apps.inverting.own_density import OwnDensity
from apps.models import imported, named
from apps.models.registry import description_of
from apps.models.representation import Representation
from apps.models.represented import read_representation
from apps.runs.run import Run
from apps.seeds import generator
from apps.training.free_memory import available_bytes
from priors.errors import InputError
from priors.files.building import building
from priors.files.tensors import load_weights, read_tensors

DENSITY, DECODER = "inversion", "reconstruction"
"""Kinds of model, as `model.json` has them: p(x | h), and f(h) by least squares."""


def at_once(model: PixelCNN | OwnDensity, device: torch.device) -> int:
    """Images that are drawn together: on a GPU a thousand take about as long as one; fewer where memory is short."""
    most = 2048 if device.type == "cuda" else 256
    if isinstance(model, OwnDensity):
        return most
    with torch.device("meta"):
        twin = PixelCNN(model.image_shape, model.context_shape, layers=model.layers, filters=model.filters)
        context = torch.zeros(1, *model.context_shape) if model.context_shape else None
        state = Incremental(twin, context, 1)
    # As much again for what a row takes for a moment, and for graphs; never more than half of what there is.
    fitting = available_bytes(device) // (4 * state.bytes())
    return max(1, min(most, 1 << max(0, fitting.bit_length() - 1)))


class _Drawing:
    """Batches of draws from one model, one after another; by CUDA graphs where several are of one size."""

    def __init__(self):
        self._sampler, self._last, self._most = None, 0, 0

    def most(self, model: PixelCNN | OwnDensity, device: torch.device) -> int:
        """Images a batch, found once: what is captured takes memory, and must not make the next batches smaller."""
        self._most = self._most or at_once(model, device)
        return self._most

    def __call__(self, model: PixelCNN, context: Tensor | None, numbers: Tensor, several: bool) -> Tensor:
        """Images by the numbers that they are drawn with; `several` batches of this size are to come, or have come."""
        batch, before, self._last = numbers.shape[2], self._last, numbers.shape[2]
        if not _has_graphs(numbers.device):
            return place(model, context, numbers)
        if self._sampler is None or self._sampler.batch != batch:
            if not several and batch != before:
                return place(model, context, numbers)
            self._sampler = None  # first, for the memory that it takes
            self._sampler = CapturedSampler(model, batch)
        return self._sampler(context, numbers)

    def forget(self) -> None:
        """Let go of what was captured of a model that is about to change."""
        self._sampler, self._last, self._most = None, 0, 0


def _has_graphs(device: torch.device) -> bool:
    return device.type == "cuda"


@dataclass(frozen=True)
class Inverted:
    """What a finished run holds.

    Attributes:
        model: p(x | h), or f(h); on the CPU, in evaluation mode.
        representation: h; None of an unconditional density.
        title: its network and layer, for people.
    """

    model: PixelCNN | OwnDensity | UpConvolution
    representation: Representation | None
    title: str
    _drawing: _Drawing = field(default_factory=_Drawing, init=False, repr=False, compare=False)

    def context(self, images: Tensor) -> Tensor | None:
        """h of images in [0, 1]."""
        return None if self.representation is None else self.representation(images)

    def to(self, device: torch.device | str) -> "Inverted":
        """The same on another device; its modules are moved."""
        self._drawing.forget()
        self.model.to(device)
        if self.representation is not None:
            self.representation.network.to(device)
        return self

    def most(self, device: torch.device) -> int:
        """Images that are drawn together on a device."""
        return self._drawing.most(self.model, device)

    @torch.no_grad()
    def draw(self, images: Tensor, n: int, seed: int, name: str = "inversion", first: int = 0) -> Tensor:
        """`n` samples for each image, (images, n, channels, height, width), in [0, 1].

        A draw depends on the seed, its image's place and its own number, not on how many there are beside it; where the
        density is the user's own, also on `n`.

        Args:
            images: (images, channels, height, width) in [0, 1], whose contexts are sampled from.
            n: how many of each.
            seed: of the draws.
            name: of their stream.
            first: place of the first image, where these are some of many.
        """
        context, model = self.context(images), self.model
        if isinstance(model, OwnDensity):
            sources = (generator("cpu", seed, name, first + number) for number in range(len(images)))
            given = [None] * len(images) if context is None else context[:, None].expand(-1, n, *context.shape[1:])
            return torch.stack([model.sample(own, source, n=n) for own, source in zip(given, sources, strict=True)])
        shape = n, *model.image_shape[1:], model.distribution.draws
        numbers = torch.cat(
            [
                torch.rand(shape, dtype=torch.float64, generator=generator("cpu", seed, name, first + number))
                for number in range(len(images))
            ]
        )
        whose, most = torch.arange(len(images)).repeat_interleave(n), self.most(images.device)
        batches = whose.split(most)
        sizes, parts = Counter(map(len, batches)), []
        for rows, part in zip(batches, numbers.split(most), strict=True):
            own = None if context is None else context[rows.to(images.device)]
            part = part.permute(1, 2, 0, 3).to(images.device)
            parts.append(self._drawing(model, own, part, several=sizes[len(rows)] > 1))
        return torch.cat(parts).unflatten(0, (len(images), n))


def density_description(model: PixelCNN | OwnDensity, own: dict, density: str = "pixelcnn") -> dict:
    """How to build a density again, and whose layer it inverts."""
    ours = isinstance(model, PixelCNN)
    return {
        "model": DENSITY,
        "image_shape": list(model.image_shape),
        "context": list(model.context_shape),
        **({"layers": model.layers, "filters": model.filters} if ours else {"density": density}),
    } | own


def decoder_description(model: UpConvolution, filters: int, own: dict) -> dict:
    """How to build a decoder again, and whose layer it inverts."""
    return {
        "model": DECODER,
        "image_shape": list(model.image_shape),
        "context": list(model.context_shape),
        "filters": filters,
    } | own


def inverted_run(folder: str | Path) -> Inverted:
    """The inversion of a finished run.

    Raises:
        InputError: no such run, not finished, of another kind, damaged, or of a network that is not there any more.
    """
    run = named.open_run(folder)
    description = description_of(run)
    if description.get("model") not in (DENSITY, DECODER):
        raise InputError(f"{folder} inverts no network: give a run of penult analyse invert")
    path = run.folder / "model.json"
    weights, _ = read_tensors(run.folder / "model.safetensors", "weights of an inversion")
    with building(path, "inversion", description, weights):
        shape, context = tuple(description["image_shape"]), tuple(description["context"])
        if description["model"] == DENSITY:
            model = _density(run, description, shape, context)
        else:
            model = UpConvolution(shape, context, filters=description["filters"])
    found = read_representation(run, description, shape, context)
    load_weights(model, weights, run.folder / "model.safetensors")
    title = "no context" if found is None else f"{description['network']}, {found.layer}"
    return Inverted(model.eval(), found, title)


def _density(run: Run, description: dict, shape: tuple, context: tuple) -> PixelCNN | OwnDensity:
    if "density" not in description:
        return PixelCNN(shape, context, layers=description["layers"], filters=description["filters"])
    own_code.require(description["density"], run.folder)
    return OwnDensity(imported.made(description["density"], shape, context)[0], shape, context)
