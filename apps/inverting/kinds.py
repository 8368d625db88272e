"""What penult analyse invert trains, and how it is read again; see `apps.models.registry`."""

import torch

from apps.inverting.inverted import DECODER, DENSITY, Inverted, inverted_run
from apps.models.registry import Kind
from apps.models.sample_settings import SampleSettings
from apps.runs.run import Run

INVERSION = "an inversion of a network"
"""What both kinds are called."""


def _read(run: Run) -> Inverted:
    return inverted_run(run.folder)


def _sample(config: SampleSettings, device: torch.device) -> int:
    """Draw and write; see `sample`."""
    from apps.inverting.sample import sample  # the plotting library is slow to load: only where it is asked for

    return sample(config, device)


KINDS = tuple(
    Kind(name, INVERSION, "analyse invert", _read, _sample, scored_by="penult analyse invert")
    for name in (DENSITY, DECODER)
)
