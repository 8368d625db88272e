"""A prior as one safetensors file: the final layer as it was given, the concentrations, and the gauge beside them."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from torch import Tensor

from priors.errors import InputError
from priors.files.json_files import parse_json
from priors.files.tensors import read_tensors, write_tensors
from priors.gauge.gauge import DirectionsName, Gauge
from priors.gauge.space import Space, SpaceName

_FORMAT = "penult prior 2"
_BEFORE = "penult prior 1"
"""From before there was a choice of gauge: the paper's."""
_SHAPES = {"centre": "m", "factor": "mm", "scale": "", "shift": "m", "means": "cm"}
"""By tensor of a gauge, its shape: c classes in m dimensions."""
_NEEDED = {
    "raw": (),
    "centred": ("centre",),
    "whitened": ("centre", "factor"),
    "weights": (),
    "fitted": ("scale", "shift"),
    "means": ("means",),
}
"""By name of a space or of directions, the tensors that it consists of; centred directions need none."""


@dataclass(frozen=True)
class StoredPrior:
    """What a file holds; the tensors' values are finite, and those of the gauge fit the weight.

    Attributes:
        tensors: weight, concentration, bias and norm, as far as they are there.
        gauge: of the prior.
        class_names: one a class, not checked.
        provenance: by field, not checked.
    """

    tensors: Mapping[str, Tensor]
    gauge: Gauge
    class_names: Any
    provenance: Any


def write_prior(
    path: str | Path,
    tensors: Mapping[str, Tensor | None],
    gauge: Gauge,
    class_names: Sequence[str],
    provenance: Mapping[str, str],
) -> None:
    """Write a prior.

    Raises:
        OSError: the disk is full or the place cannot be written; what was there is untouched.
    """
    parts = {f"gauge.{name}": part for name, part in gauge.named_buffers()}
    metadata = {
        "format": _FORMAT,
        "class_names": json.dumps(class_names),
        "provenance": json.dumps(dict(provenance)),
        "space": gauge.space_name,
        "directions": gauge.directions,
    }
    if gauge.shrinkage is not None:
        metadata["shrinkage"] = repr(gauge.shrinkage)
    write_tensors(path, {name: part for name, part in (tensors | parts).items() if part is not None}, metadata)


def read_prior(path: str | Path) -> StoredPrior:
    """Read what `write_prior` wrote, and what was written before there were gauges.

    Raises:
        InputError: there is no such file, or it is damaged, or holds something else.
    """
    tensors, metadata = read_tensors(path, "prior", finite=True)
    found = metadata.get("format")
    if found not in (_FORMAT, _BEFORE):
        raise InputError(f"{path} holds no prior: format {_FORMAT!r} was expected, not {found!r}")
    own = {name: part for name, part in tensors.items() if not name.startswith("gauge.")}
    parts = {name.removeprefix("gauge."): part for name, part in tensors.items() if name.startswith("gauge.")}
    try:
        gauge = Gauge() if found == _BEFORE else _gauge(metadata, parts, own["weight"])
        norm = own.get("norm")
        if norm is not None and (norm.shape != own["weight"].shape[:1] or not bool((norm > 0).all())):
            raise ValueError(f"norm is of shape {tuple(norm.shape)}: a positive number a class was expected")
        names, provenance = parse_json(metadata["class_names"]), parse_json(metadata["provenance"])
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path} holds no prior that can be used: {error}") from None
    return StoredPrior(own, gauge, names, provenance)


def _gauge(metadata: Mapping[str, str], parts: dict[str, Tensor], weight: Tensor) -> Gauge:
    """Raises ValueError or KeyError where the tensors are not those of the gauge, or do not fit the weight."""
    space, directions = metadata["space"], metadata["directions"]
    if space not in get_args(SpaceName) or directions not in get_args(DirectionsName):
        raise ValueError(f"directions {directions!r} in the space {space!r}")
    needed = {*_NEEDED[space], *(() if directions == "centred" else _NEEDED[directions])}
    if needed != parts.keys():
        raise ValueError(f"a gauge of {', '.join(sorted(parts)) or 'nothing'}, not of {', '.join(sorted(needed))}")
    sizes = dict(zip("cm", weight.shape, strict=True))
    for name, part in parts.items():
        shape = tuple(sizes[letter] for letter in _SHAPES[name])
        if part.shape != shape or part.dtype != weight.dtype:
            raise ValueError(f"{name} is {part.dtype} of shape {tuple(part.shape)}, not {weight.dtype} of {shape}")
    factor = parts.get("factor")
    if factor is not None and (factor.triu(1).any() or not (factor.diagonal() > 0).all()):
        raise ValueError("factor is not lower-triangular with a positive diagonal")
    shrinkage = float(metadata["shrinkage"]) if "shrinkage" in metadata else None
    return Gauge(Space(space, parts.pop("centre", None), parts.pop("factor", None), shrinkage), directions, **parts)
