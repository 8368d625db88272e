"""torch-fidelity's Inception network, with the very weights that published scores are by.

Its loader unpickles, so only a file that is known by its digest is ever given to it.
"""

import contextlib
import hashlib
import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import torch
from filelock import FileLock
from torch_fidelity.feature_extractor_inceptionv3 import URL_INCEPTION_V3
from torch_fidelity.utils import create_feature_extractor

from apps.fidelity.extractor import Extractor
from priors.errors import InputError

NAME = "inception-v3-compat"
SHA256 = "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2"
"""Of the weights of 2015-12-05, as torch-fidelity and pytorch-fid publish them."""
_LAYERS = ("2048", "logits_unbiased")
_SECONDS = 30
DECLARED = Extractor(
    name=NAME,
    model="inception",
    layers=_LAYERS,
    features=2048,
    digest=SHA256[:16],
    preprocessing="resized to 299x299 as TensorFlow 1 does, (pixels - 128) / 128",
    network=torch.nn.Identity(),
    extract=torch.nn.Identity(),
    channels=3,
    batch_size=64,
    standard=True,
)
"""All that is known of it without its weights."""


def inception_extractor(weights: Path | None = None) -> Extractor:
    """The usual extractor: 2,048 pooled features for FID, KID, precision and recall, unbiased logits for IS.

    Args:
        weights: the file; None for torch-fidelity's own, downloaded into torch's cache on first use.

    Raises:
        InputError: the weights cannot be had, or are others.
    """
    path = downloaded() if weights is None else checked(weights)
    network = create_feature_extractor(
        NAME, list(_LAYERS), cuda=False, feature_extractor_weights_path=str(path), verbose=False
    )
    return replace(DECLARED, network=network, extract=network)


def checked(path: Path) -> Path:
    """A file of weights, if it is the right one.

    Raises:
        InputError: there is none, or it holds something else.
    """
    if not path.is_file():
        raise InputError(f"--inception-weights {path}: no such file; {_where()}")
    if _digest(path) != SHA256:
        raise InputError(
            f"--inception-weights {path} are not torch-fidelity's weights of 2015-12-05 (its SHA-256 is not "
            f"{SHA256[:8]}...), and scores by any others are not comparable: {_where()}"
        )
    return path


def downloaded() -> Path:
    """The weights in torch's cache, downloaded on first use; processes wait for one to do it.

    Raises:
        InputError: they are not there and cannot be downloaded, or what is there is damaged.
    """
    path = Path(torch.hub.get_dir()) / "checkpoints" / Path(URL_INCEPTION_V3).name
    if not path.is_file():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(path.with_name(f".{path.name}.lock")), _patience():
                if not path.is_file():
                    torch.hub.download_url_to_file(URL_INCEPTION_V3, str(path), SHA256, progress=False)
        except (OSError, RuntimeError) as error:  # urllib's errors are OSErrors; a wrong digest is a RuntimeError
            raise InputError(
                f"Inception's weights are not in {path.parent} and could not be downloaded ({error}): {_where()}"
            ) from None
    if _digest(path) != SHA256:
        raise InputError(f"{path} is damaged, or holds other weights: remove it, and it is downloaded again")
    return path


def _where() -> str:
    return (
        f"fetch {URL_INCEPTION_V3} elsewhere and give it as --inception-weights FILE, "
        "or score with a classifier, --extractor RUN"
    )


def _digest(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextlib.contextmanager
def _patience() -> Iterator[None]:
    """Give up on a network that does not answer."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_SECONDS)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
