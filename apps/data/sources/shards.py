"""Sets in shards, as WebDataset has them: .tar files whose members of one name are a sample.

A shard is not read in a stream, as that library does: a stream has an order of its own, which shuffling by a buffer
hardly changes, and it hangs on the number of processes; a run could not be resumed in its middle. A .tar that is not
compressed says where each member begins, so an index of all members gives any image by one read, and the order, the
augmentation and the resumption of a training are those of any other set. It is kept beside the shards.
"""

import re
from functools import cache
from glob import glob
from pathlib import Path

from apps.data.image_set import ImageSet
from apps.data.sources.finding import readable
from apps.data.sources.forms import SHARDS, Form, apart
from apps.data.sources.labelled import UNKNOWN, Labelled, check_names, image_set
from apps.data.sources.shard_images import ShardImages
from apps.data.sources.shard_index import ShardIndex, index_of
from apps.data.sources.stored_images import Brought
from priors.errors import InputError

_WORDS = {
    "train": ("train", "training"),
    "test": ("test", "testing", "val", "validation", "valid", "dev", "eval"),
}
"""Words in the name of a shard, or of its folder, by which it is of a split."""
_NAMES = ("classes.txt", "classnames.txt")
"""Files beside shards with a name a line for each class."""
_MOST = 1_000_000


def read_shards(form: Form, split: str, brought: Brought) -> ImageSet:
    """One split of a set in shards.

    Args:
        form: the folder or pattern of the shards, with what is named of them.
        split: "train" or "test".
        brought: to which size, and how it is held.

    Raises:
        InputError: there are no such shards, or one is damaged, compressed, or lacks an image or a class.
    """
    _check_local(form)
    splits = _splits(form)
    if not splits[split]:
        raise InputError(
            f"{form.given} has no shards of the {split} split: expected the word {split} in their names, or in their "
            f"folder's, as in {split}-000.tar, or {split}=PATTERN"
        )
    names = _class_names(form, [*splits["train"], *splits["test"]])

    @cache
    def index(part: str) -> ShardIndex:
        return index_of(splits[part], form.settings.get("image"), form.settings.get("label", "cls"))

    def read(part: str) -> Labelled | None:
        if not splits[part]:
            return None
        own = index(part)
        # Where training images are of classes by name, a number among the test images' is a name too, and none of them.
        named = names is None and bool(splits["train"]) and not index("train").numbered
        labels = list(own.labels) if named else own.numbers(names)
        return Labelled(ShardImages(splits[part], own, UNKNOWN), labels, names, part)

    return image_set(form.label, form.given, split, read, brought)


def expanded(pattern: str) -> list[str]:
    """The texts that a pattern with braces means, as a shell has them: alternatives, and ranges of numbers.

    Example:
        >>> expanded("{train,test}-{08..10}.tar")[:4]
        ['train-08.tar', 'train-09.tar', 'train-10.tar', 'test-08.tar']
    """
    start = pattern.find("{")
    if start < 0:
        return [pattern]
    depth, end = 0, -1
    for place, letter in enumerate(pattern):
        depth += (letter == "{") - (letter == "}")
        if depth == 0 and place > start:
            end = place
            break
    if end < 0:
        raise InputError(f"{pattern}: a brace is open at its end")
    body = pattern[start + 1 : end]
    limits, choice = re.fullmatch(r"(\d+)\.\.(\d+)", body), apart(body)
    if limits:
        low, high = map(int, limits.groups())
        if high - low > _MOST:
            raise InputError(f"{pattern}: {{{body}}} is over {_MOST:,} shards")
        width = max(map(len, limits.groups())) if any(re.match("0\\d", text) for text in limits.groups()) else 0
        words = [f"{number:0{width}d}" for number in range(low, high + 1)]
    elif len(choice) > 1:
        words = [text for word in choice for text in expanded(word)]
    else:
        raise InputError(f"{pattern}: {{{body}}} is neither a range such as {{000..009}} nor a choice {{train,test}}")
    return [pattern[:start] + word + rest for word in words for rest in expanded(pattern[end + 1 :])]


def _check_local(form: Form) -> None:
    """Refuse what is read by a stream alone."""
    for place in (form.place, *(form.settings.get(split, "") for split in _WORDS)):
        kind = re.match(r"(\w+)://|(pipe):", place)
        if kind:
            raise InputError(
                f"{form.given}: {kind.group(1) or kind.group(2)} is a stream, and images are read in any order: copy "
                "the shards to a disk"
            )


def _splits(form: Form) -> dict[str, tuple[Path, ...]]:
    """The shards of each split, in order."""
    own = {split: form.settings[split] for split in _WORDS if split in form.settings}
    found = {split: _shards(form, pattern) for split, pattern in own.items()}
    if len(found) == 2:
        return found
    everything = _shards(form, form.place)
    taken = {path for paths in found.values() for path in paths}
    for split in _WORDS:
        if split not in found:
            found[split] = tuple(path for path in everything if _is_of(path, split) and path not in taken)
    return found


def _shards(form: Form, pattern: str) -> tuple[Path, ...]:
    """The shards of a folder, or of a pattern.

    Raises:
        InputError: there are none, or one that the pattern names is not there.
    """
    base = Path(form.place)
    place = Path(pattern).expanduser()
    if not place.is_absolute() and base.is_dir() and pattern != form.place and not place.exists():
        place = base / pattern
    if place.is_dir():
        found = sorted({path for where in SHARDS for path in place.glob(where)})
        if not found:
            raise InputError(f"{form.given}: {readable(str(place))} holds no shards (*.tar), nor do folders in it")
        return tuple(found)
    found = []
    for text in expanded(str(place)):
        some = sorted(glob(text)) if "*" in text or "?" in text else [text]
        found += map(Path, some)
    missing = next((path for path in found if not path.is_file()), None)
    if missing is not None:
        raise InputError(f"{form.given}: there is no shard {readable(str(missing))}")
    if not found:
        raise InputError(f"{form.given}: no file is called {pattern}")
    return tuple(found)


def _is_of(path: Path, split: str) -> bool:
    """Whether a shard is of a split by its name, or else by its folder's."""
    for name in (path.name, path.parent.name):
        words = set(re.split(r"[^a-z]+", name.lower()))
        said = [part for part, known in _WORDS.items() if words & set(known)]
        if len(said) == 1:
            return said[0] == split
    return False


def _class_names(form: Form, shards: list[Path]) -> tuple[str, ...] | None:
    """The names of the classes, where a file beside the shards, or in the folder above, says them."""
    for folder in dict.fromkeys((shards[0].parent, shards[0].parent.parent)):
        for name in _NAMES:
            if (folder / name).is_file():
                lines = (folder / name).read_text(encoding="utf-8", errors="backslashreplace").splitlines()
                return check_names([line.strip() for line in lines if line.strip()], str(folder / name)) or None
    return None
