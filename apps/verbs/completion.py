"""Print what a shell runs to complete the command lines of penult: verbs, options, choices, runs, data sets, networks.

bash: penult completion bash > ~/.local/share/bash-completion/completions/penult, or eval "$(penult completion bash)" in
~/.bashrc. zsh: penult completion zsh > a file _penult in a folder of $fpath, before compinit runs. fish: penult
completion fish > ~/.config/fish/completions/penult.fish.
"""

from dataclasses import dataclass
from typing import Literal

import tyro


@dataclass(frozen=True)
class Config:
    """Complete command lines."""

    shell: tyro.conf.Positional[Literal["bash", "zsh", "fish", "names"]]
    """The shell; names, which these scripts ask for, prints what may come after the words."""
    words: tyro.conf.Positional[tuple[str, ...]] = ()
    """With names, and after --: the words of a command line so far, the last one as far as it is typed."""


def main(config: Config) -> None:
    """Print."""
    from apps.completion import complete

    complete(config.shell, config.words)
