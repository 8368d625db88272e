"""Features of real images, kept in files named by all that they depend on."""

import json
import os
import re
import shutil
from collections.abc import Callable
from hashlib import blake2b
from pathlib import Path

from apps.command.console import say
from apps.command.version import version_of
from apps.data.image_set import ImageSet
from apps.data.sources.catalogue import data_root
from apps.fidelity.extractor import Extractor
from apps.fidelity.features import Features, features_of
from apps.training.shares import everywhere
from distill.processes import place
from priors.errors import InputError
from priors.files.tensors import digest_of, read_tensors, write_tensors


def cache_folder(root: Path | None = None) -> Path:
    """Where features are kept: $PENULT_CACHE, else `fidelity` in the folder of the data sets.

    Raises:
        InputError: that is a file.
    """
    folder = Path(os.environ.get("PENULT_CACHE") or data_root(root) / "fidelity")
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder} is a file: features are kept in a folder, name one by $PENULT_CACHE")
    return folder


def cached_features(images: ImageSet, extractor: Extractor, sweep: Callable, folder: Path | None) -> Features:
    """Features of images from the cache; taken and put there where they are not, or where the file is damaged.

    Args:
        images: the set.
        extractor: what takes them.
        sweep: `apps.data.sweep.sweep`, or one with its processes given.
        folder: of the cache, which all processes see; None for none.

    Raises:
        InputError: as for `features_of`.
    """
    if folder is None:
        return features_of(images, extractor, sweep)
    extractor.check(images.image_shape, f"{images.name} ({images.split})")
    identity = _identity(images, extractor)
    path = folder / _file_name(images, extractor, identity)
    found = _read(path, identity, images, extractor)
    if all(everywhere(found is not None)):
        return found
    parts = path.with_suffix(".parts")
    found = features_of(images, extractor, sweep, store=parts, first=True)
    if place()[0] == 0:
        try:
            write_tensors(path, {"features": found.features}, {"identity": identity})
        except OSError as error:  # what was computed is not lost for want of a place to keep it
            say(f"The features of {images.name} could not be kept in {folder} ({error.strerror}).")
    if place()[1] > 1:  # the others read the first one's file, which processes of a machine share in memory
        everywhere(None)
        found = _read(path, identity, images, extractor)
        if not all(everywhere(found is not None)):
            found = features_of(images, extractor, sweep, store=parts)
        everywhere(None)
    if place()[0] == 0 and path.is_file():
        shutil.rmtree(parts, ignore_errors=True)
    return found


def _identity(images: ImageSet, extractor: Extractor) -> str:
    """All that features depend on, as text."""
    parts = {
        "images": images.digest,
        "files": _stamp(images),
        "count": len(images),
        "split": images.split,
        "extractor": extractor.name,
        "layer": extractor.layers[0],
        "weights": extractor.digest,
        "preprocessing": extractor.preprocessing,
        "torch-fidelity": version_of("torch-fidelity"),
    }
    return json.dumps(parts, sort_keys=True)


def _stamp(images: ImageSet) -> str:
    """When what stays on the disk was written: its digest is of names and sizes alone."""
    return "" if images.in_memory else images.images.stamp()


def _file_name(images: ImageSet, extractor: Extractor, identity: str) -> str:
    words = re.sub(r"[^\w.-]+", "-", f"{images.name}-{images.split}-{Path(extractor.name).name}")
    return f"{words[:100]}-{blake2b(identity.encode(), digest_size=8).hexdigest()}.safetensors"


def _read(path: Path, identity: str, images: ImageSet, extractor: Extractor) -> Features | None:
    """What a file of the cache holds; None where there is none, or it is damaged or of something else."""
    if not path.is_file():
        return None
    try:
        tensors, metadata = read_tensors(path, "features", foreign=True)
    except InputError:
        return None
    features = tensors.get("features")
    if features is None or tuple(features.shape) != (len(images), extractor.features):
        return None
    # Files of before there were checksums say in their own way what they hold.
    if metadata.get("identity") != identity or ("content" in metadata and metadata["content"] != digest_of(tensors)):
        return None
    return Features(features, None, images.name, images.split, images.digest)
