"""The program of `penult show`: the command that made a run, how far it is, and what it was told."""

import shlex
from pathlib import Path
from typing import Any

from apps.command.answer import tell
from apps.command.console import say, table
from apps.command.settings import name_of, typed, usual
from apps.models.like import command_of, told
from apps.models.named import open_run
from apps.runs.format import FORMAT
from apps.runs.listing import listed


def show(folder: Path) -> None:
    """Print the command, the state and the settings of a run, finished or not.

    Raises:
        InputError: there is no such run, it is damaged, another program's, or does not say what it was told.
    """
    run = open_run(folder, finished=False)
    words = command_of(run)
    kind, options, values = told(run)
    say(f"penult {shlex.join(words)}")
    state = listed(run.folder)
    score = f"; {state.score[0]} {state.score[1]:.4g}" if state.score else ""
    say()
    settings: dict[str, Any] = {}
    rows = []
    for option in options:
        if option.path not in values:
            continue
        value, default = values[option.path], None if option.required else usual(kind, option)
        settings[name_of(option)] = value
        other = "" if option.required or value == default else _shown(option, default)
        rows.append((name_of(option), _shown(option, value), other))
    table(
        f"{folder}: {state.state}{score}",
        ("setting", "value", "unless said"),
        rows,
        "unless said: what it is where the command does not say, if that is something else" + _older(run.format),
    )
    more = {"command": words, "settings": settings, "format": run.format}
    tell("run", state.row | more | {"environment": run.config().get("environment")})


def _shown(option: Any, value: Any) -> str:
    return str(value).lower() if option.switch else " ".join(typed(option, value)) or "''"


def _older(number: int) -> str:
    """What is to be known of a run of an earlier format."""
    if number == FORMAT:
        return ""
    return (
        f"; the run is of format {number}: the same command goes on with it as it was, and under another name begins a "
        f"run of format {FORMAT}, whose numbers are others"
    )
