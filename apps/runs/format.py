"""The format of a run: a number in its `config.json` that says how its configuration and its numbers are meant.

A run keeps the number it was made with, and so do its snapshots and the runs that repeat it. A newer program reads it
with what held then, so that nothing done since orphans a run. For whoever changes something:

To add a flag, declare beside it what the runs before it did, in the form that `config.json` holds it:
`clip_by: Literal["norm", "value"] = added("value", before="norm")`, see `apps.command.config.added`. An option of a
distillation term says `field(default="value", metadata={"before": "norm"})`, which is the same. A key that a program
adds by hand (the digest of a file, say) is declared in what it hands to `train` as `older`. A run that has no such key
then resumes as one that has the value of before. A key without such a value stays one that older runs cannot have: they
are refused, as a change of any other flag is. A new flag needs no new number.

To change arithmetic (an average, a stream of random draws, a precision), raise `FORMAT` by an entry in `FORMATS`, and
ask for the number where it is computed: `if run.format >= 2`. `Run.format` answers also before the run is opened, for
what is drawn or built by then; the loop hands it to its task (`task.format`) and to its averages (`average.format`). A
program that trains a run like another one gives it the other's number: `Run(folder, format=other.format)`.

To change how files are laid out or named, raise `FORMAT` too, and read the older layout where the number says so.

Then keep what the change must not break: run `tests/apps/runs/formats/make_runs.py` with the program as it was before
it (at the parent of the commit). It writes small runs, finished and interrupted, of the format of then, and
`tests/apps/runs/test_formats.py` holds the program to them from then on.
"""

from pathlib import Path
from typing import Any

from apps.data.sources.finding import UPRIGHT
from priors.errors import InputError
from priors.files.json_files import read_json

FORMATS = {
    0: "runs without a number",
    1: "as 0; the number is stored",
    2: "the average of weights forgets its start; the presets of SNGANs, and how the bias of a wide residual "
    "network's head starts, are as published; pictures are turned as EXIF says, and linked folders read; crd "
    "draws images again where they are fewer than its negatives",
}
"""What each number means, beside the ones before it."""

DIGESTS_OF_IMAGES = ("data_digest", "held_out_digest")
"""Keys of a configuration that say which images there were, rather than what was asked for."""

FORMAT = max(FORMATS)
"""The number that new runs get."""


def format_of(stored: dict[str, Any], path: Path) -> int:
    """The number of a stored configuration; 0 where it has none.

    Args:
        stored: what `config.json` holds.
        path: of that file, for messages.

    Raises:
        InputError: a newer program made the run, or it is no number.
    """
    number = stored.get("format", 0)
    if not isinstance(number, int) or isinstance(number, bool) or number < 0:
        raise InputError(f"{path} says {number!r} for the format of its run: a number was expected, it is damaged")
    if number > FORMAT:
        raise InputError(
            f"{path} is of a run of format {number}, made by a newer penult; this one knows formats up to {FORMAT}: "
            "update it, or give another run"
        )
    return number


def as_stored(config: dict[str, Any], number: int) -> dict[str, Any]:
    """A run's present configuration as one of format `number` has it: digests of images in files were plain before 2.

    Whether such a run was shown the same pixels hangs on the pictures: see `apps.training.train.train`.
    """
    if number >= 2:
        return config
    digests = {key: value.removesuffix(UPRIGHT) for key, value in config.items() if key in DIGESTS_OF_IMAGES and value}
    return config | digests


def check_known(folder: Path) -> None:
    """Make sure that no newer program made a run; what else is wrong with its configuration is left to its readers.

    Raises:
        InputError: as for `format_of`.
    """
    path = folder / "config.json"
    try:
        stored = read_json(path)
    except (OSError, InputError):
        return
    if isinstance(stored, dict):
        format_of(stored, path)
