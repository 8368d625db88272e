"""Export a finished run as a folder to hand on: weights, how to build the model, scores and a model card.

The folder is a MODEL by itself (penult sample DIR, penult evaluate DIR, penult prior DIR), and what
apps.pretrained.from_pretrained loads. Paths of this machine are cut to their last part, as ./NAME. With --push it goes
to the Hugging Face Hub as well.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import tyro

from apps.command.ranges import Code


@dataclass(frozen=True)
class Config:
    """Export a run."""

    run: tyro.conf.Positional[Path]
    """Folder of a finished run, or pretrained:NAME."""
    dir: tyro.conf.Positional[Path]
    """Folder to write: a new or an empty one."""
    push: str | None = None
    """OWNER/NAME on the Hugging Face Hub to upload the folder to; needs huggingface_hub and a token."""
    private: bool = False
    """Whether a repository that --push makes is seen by its owner only."""
    licence: str | None = None
    """Licence of the weights, by the Hub's identifier, such as mit or cc-by-4.0, written into the card as it is given;
    unset: the card names none."""
    dtype: Literal["float32", "bfloat16", "float16"] | None = None
    """What matrices and filters are rounded to, for a smaller file; they are float32 again where it is loaded. What
    evaluations there are of the weights before stay behind; penult evaluate DIR makes new ones. Unset: nothing is
    rounded."""
    allow: tuple[Code, ...] = ()
    """import:... that the run was made with: the same text again, which allows that code of yours to be run."""
    overwrite: bool = False
    """Whether an earlier export in DIR may be replaced, and a repository that exists get another commit."""


def main(config: Config) -> None:
    """Write, and push where that was asked for."""
    from apps.sharing.handing_on import hand_on

    hand_on(
        config.run,
        config.dir,
        push=config.push,
        private=config.private,
        licence=config.licence,
        dtype=config.dtype,
        overwrite=config.overwrite,
    )
