"""The generators that runs hold, and how they are read again; see `apps.models.registry`."""

from collections.abc import Callable
from functools import partial

import torch
from accelerate import Accelerator
from torch import Tensor

from apps.data.image_set import ImageSet
from apps.generators import hvae, sngan
from apps.models.generator import GENERATOR, Generator
from apps.models.registry import Kind, description_of, kind_of
from apps.models.sample_settings import SampleSettings
from apps.runs.run import Run
from priors.files.building import building
from priors.files.tensors import load_weights, read_tensors


def _read(rebuild: Callable[[dict, dict[str, Tensor]], Generator], run: Run) -> Generator:
    """The generator of a finished run.

    Raises:
        InputError: a description that none can be built from, or weights that are damaged or do not fit.
    """
    place, description = run.folder / "model.safetensors", description_of(run)
    weights, _ = read_tensors(place, "weights of a generator", finite=True)
    with building(run.folder / "model.json", "generator", description, weights):
        model = rebuild(description, weights)
    load_weights(model, weights, place)
    return model.eval()


def _sample(config: SampleSettings, device: torch.device) -> int:
    """Draw and write; see `sample`."""
    from apps.generators.sample import sample  # the plotting library is slow to load: only where it is asked for

    return sample(config, device)


def _drawn(run: Run, like: ImageSet, accelerator: Accelerator, seed: int) -> ImageSet:
    """As many images as a set has, as many of each class."""
    from apps.data.sweep import sweep
    from apps.fidelity.drawn_set import drawn_set

    model = kind_of(run).read(run).to(accelerator.device)
    classes = len(model.class_names) if model.conditional else 1
    counts = [len(like) // classes + (label < len(like) % classes) for label in range(classes)]
    return drawn_set(model, counts, partial(sweep, accelerator=accelerator), seed, name=run.folder.name)


KINDS = (
    Kind("hvae", GENERATOR, "train hvae", partial(_read, hvae.rebuild), _sample, _drawn),
    Kind("sngan", GENERATOR, "train sngan", partial(_read, sngan.rebuild), _sample, _drawn),
)
