"""How robustness is kept: `robustness.json`, a list of protocols with their scores, and the norms of all images."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from apps.classifiers.robustness.measuring import Robustness
from apps.classifiers.robustness.settings import RobustnessMeasuring
from apps.data.image_set import ImageSet
from apps.runs.evaluations import as_kept, keep_evaluation, scores_by
from priors.files.json_files import finite
from priors.files.tensors import write_tensors

FILE, NORMS = "robustness.json", "robustness.safetensors"


def keep(folder: Path | None, config: RobustnessMeasuring, images: ImageSet, found: Robustness) -> None:
    """Write norms, then numbers, in the place of what the same protocol gave before.

    Args:
        folder: where to; None for nowhere: the numbers are told, and that is all.
        config: what was asked for.
        images: that were changed.
        found: what came of it.
    """
    if folder is not None:
        write_tensors(folder / NORMS, {"norm": found.norm, "target": found.target, "already": found.already})
    own = protocol(config) | {"data_digest": images.digest, "images": len(images)}
    entry = as_kept(own) | {
        "of": images.name,
        "image_shape": list(images.image_shape),
        "scores": scores(found),
    }
    keep_evaluation(folder, entry, FILE, own)


def protocol(config: RobustnessMeasuring) -> dict[str, Any]:
    """What the command line says of how numbers are made; None where it says nothing."""
    return {
        "model": config.model,
        "data": config.data,
        "image_size": config.image_size,
        **({} if config.classes is None else {"classes": config.classes}),
        "resize": config.resize,
        "asked": config.images,
        "wrong": config.wrong,
        "from": config.departure,
        "method": config.method,
        "steps": config.steps,
        "seed": config.seed,
    }


def scored(config: RobustnessMeasuring, folder: Path) -> Mapping[str, Any] | None:
    """The scores that such a command has left in a folder; None where it has not run.

    Raises:
        InputError: what is kept is damaged.
    """
    return scores_by(folder, FILE, protocol(config))


def scores(found: Robustness) -> dict[str, Any]:
    """All numbers as JSON has them: null where there is none.

    "L2" is the mean over images and classes, where what is given already counts as 0, and "L2 moved" without that.
    "RMS" is L2 over the root of an image's values, which Szegedy et al. (2014) call distortion. The .00276 of appendix
    A must be of that kind: as an L2 norm it would be less than a grey level (1/255) of one value. As an RMS it is an L2
    norm of 1.07 of a colour image of 224x224, or of .62 were it over pixels.
    """
    (mean, error), (moved, moved_error) = found.mean(), found.mean(~found.already)
    root = math.sqrt(found.values)
    numbers: dict[str, float] = {
        "L2": mean,
        "L2 error": error,
        "RMS": mean / root,
        "RMS error": error / root,
        "L2 moved": moved,
        "L2 moved error": moved_error,
        "L2 median": float(found.norm[found.reached].median()),
        "pairs": found.norm.numel(),
        "failed": int((~found.reached).sum()),
        "already": int(found.already.sum()),
        "accuracy": math.nan if found.right is None else float(found.right.double().mean()),
    }
    by_rank = {str(rank + 1): rank_mean(found, rank)[0] for rank in range(found.norm.shape[1])}
    told, told_by_rank = ({name: finite(value) for name, value in own.items()} for own in (numbers, by_rank))
    return told | {"L2 by rank": told_by_rank}


def rank_mean(found: Robustness, rank: int) -> tuple[float, float]:
    """Mean norm of one rank of wrong classes, from 0, and its standard error over images."""
    one = found.norm[:, rank][found.reached[:, rank]]
    if not len(one):
        return math.nan, math.nan
    return float(one.mean()), float(one.std() / math.sqrt(len(one))) if len(one) > 1 else math.nan
