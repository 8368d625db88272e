"""The evaluations of a run: `evaluation.json` and its like, lists of protocols with their scores."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from apps.command.answer import tell
from apps.command.config import plain
from apps.data.image_set import ImageSet
from apps.runs.outputs import check_writable
from priors.errors import InputError, shown
from priors.files.json_files import read_json, write_json
from priors.files.typed import check_types


def read_evaluations(folder: Path, name: str = "evaluation.json") -> list[dict[str, Any]]:
    """What has been evaluated in a run's folder so far; nothing where nothing has.

    Args:
        folder: the run's.
        name: of the file.

    Raises:
        InputError: the file is damaged or of another program.
    """
    path = folder / name
    if not path.exists():
        return []
    found = read_json(path, "list of evaluations")
    if not isinstance(found, list) or not all(
        isinstance(entry, dict) and isinstance(entry.get("scores"), dict) for entry in found
    ):
        raise InputError(f"{path} is no list of evaluations: move it away")
    for entry in found:
        _check_scores(entry["scores"], path)
        try:
            check_types(_Protocol, entry)
        except TypeError as error:
            raise InputError(f"{path} is damaged: {error}; move it away") from None
    return found


@dataclass(frozen=True)
class _Protocol:
    """What evaluations of any kind may be made by; each has some of it."""

    model: str
    data: str
    data_digest: str
    split: str
    images: int
    resize: int
    samples: int
    batch_size: int
    seed: int
    concentration: str
    space: str
    directions: str
    classifier: str
    classifier_digest: str
    reals: int
    drawn: int
    trained_in: str
    protocol: str
    chunks: int
    fakes: int
    kid_subset: int | None
    extractor: str
    extractor_model: str | None
    extractor_digest: str | None
    features: int | str


def _check_scores(scores: dict[str, Any], path: Path) -> None:
    """Make sure that scores, in groups or not, are numbers; None is one that could not be told."""
    for name, value in scores.items():
        if isinstance(value, dict):
            _check_scores(value, path)
        elif value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
            raise InputError(
                f"{path} is damaged: its score {name!r} is {shown(value)}, a number was expected; move it away"
            )


def claim_evaluations(folder: Path, name: str = "evaluation.json") -> list[dict[str, Any]]:
    """As `read_evaluations`, before work that will add to them: what is damaged or not to be written is found now.

    Raises:
        InputError: the file is damaged or of another program, cannot be written, or another process is adding to it.
    """
    check_writable(folder / name, f"{name} in {folder}")
    return read_evaluations(folder, name)


def protocol_of(entry: Mapping[str, Any]) -> dict[str, Any]:
    """What an evaluation was made by: two by the same protocol replace one another."""
    return {name: value for name, value in entry.items() if name != "scores"}


def as_kept(protocol: Mapping[str, Any]) -> dict[str, Any]:
    """A protocol as an evaluation has it: without what it does not say (None)."""
    return {name: plain(value) for name, value in protocol.items() if value is not None}


def follows(entry: Mapping[str, Any], protocol: Mapping[str, Any]) -> bool:
    """Whether an evaluation, as it is stored, was made by a protocol, of which None asks that the entry has no such.

    What else the entry says counts for nothing.
    """
    return all(entry.get(name) == plain(value) for name, value in protocol.items())


def keep_evaluation(
    folder: Path | None,
    entry: Mapping[str, Any],
    name: str = "evaluation.json",
    protocol: Mapping[str, Any] | None = None,
) -> None:
    """Tell an evaluation, and add it to a folder's, in the place of those by the same protocol.

    What is there is read now, not before the work: another evaluation may have ended meanwhile.

    Args:
        folder: the run's, or the one that was asked for; None where it is kept nowhere.
        entry: with its scores under "scores".
        name: of the file.
        protocol: what the entry was made by; None: all that it says but the scores.

    Raises:
        InputError: the file is damaged or of another program.
    """
    tell(Path(name).stem, entry)
    if folder is None:
        return
    earlier = read_evaluations(folder, name)
    if protocol is None:
        kept = [old for old in earlier if protocol_of(old) != protocol_of(entry)]
    else:
        kept = [old for old in earlier if not follows(old, protocol)]
    write_json(folder / name, [*kept, entry])


def scores_by(folder: Path, name: str, protocol: Mapping[str, Any]) -> dict[str, Any] | None:
    """The scores of the first evaluation that was made by a protocol; None where there is none.

    Args:
        folder: the run's, or the one that was asked for.
        name: of the file.
        protocol: what they were made by.

    Raises:
        InputError: the file is damaged or of another program.
    """
    return next((entry["scores"] for entry in read_evaluations(folder, name) if follows(entry, protocol)), None)


def first_images(images: ImageSet, count: int | None) -> tuple[ImageSet, dict[str, int]]:
    """The first so many images, and what an evaluation says of that: nothing where they are all.

    Args:
        images: a whole set.
        count: how many are asked for; None: all.
    """
    if count is None or count >= len(images):
        return images, {}
    return images.subset(range(count)), {"first": count}
