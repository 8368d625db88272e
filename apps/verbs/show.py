"""Show the command that made a run, how far it is, and all its settings.

The command makes the run anew, or goes on with it where it was stopped. Settings that it does not name are those that
are usual. Another run takes the same settings by --like RUN.
"""

from dataclasses import dataclass
from pathlib import Path

import tyro


@dataclass(frozen=True)
class Config:
    """Show a run."""

    run: tyro.conf.Positional[Path]
    """Folder of a run, finished or not; or pretrained:NAME."""


def main(config: Config) -> None:
    """Print."""
    from apps.models.showing import show

    show(config.run)
