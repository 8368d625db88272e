"""Runs among the user's that were trained on a layer of a network: found by its weights, whatever they are called."""

from contextlib import suppress

from apps.layers.lens import Subject
from apps.models.registry import description_of
from apps.runs.run import Run
from priors.errors import InputError
from priors.files.tensors import digest_of


def runs_of_layers(subject: Subject, kind: str) -> dict[str, Run]:
    """By tap, the newest finished run of that kind on that layer of this network, for images of this shape.

    Args:
        subject: the network, and the folders in which to look.
        kind: of model, as `model.json` has it.
    """
    own, shape, found = digest_of(subject.network.state_dict()), list(subject.images.image_shape), {}
    finished = {path: path.stat().st_mtime for runs in subject.runs for path in runs.glob("*/result.json")}
    for path in sorted(finished, key=lambda one: (finished[one], one)):
        with suppress(InputError):  # a run that is damaged is none
            described = description_of(run := Run(path.parent))
            like = described.get("model") == kind and described.get("image_shape") == shape
            if like and described.get("network_digest") == own:
                found[described.get("site")] = run
    return found


def places(subject: Subject) -> str:
    """Where was looked, in words."""
    return " or ".join(dict.fromkeys(map(str, subject.runs)))
