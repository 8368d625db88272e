"""The program of penult sample: whatever kind of model a run holds, its kind says how images are drawn."""

import torch

from apps.command.console import counted, say
from apps.command.own_code import allow
from apps.models.generator import GENERATOR
from apps.models.named import open_run
from apps.models.registry import kind_of, refused
from apps.models.sample_settings import SampleSettings
from apps.training.devices import chosen


def sample(config: SampleSettings) -> None:
    """Draw and write.

    Raises:
        InputError: settings that do not go together, no finished run, or one that has no images to draw.
    """
    torch.set_num_threads(config.threads or 1)  # blocks of small networks: a second one costs more than it brings
    device = chosen(config.device)
    for code in config.allow:
        allow(code)
    kind = kind_of(open_run(config.run))
    if kind.sample is None:
        raise refused(config.run, kind, GENERATOR)
    count = kind.sample(config, device)
    say(f"{counted(count, 'image')} in {config.out}")
