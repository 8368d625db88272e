"""Handing a run on: what can be refused before the work is, then the export, then the upload where it is asked for."""

import re
from pathlib import Path
from shlex import quote

import torch

from apps.command.console import say
from apps.sharing import hub
from apps.sharing.export import check, export
from priors.errors import InputError


def hand_on(
    run: Path,
    folder: Path,
    *,
    push: str | None,
    private: bool,
    licence: str | None,
    dtype: str | None,
    overwrite: bool,
) -> None:
    """Export a finished run to a folder, and push that to the Hub where a name is given.

    Args:
        run: folder of the run.
        folder: to write.
        push: OWNER/NAME on the Hub; None: nothing is pushed.
        private: whether a repository that is made is seen by its owner only.
        licence: of the weights, by the Hub's identifier; None: nothing is said of it.
        dtype: as for `apps.sharing.export.export`.
        overwrite: whether an earlier export may be replaced, and a repository that exists get another commit.

    Raises:
        InputError: flags that do not go together, a name or licence of another form, or as for
            `apps.sharing.export.check` and `apps.sharing.hub.push`.
    """
    if private and push is None:
        raise InputError("--private without --push: it is for a repository on the Hub")
    if licence is not None and not re.fullmatch(r"[a-z0-9][a-z0-9.-]*", licence):
        raise InputError(f"--licence {licence}: expected an identifier of the Hub's, such as mit or cc-by-4.0")
    if push is not None:
        hub.check_repository(push)
    place = check(run, folder, overwrite)
    torch.set_num_threads(1)  # a grid of samples: a second thread costs more than it brings
    name = push.partition("/")[2] if push else place.name
    files = export(run, place, name, push, licence, dtype)
    say(f"{run} is in {folder}: {', '.join(files)}")
    if dtype is not None and "evaluation.json" not in files:
        say(f"It has no evaluations of the weights as they are now: penult evaluate {quote(str(folder))} makes them.")
    if push is not None:
        say(f"Pushed to {hub.push(folder, push, files, private, overwrite)}")
