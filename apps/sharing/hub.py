"""The Hugging Face Hub, where huggingface_hub is installed: names there, sending a folder, fetching one."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from priors.errors import InputError

FETCHED = ("*.json", "*.safetensors", "README.md")
"""All that is fetched of a repository: nothing in it is ever executed or unpickled."""
_REASONS = {
    401: "no valid token: give one by hf auth login, or in HF_TOKEN",
    403: "the token may not write there",
    404: "there is no such user, organisation or repository, or it is not for you",
}
"""What the Hub's refusals mean, by their status."""
_EXISTS = 409


def is_repository(name: str) -> bool:
    """Whether a name is of the form OWNER/NAME that the Hub takes.

    Example:
        >>> [is_repository(name) for name in ("penult/mnist-hvae", "mnist-hvae", "penult/mnist--hvae", "a/b/c")]
        [True, False, False, False]
    """
    parts = name.split("/")
    fine = [re.fullmatch(r"(?a:\w([\w.-]*\w)?)", part) and len(part) <= 96 for part in parts]
    return len(parts) == 2 and all(fine) and not re.search(r"--|\.\.|\.git$", name)


def check_repository(name: str) -> None:
    """Make sure that something can be pushed to `name`, before there is something to push.

    Raises:
        InputError: a name of another form, or huggingface_hub is not installed.
    """
    if not is_repository(name):
        raise InputError(
            f"--push {name}: expected OWNER/NAME, both of letters, digits, dashes, dots and underscores, up to 96 of "
            "them, neither -- nor .. nor .git among them, and no dash or dot at their ends"
        )
    _package(f"--push {name}")


def push(folder: Path, name: str, files: Sequence[str], private: bool = False, overwrite: bool = False) -> str:
    """Make a model's repository and upload a folder's files in one commit; returns the address.

    Args:
        folder: what is uploaded.
        name: OWNER/NAME.
        files: names of the files, and of no others.
        private: whether only its owner sees the repository.
        overwrite: whether a repository that is there already may get another commit.

    Raises:
        InputError: the Hub cannot be reached or refuses, or the repository is public and should be private.
    """
    hub = _package(f"--push {name}")
    kept = f"{folder} is written, but it is not on the Hub"
    again = "then give the same command again with --overwrite"
    try:
        api = hub.HfApi()
        # Private or not, that is for a new repository only: without the flag as its owner's settings have it.
        address = api.create_repo(name, private=True if private else None, exist_ok=overwrite)
        public = private and overwrite and not api.model_info(name).private
        if not public:
            api.upload_folder(
                repo_id=name, folder_path=str(folder), allow_patterns=list(files), commit_message="Export by penult"
            )
    except Exception as error:  # whatever the Hub, its client and the network between raise
        if not overwrite and _status(error) == _EXISTS:
            raise InputError(
                f"{kept}: {name} exists there already; give the same command with --overwrite to add a commit to it "
                "(its history stays), or push to another name"
            ) from None
        raise InputError(f"{kept}: {_reason(error)}; mend that, {again}") from None
    if public:
        raise InputError(f"{kept}: {name} is public there, and --private was asked for; make it private, {again}")
    return str(address)


def fetch(name: str) -> Path:
    """Download the part of a repository that a model is made of; returns its folder in the Hub's cache.

    Args:
        name: OWNER/NAME.

    Raises:
        InputError: huggingface_hub is not installed, or the Hub cannot be reached or has no such repository.
    """
    hub = _package(f"{name} is no folder here, and from the Hub")
    try:
        return Path(hub.snapshot_download(name, allow_patterns=list(FETCHED)))
    except Exception as error:  # as above
        raise InputError(
            f"{name} is no folder here, and it could not be fetched from the Hub: {_reason(error)}"
        ) from None


def _package(wanted: str) -> Any:
    """The package, imported only where it is asked for."""
    try:
        import huggingface_hub
    except ImportError:
        raise InputError(
            f"{wanted}: huggingface_hub is needed for that and not installed; pip install huggingface_hub"
        ) from None
    return huggingface_hub


def _status(error: Exception) -> int | None:
    return getattr(getattr(error, "response", None), "status_code", None)


def _reason(error: Exception) -> str:
    """Why it failed, in a line: by the Hub's status, or as the error says it."""
    known = _REASONS.get(_status(error))
    text = (str(error).strip() or "no reason given").splitlines()[0].rstrip(".")
    return known or f"{type(error).__name__}: {text}"
