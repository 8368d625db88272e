"""A device that is not the CPU: tensors that say so, and hold their numbers in the CPU's memory.

What is computed is right, so that code which decides by values goes its way; and operations that mix devices are
refused as a GPU's are. It is called "meta", of which torch wants no driver. Gradients are not followed.
"""

from contextlib import nullcontext
from functools import cache

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map, tree_unflatten

import analysis
import distill
import priors
from priors.vmf import bessel, cosine

OTHER = "meta"
_BETWEEN = ("aten::_to_copy", "aten::copy_", "aten::_local_scalar_dense", "aten::lift_fresh", "aten::detach")
"""What may look at two devices, or bring numbers from one to the other."""
_INDEXING = ("aten::index", "aten::index_put_", "aten::_index_put_impl_")
"""What takes indices from the CPU as well."""


class Away(Tensor):
    """A tensor on the other device."""

    held: Tensor

    @staticmethod
    def __new__(cls, held: Tensor):
        layout = {"strides": held.stride(), "storage_offset": held.storage_offset(), "dtype": held.dtype}
        made = Tensor._make_wrapper_subclass(cls, held.shape, device=torch.device(OTHER), **layout)
        made.held = held
        return made

    @classmethod
    def __torch_dispatch__(cls, operation, types, args=(), kwargs=None):
        return _computed(operation, args, kwargs or {})


class OtherDevice(TorchDispatchMode):
    """While it is on, what is asked for on the other device is `Away`."""

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        return _computed(operation, args, kwargs or {})


class _Source(torch.Generator):
    """Of draws on either device: numbers are drawn where they are held."""

    def __new__(cls, device="cpu"):
        return super().__new__(cls, "cpu")


def make_way(patch) -> None:
    """Have torch bring numbers to the other device by operations that `OtherDevice` sees; undone with the patch.

    All modules are imported before: what is imported meanwhile would keep the stand-ins in its annotations.
    """
    for package in (priors, analysis, distill):
        for name in package.__all__:
            getattr(package, name)
    item, tolist, tensor, autocast = Tensor.item, Tensor.tolist, torch.tensor, torch.autocast

    def held(values: Tensor) -> Tensor:
        return values.held if isinstance(values, Away) else values

    def new(data, *, dtype=None, device=None):
        made = tensor(data, dtype=dtype)
        return made if device is None else made.to(device)

    def as_tensor(data, dtype=None, device=None):
        if isinstance(data, Tensor):
            return data.to(device or data.device, dtype or data.dtype)
        return new(data, dtype=dtype, device=device)

    patch.setattr(Tensor, "item", lambda values: item(held(values)))
    patch.setattr(Tensor, "tolist", lambda values: tolist(held(values)))
    patch.setattr(torch, "tensor", new)
    patch.setattr(torch, "as_tensor", as_tensor)
    patch.setattr(torch, "Generator", _Source)
    patch.setattr(torch, "inference_mode", lambda mode=True: torch.no_grad() if mode else nullcontext())
    patch.setattr(torch, "autocast", lambda kind, *a, **k: nullcontext() if kind == OTHER else autocast(kind, *a, **k))
    # What was kept for a device of this name, here or elsewhere, is for no other.
    patch.setattr(bessel, "_constants", {})
    for name in ("_table", "_gauss_rule"):
        patch.setattr(cosine, name, cache(getattr(cosine, name).__wrapped__))


def brought_back(found):
    """A result with its tensors on the CPU."""
    return tree_map(lambda one: one.held if isinstance(one, Away) else one, found)


def _computed(operation, args, kwargs):
    name, device = operation._schema.name, kwargs.get("device")
    flat, structure = tree_flatten((args, kwargs))
    away = [one for one in flat if isinstance(one, Away)]
    if away and name not in _BETWEEN + _INDEXING:
        # As on a GPU, a number without dimensions may come from the CPU.
        if any(type(one) is Tensor and one.ndim for one in flat):
            raise RuntimeError(f"{name}: expected all tensors to be on the same device")
    own, options = tree_unflatten([one.held if isinstance(one, Away) else one for one in flat], structure)
    found = operation(*own, **(options if device is None else {**options, "device": "cpu"}))
    if name == "aten::copy_":
        return args[0]
    if not (away if device is None else torch.device(device).type == OTHER):
        return found
    same = {id(one.held): one for one in away}  # what is changed in place stays itself
    return tree_map(lambda one: same[id(one)] if id(one) in same else _sent(one), found)


def _sent(found):
    return Away(found) if type(found) is Tensor else found
