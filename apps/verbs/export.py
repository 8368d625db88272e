"""Export a finished run as a folder to hand on: weights, how to build the model, scores and a model card.

The folder is a MODEL by itself (penult sample DIR, penult evaluate DIR, penult prior DIR), and what
apps.pretrained.from_pretrained loads. Paths of this machine are cut to their last part, as ./NAME. With --push it goes
to the Hugging Face Hub as well.
"""

from dataclasses import dataclass
from pathlib import Path

import tyro


@dataclass(frozen=True)
class Config:
    """Export a run."""

    run: tyro.conf.Positional[Path]
    """Folder of a finished run."""
    dir: tyro.conf.Positional[Path]
    """Folder to write: a new or an empty one."""
    push: str | None = None
    """OWNER/NAME on the Hugging Face Hub to upload the folder to; needs huggingface_hub and a token."""
    private: bool = False
    """Whether a repository that --push makes is seen by its owner only."""
    licence: str | None = "mit"
    """Licence of the weights, by the Hub's identifier, such as mit or cc-by-4.0; none: the card says nothing of it."""
    overwrite: bool = False
    """Whether an earlier export in DIR may be replaced, and a repository that exists get another commit."""


def main(config: Config) -> None:
    """Write, and push where that was asked for."""
    import re

    import torch

    from apps.command.console import say
    from apps.sharing import hub
    from apps.sharing.export import check, export
    from priors.errors import InputError

    if config.private and config.push is None:
        raise InputError("--private without --push: it is for a repository on the Hub")
    if config.licence is not None and not re.fullmatch(r"[a-z0-9][a-z0-9.-]*", config.licence):
        raise InputError(f"--licence {config.licence}: expected an identifier of the Hub's, such as mit or cc-by-4.0")
    if config.push is not None:
        hub.check_repository(config.push)
    folder = check(config.run, config.dir, config.overwrite)
    torch.set_num_threads(1)  # a grid of samples: a second thread costs more than it brings
    name = config.push.partition("/")[2] if config.push else folder.name
    files = export(config.run, folder, name, config.push, config.licence)
    say(f"{config.run} is in {config.dir}: {', '.join(files)}")
    if config.push is not None:
        address = hub.push(config.dir, config.push, files, config.private, config.overwrite)
        say(f"Pushed to {address}")
