"""Networks built by what a file says of them: a size that the weights beside it cannot fill is refused, not allocated.

A file may be damaged, or made to harm. Its weights bound what it can honestly ask for: no width, depth or number of
classes is above the count of all weights, and no tensor of the network is larger than they are together.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from math import prod
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.modules.module import register_module_module_registration_hook
from torch.overrides import TorchFunctionMode

from priors.errors import InputError, reason, shown

_SMALL = 1 << 16
"""Sizes up to here need no weights to show for them: sides of images, and steps."""
_MARGIN = 2
"""Times all weights that a tensor on the way may have."""
_SCRATCH = 1 << 24
"""Numbers that a tensor may have on the way: tables, and what an initialisation computes."""
_MODULES = 1000
"""Modules that a network may have, beside ten for each of its tensors."""
_WRONG = (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError)


_BY_SIZE = ("empty", "zeros", "ones", "rand", "randn", "full", "eye", "empty_strided")
_OF_OTHERS = ("new_empty", "new_zeros", "new_ones", "new_full", "new_empty_strided")


class Allocations(TorchFunctionMode):
    """While it is open, asks before each tensor that is made by its size, but on the meta device.

    It sees what modules ask for, not what torch's kernels take beside it. A mode that saw that too
    (`torch.utils._python_dispatch.TorchDispatchMode`) would load the compiler, which takes about as long as to load
    torch.

    Args:
        check: is given the size; what it raises is raised instead of the tensor.
    """

    def __init__(self, check: Callable[[tuple[int, ...]], None]):
        super().__init__()
        self._check = check

    def __torch_function__(self, function: Callable, types: tuple, args: tuple = (), kwargs: dict | None = None):
        """Ask, then do what was wanted."""
        kwargs = kwargs or {}
        size = _size(getattr(function, "__name__", ""), args, kwargs)
        if size and torch.device(kwargs.get("device") or torch.get_default_device()) != _META:
            self._check(size)
        return function(*args, **kwargs)


def _size(name: str, args: tuple, kwargs: Mapping[str, Any]) -> tuple[int, ...]:
    """The size of the tensor that a function of torch's is asked for; () for functions that are not asked for any."""
    if name in _OF_OTHERS:
        args = args[1:]
    elif name not in _BY_SIZE:
        return ()
    size = kwargs.get("size", args[0] if args and isinstance(args[0], list | tuple) else args)
    size = tuple(size if isinstance(size, list | tuple) else (size,))
    if name == "eye":
        size = (size * 2)[:2]
    return size if all(type(side) is int for side in size) else ()


_META = torch.device("meta")


@contextmanager
def building(
    path: str | Path, what: str, sizes: Any, tensors: Mapping[str, Tensor], margin: int = _MARGIN
) -> Iterator[None]:
    """Build a network in it that a file describes: whatever is wrong with the description is said in one line.

    Args:
        path: of the file, for messages.
        what: the network is, such as "generator", for messages.
        sizes: what the file says that the network is built by, as JSON has it.
        tensors: the weights that go into it.
        margin: times all of these that a tensor may have which is made on the way.

    Raises:
        InputError: a size, or the count of modules, is beyond what those weights can be of; or none can be built.
    """
    path = Path(path)
    held = sum(tensor.numel() for tensor in tensors.values())
    begin = f"{path} describes no {what} that can be built: it is damaged"

    def refuse(asked: str) -> None:
        raise InputError(
            f"{begin} ({asked}, and the weights beside it are {held:,} numbers in {len(tensors):,} tensors)"
        )

    def check(size: tuple[int, ...]) -> None:
        if prod(size) > max(margin * held, _SCRATCH):
            refuse(f"it asks for {' x '.join(f'{side:,}' for side in size)} numbers")

    shape = sizes.get("image_shape") if isinstance(sizes, dict) else None
    if isinstance(shape, list) and not all(type(side) is int and side > 0 for side in shape):
        raise InputError(f"{begin} ({shown(shape)} as 'image_shape', whole numbers above 0 were expected)")
    for name, size in _integers(sizes, what):
        if abs(size) > max(held, _SMALL):
            refuse(f"it has {size:,} as {name!r}")
    modules = 0

    def count(*_: object) -> None:
        nonlocal modules
        modules += 1
        if modules > _MODULES + 10 * len(tensors):
            refuse(f"it asks for more than {modules - 1:,} modules")

    hook = register_module_module_registration_hook(count)
    try:
        with Allocations(check):
            yield
    except InputError as error:
        raise error if str(path) in str(error) else InputError(f"{path}: {error}") from None
    except _WRONG as error:
        raise InputError(f"{begin} ({reason(error)})") from None
    finally:
        hook.remove()


def _integers(value: Any, name: str) -> Iterator[tuple[str, int]]:
    """All whole numbers in JSON, each with the name of the innermost key that it stands under."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _integers(inner, key)
    elif isinstance(value, list):
        for inner in value:
            yield from _integers(inner, name)
    elif isinstance(value, int) and not isinstance(value, bool):
        yield name, value
