"""Trained models: by name what comes with the package; by path what `penult export` or a training left in a folder.

What was pushed to the Hub is named as it is there.
"""

from pathlib import Path

import torch
from torch import nn

from apps.command import own_code
from apps.models.named import model_run
from apps.pretrained_models.finding import place_of, pretrained_folder, pretrained_names
from apps.sharing import hub
from priors.errors import InputError, reason, shown


def from_pretrained(
    path_or_repository: str | Path,
    device: str | torch.device = "cpu",
    *,
    network: nn.Module | None = None,
    allow: str | None = None,
) -> nn.Module:
    """A classifier or a generator, in evaluation mode.

    Only JSON and safetensors are read: nothing is unpickled, and no code that the folder names is executed unless you
    name it as well.

    Args:
        path_or_repository: a name of `penult ls pretrained`, such as "mnist-hvae-l", or pretrained:NAME where a folder
            here is called so too; an exported folder, that of a finished run, or what `priors.zoo.save` wrote; or
            OWNER/NAME on the Hub, where that is no path and huggingface_hub is installed: it is then downloaded into
            the Hub's cache.
        device: where its weights go.
        network: for a classifier that was made by code of your own: what that code makes for its classes and images.
            Its weights are replaced.
        allow: instead of that, import:package.module:factory as the folder names it, which is then called.

    Returns:
        A classifier maps images (N, C, H, W) in [0, 1] to logits (N, classes); a generator has `generate(labels)`,
        which gives images (N, C, H, W) in [0, 1], without a graph.

    Raises:
        InputError: there is no such name, folder or repository (the nearest is offered), it holds no finished run, its
            files are damaged, or the device is none.
    """
    if not isinstance(path_or_repository, str | Path):
        raise InputError(
            f"from_pretrained of {shown(path_or_repository)}: expected the path of a folder, or OWNER/NAME on the Hub"
        )
    if allow is not None:
        own_code.allow_in_python(allow)
    folder = place_of(path_or_repository)
    if not folder.exists() and isinstance(path_or_repository, str):
        if hub.is_repository(path_or_repository):
            folder = hub.fetch(path_or_repository)
        elif path_or_repository in pretrained_names():
            folder = pretrained_folder(path_or_repository)
    model = model_run(folder, network)
    try:
        return model.to(device)
    except (RuntimeError, AssertionError) as error:  # torch has both for a device that is not there
        raise InputError(f"device {str(device)!r}: {reason(error)}") from None
