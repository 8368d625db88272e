"""Tensors as safetensors, so written that a kill leaves the old file or the new one."""

import errno
import json
from collections.abc import Mapping
from functools import cache
from hashlib import blake2b
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_bytes
from torch.nn.parameter import is_lazy

from priors.errors import InputError, reason
from priors.files.checksums import KEY, check, check_finite, not_finite, remark_unchecked, sealed
from priors.files.regular import OUT_OF_RESOURCES, open_regular, write_bytes
from priors.files.weight_names import differing, named_as
from priors.remarks import remark


def write_tensors(
    path: str | Path, tensors: Mapping[str, torch.Tensor], metadata: Mapping[str, str] | None = None
) -> None:
    """Write tensors as safetensors with a checksum, atomically; tensors that share memory are written apart.

    They are written from where they lie, so that to save a training takes no more memory than it has already: the
    library's own writer makes two copies. Only what is on another device, or not contiguous, is copied.
    """
    header, data, begin = {}, [], 0
    # Wider types first, so that each tensor begins at a multiple of its numbers' size.
    for name in sorted(tensors, key=lambda name: (-tensors[name].element_size(), name)):
        tensor = tensors[name].detach().cpu().resolve_conj().resolve_neg().contiguous()
        piece = memoryview(tensor.reshape(-1).view(torch.uint8).numpy())
        offsets = [begin, begin := begin + len(piece)]
        header[name] = {"dtype": _name_of(tensor.dtype), "shape": list(tensor.shape), "data_offsets": offsets}
        data.append(piece)
    write_bytes(path, *sealed(header, dict(metadata or {}), data))


@cache
def _name_of(dtype: torch.dtype) -> str:
    """What the format calls a type."""
    written = to_bytes({"": torch.empty(0, dtype=dtype)})
    return json.loads(written[8:])[""]["dtype"]


def read_tensors(
    path: str | Path, what: str = "weights", foreign: bool = False, finite: bool = False
) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """Read safetensors onto the CPU: the tensors and the file's metadata, without the checksum, which is compared.

    A file without a checksum is read as it is; the first such file is remarked on, in the log.

    Args:
        path: of the file.
        what: names it in messages.
        foreign: whether another program may have written it: then it needs no checksum, and no remark.
        finite: whether all numbers must be finite. `load_weights` asks for that too, and knows the exceptions.

    Raises:
        InputError: the file is missing, truncated, of another format, not what was written, or not finite.
        OSError: the machine is short of something, such as open files.
    """
    path = Path(path)
    open_regular(path, what).close()  # says why it cannot be opened: to safetensors all such files are missing
    try:
        with safe_open(path, framework="pt") as file:
            tensors, metadata = {name: file.get_tensor(name) for name in file.keys()}, dict(file.metadata() or {})
        if not check(path, what) and not foreign:
            remark_unchecked(path)
    except SafetensorError as error:
        raise InputError(f"{path} is not readable as {what}: truncated, or not a safetensors file ({error})") from None
    except OSError as error:
        if error.errno in OUT_OF_RESOURCES:
            raise
        raise InputError(f"{path} is not readable as {what}: {error.strerror or reason(error)}") from None
    except RuntimeError as error:  # torch's, which maps the file: there is no memory for it, or no open file more
        raise OSError(errno.ENOMEM, f"it cannot be read now ({error})", str(path)) from None
    if finite:
        check_finite(tensors, path)
    metadata.pop(KEY, None)
    return tensors, metadata


def digest_of(tensors: Mapping[str, torch.Tensor]) -> str:
    """16 hexadecimal digits that name the content of tensors: their names, types, shapes and values."""
    hashed = blake2b(digest_size=8)
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        hashed.update(f"{name} {tensor.dtype} {tuple(tensor.shape)};".encode())
        hashed.update(tensor.flatten().view(torch.uint8).numpy())
    return hashed.hexdigest()


def load_weights(
    module: torch.nn.Module,
    tensors: Mapping[str, torch.Tensor],
    source: object,
    aliases: Mapping[str, str] | None = None,
) -> None:
    """Copy `tensors` into `module`, all of them and nothing else.

    Their names may have what wrappers put into them, such as "module." before each: see
    `priors.files.weight_names.named_as`. Where they are not the module's own, that is remarked on.

    Args:
        module: of any type of floats; values are rounded to it.
        tensors: by name.
        source: where they are from, for messages.
        aliases: names that were left out, and those of the same tensors that were not: the metadata of a file.

    Raises:
        InputError: names are missing, left over, of another shape, or of another kind of number (the first few are
            listed); two names that share memory in the module are given different numbers; a layer has no shape yet; or
            a weight is not finite, or would not be in the module's type. What the module has so by its making, such as
            a mask of -inf, may be.
    """
    # What is no tensor is a state of other kinds, which no file of tensors has.
    own = {name: tensor for name, tensor in module.state_dict().items() if isinstance(tensor, torch.Tensor)}
    if lazy := [name for name, tensor in own.items() if is_lazy(tensor)]:
        raise InputError(f"{lazy[0]} has no shape yet to put weights in: run the network on some images first")
    named = named_as(own, tensors, aliases)
    wrong = [f"{name} is missing" for name in named.missing]
    wrong += [f"{name} is not expected" for name in named.unexpected]
    wrong += [
        f"{name} has shape {tuple(named.tensors[name].shape)}, expected {tuple(own[name].shape)}"
        for name in own
        if name in named.tensors and named.tensors[name].shape != own[name].shape
    ]
    wrong += [
        f"{name} holds {str(named.tensors[name].dtype).removeprefix('torch.')}, expected "
        f"{str(own[name].dtype).removeprefix('torch.')}"
        for name in own
        if name in named.tensors and not converts(named.tensors[name], own[name].dtype)
    ]
    wrong += [
        f"{name} holds numbers that are too large for {str(own[name].dtype).removeprefix('torch.')}"
        for name, tensor in named.tensors.items()
        if tensor.is_floating_point() and not_finite(tensor.to(own[name].dtype)) > not_finite(tensor)
    ]
    if wrong:
        more = f" and {len(wrong) - 3} more" if len(wrong) > 3 else ""
        raise InputError(f"the weights in {source} do not fit this network: {'; '.join(wrong[:3])}{more}")
    check_finite(named.tensors, source, own)
    if pair := differing(own, named.tensors):
        raise InputError(
            f"the weights in {source} do not fit this network: {pair[0]} and {pair[1]} share memory in it, and are "
            "different there"
        )
    if named.renamed:
        remark(f"The names of the weights in {source}: {named.renamed}.")
    # Names that are missing are others of what is there.
    module.load_state_dict(dict(named.tensors), strict=False)


def converts(tensor: torch.Tensor, dtype: torch.dtype) -> bool:
    """Whether a tensor means the same in another type: floats in any precision, and counts that a file has as floats.

    Integers where floats belong are quantised weights, or those of something else.
    """
    if tensor.dtype == dtype:
        return True
    if tensor.is_complex() or dtype.is_complex:
        return tensor.is_complex() == dtype.is_complex
    if dtype.is_floating_point:
        return tensor.is_floating_point()
    return torch.equal(tensor.to(dtype).to(tensor.dtype), tensor)  # whole numbers that the type has
