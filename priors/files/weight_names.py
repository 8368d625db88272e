"""Weights under the names that a network has for them, where the file that they come from has other ones.

Wrappers write their own part into each name: data parallelism "module.", compilation "_orig_mod.", sharding and
checkpointing theirs, trainers "model." or "state_dict.", often several of them. Of tensors that a network has under
several names, `safetensors.torch.save_model` and others write only one.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from priors.reading.taps import canonical

_COUNTERS = ("n_averaged",)
"""What a wrapper keeps beside the network: how many weights torch.optim.swa_utils.AveragedModel has averaged."""


@dataclass(frozen=True)
class Named:
    """A file's tensors by the network's names, as far as they have one.

    Attributes:
        tensors: by the names in the network's `state_dict`.
        missing: names of the network that there is no tensor for.
        unexpected: names in the file that the network does not have.
        renamed: what was done to the names, in words; empty where they are the network's.
    """

    tensors: Mapping[str, Tensor]
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    renamed: str


def named_as(own: Mapping[str, Tensor], given: Mapping[str, Tensor], aliases: Mapping[str, str] | None = None) -> Named:
    """Find the network's name of each tensor.

    Names are taken as they are where they fit. Otherwise what wrappers put into them is left out, wherever it stands,
    and then what all names begin with, in the file, in the network or in both, where that makes all of them fit. A name
    that is missing is taken from another one: of the same memory in the network, or as the file's metadata says.

    Args:
        own: the network's `state_dict`.
        given: the file's tensors.
        aliases: names that are not in the file, and those of the same tensors that are: a file's metadata, as
            `safetensors.torch.save_model` writes it; whatever else stands there is passed over.
    """
    alike = _alike(own)
    best = _under(_Renaming((), (), False), own, given, aliases or {}, alike)
    for renaming in _renamings(own, given) if _misfits(best) else ():
        found = _under(renaming, own, given, aliases or {}, alike)
        if _misfits(found) < _misfits(best):
            best = replace(found, renamed=_said(renaming, given))
    return best


def differing(own: Mapping[str, Tensor], tensors: Mapping[str, Tensor]) -> tuple[str, str] | None:
    """Two names that share memory in the network and are given different numbers; None where there are none.

    Only one of both would be left in the network.

    Args:
        own: the network's `state_dict`.
        tensors: by its names, of its shapes.
    """
    for name, others in _alike(own).items():
        for other in others:
            if name in tensors and other in tensors:
                mine, theirs = own[name], own[other]
                # The other's numbers as the network lays them out, and what the first name means of them.
                laid = torch.empty_strided(theirs.shape, theirs.stride(), dtype=theirs.dtype).copy_(tensors[other])
                part = laid.as_strided(mine.shape, mine.stride(), mine.storage_offset() - theirs.storage_offset())
                if not torch.equal(part, tensors[name].to(mine.dtype)):
                    return min(name, other), max(name, other)
    return None


@dataclass(frozen=True)
class _Renaming:
    """Leading parts that are left out of the file's names, those that are put before them, and whether wrappers' go."""

    without: tuple[str, ...]
    within: tuple[str, ...]
    unwrapped: bool

    def __call__(self, name: str) -> str:
        parts = (canonical(name) if self.unwrapped else name).split(".")[len(self.without) :]
        return ".".join((*self.within, *parts))


def _renamings(own: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> Iterable[_Renaming]:
    """What names may mean, the least change first."""
    unwrapped = len({canonical(name) for name in given}) == len(given)
    theirs = _common(canonical(name) if unwrapped else name for name in given if name not in _COUNTERS)
    ours = _common(canonical(name) for name in own)
    both = [
        _Renaming(theirs[:left], ours[:put], unwrapped)
        for left in range(len(theirs) + 1)
        for put in range(len(ours) + 1)
    ]
    return sorted(both, key=lambda one: len(one.without) + len(one.within))


def _common(names: Iterable[str]) -> tuple[str, ...]:
    """The leading parts that all names share; the last part of a name is its own."""
    shared: Sequence[str] | None = None
    for name in names:
        parts = name.split(".")[:-1]
        if shared is None:
            shared = parts
            continue
        same = 0
        while same < min(len(shared), len(parts)) and shared[same] == parts[same]:
            same += 1
        shared = shared[:same]
    return tuple(shared or ())


def _under(
    renaming: _Renaming,
    own: Mapping[str, Tensor],
    given: Mapping[str, Tensor],
    aliases: Mapping[str, str],
    alike: Mapping[str, tuple[str, ...]],
) -> Named:
    """The tensors by the network's names, if the file's mean what a renaming makes of them."""
    ours = {canonical(name) if renaming.unwrapped else name: name for name in own}
    tensors, unexpected = {}, []
    for name, tensor in given.items():
        place = ours.get(renaming(name))
        if place is not None:
            tensors[place] = tensor
        elif name not in _COUNTERS or not renaming.unwrapped:
            unexpected.append(name)
    for omitted, kept in aliases.items():
        place = ours.get(renaming(omitted))
        # Where the network shares the memory, that sets it: as a transpose or a slice, if it is one there.
        shared = place in tensors or any(one in tensors for one in alike.get(place, ()))
        if place is not None and not shared and kept in given:
            tensors[place] = given[kept]
    missing = [name for name in own if name not in tensors and not any(one in tensors for one in alike.get(name, ()))]
    return Named(tensors, tuple(missing), tuple(unexpected), "")


def _alike(own: Mapping[str, Tensor]) -> dict[str, tuple[str, ...]]:
    """By the names of tensors that share memory: those of others that hold all of it, so that to set them is enough."""
    by_memory: dict[tuple[int, torch.dtype], dict[str, tuple[int, int]]] = {}
    for name, tensor in own.items():
        if tensor.numel() and tensor.device.type != "meta":
            memory = tensor.untyped_storage().data_ptr(), tensor.dtype
            by_memory.setdefault(memory, {})[name] = _extent(tensor)
    found = {}
    for extents in by_memory.values():
        dense = [(name, *ends) for name, ends in extents.items() if ends[1] - ends[0] == own[name].numel()]
        for name, (first, last) in extents.items():
            found[name] = tuple(
                other for other, start, end in dense if start <= first and last <= end and other != name
            )
    return {name: others for name, others in found.items() if others}


def _extent(tensor: Tensor) -> tuple[int, int]:
    """The first element of its memory that a tensor has, and the one behind its last."""
    start = tensor.storage_offset()
    reach = sum((size - 1) * stride for size, stride in zip(tensor.shape, tensor.stride(), strict=True))
    return start, start + reach + 1


def _misfits(found: Named) -> int:
    return len(found.missing) + len(found.unexpected)


def _said(renaming: _Renaming, given: Mapping[str, Tensor]) -> str:
    """What a renaming does, in words."""
    before, behind = ("".join(f"{part}." for part in parts) for parts in (renaming.without, renaming.within))
    if before and behind:
        return f"{before!r}, which all names begin with, is taken for {behind!r}"
    if before:
        return f"{before!r}, which all names begin with, is left out"
    if behind:
        return f"{behind!r}, which all names of this network begin with, is put before those in the file"
    if any(name in _COUNTERS for name in given):
        return "what an average of weights counts is left out"
    return "what wrappers put into names is left out"
