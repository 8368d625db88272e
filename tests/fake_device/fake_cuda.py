"""A GPU that is not there: tensors that say they are on "cuda:0", and hold their numbers in the CPU's memory.

What is computed is right, so that code which decides by values goes its way, and gradients are followed. What a GPU
refuses is refused, as are mixed devices; what it would have the host wait for or copy is logged, and so is each kernel.
Numbers without dimensions may come from the CPU, as a GPU takes them with the kernel. The casts of autocast are torch's
own for CUDA. Nothing of it needs CUDA or a driver.
"""

from contextlib import ExitStack, contextmanager, nullcontext
from functools import partial
from weakref import WeakValueDictionary

import backpropagation
import torch
from device_log import AHEAD, BEHIND, FLOAT64, MIXED, TO_DEVICE, TO_HOST, WAIT, Log
from torch import Tensor
from torch.utils._mode_utils import no_dispatch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map, tree_unflatten

from priors.vmf import constants

DEVICE = torch.device("cuda:0")
_WAITS = {
    "_local_scalar_dense", "nonzero", "masked_select", "_unique", "_unique2", "unique_dim", "unique_consecutive",
    "equal", "bincount", "_linalg_check_errors", "_linalg_eigh", "_linalg_svd", "linalg_lstsq", "linalg_eig",
}  # fmt: skip
"""Operations whose result, or the size of it, the host has to know."""
_INDEXED = {"index", "index_put", "index_put_", "_index_put_impl_", "_unsafe_index", "_unsafe_index_put"}
_BETWEEN = {"_to_copy", "copy_", "lift_fresh", "detach", "set_data"} | _INDEXED
"""What may look at two devices, or bring numbers from one to the other."""
_NO_KERNEL = {
    "detach", "empty", "empty_like", "empty_strided", "new_empty", "new_empty_strided", "lift_fresh", "_unsafe_view",
    "_reshape_alias", "is_pinned",
}  # fmt: skip


_PRODUCTS = {"convolution", "convolution_backward", "mm", "addmm", "bmm", "baddbmm"}
"""What a CPU is slow at in bfloat16."""


class Away(Tensor):
    """A tensor on the fake device."""

    held: Tensor

    @staticmethod
    def __new__(cls, held: Tensor):
        layout = {"strides": held.stride(), "storage_offset": held.storage_offset(), "dtype": held.dtype}
        made = Tensor._make_wrapper_subclass(cls, held.shape, device=DEVICE, **layout)
        made.held = held
        return made

    __torch_function__ = torch._C._disabled_torch_function_impl

    @classmethod
    def __torch_dispatch__(cls, operation, types, args=(), kwargs=None):
        return _computed(operation, args, kwargs or {}, Log())  # nobody looks

    def __deepcopy__(self, memo):
        if id(self) not in memo:
            made = self.detach().clone().requires_grad_(self.requires_grad)
            if isinstance(self, torch.nn.Parameter):
                made._is_param = True
            memo[id(self)] = made
        return memo[id(self)]

    def __repr__(self, **options) -> str:
        return f"Away({tuple(self.shape)}, {self.dtype})"


_SOURCES: WeakValueDictionary = WeakValueDictionary()
"""What operations are given is not the object itself: it is found by what both stand for."""


class Source(torch.Generator):
    """Of draws on the device that it says: a GPU's are others than a CPU's of the same seed."""

    def __new__(cls, device="cpu"):
        made = super().__new__(cls, "cpu")
        made.on = torch.device(device).type
        _SOURCES[made._cdata] = made
        return made

    def manual_seed(self, seed):
        """Begin anew."""
        return super().manual_seed(seed ^ 1 if self.on == "cuda" else seed)

    @property
    def device(self):
        """Where it says it is."""
        return DEVICE if self.on == "cuda" else torch.device("cpu")


class _Mode(TorchDispatchMode):
    """While it is on, what is asked for on the fake device is `Away`."""

    def __init__(self, log: Log):
        super().__init__()
        self.log = log

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        return _computed(operation, args, kwargs or {}, self.log)


class Event:
    """After which the copies to the host that were under way have arrived: the second time that it is asked for.

    Args:
        log: of the device.
    """

    def __init__(self, log: Log):
        self._log, self._awaited, self._asked = log, [], 0

    def record(self) -> None:
        """Stand behind all copies so far."""
        self._awaited, self._log.underway[:] = list(self._log.underway), []

    def query(self) -> bool:
        """Whether they have arrived."""
        self._asked += 1
        if self._asked > 1:
            self._arrive()
        return self._asked > 1

    def synchronize(self) -> None:
        """Wait until they have."""
        if self._awaited:
            self._log.note(WAIT, "event")
        self._arrive()

    def _arrive(self) -> None:
        for target, numbers in self._awaited:
            target.copy_(numbers)
        self._awaited = []


class Fake:
    """`with Fake(monkeypatch) as log:` torch has the device; all patches are gone when the test is.

    Args:
        patch: pytest's monkeypatch.
    """

    def __init__(self, patch):
        self.patch, self.log, self._open = patch, Log(), ExitStack()

    def __enter__(self) -> Log:
        _make_way(self.patch)
        self.patch.setattr(torch.cuda, "Event", partial(Event, self.log))
        for part in (_swapped_parameters(), _lifted(), _Mode(self.log)):
            self._open.enter_context(part)
        return self.log

    def __exit__(self, *error):
        self._open.close()
        self.patch.undo()


def _computed(operation, args, kwargs, log: Log):
    """What an operation gives, by the numbers that are held; what it would cost a GPU is logged."""
    name, device = operation._schema.name.removeprefix("aten::"), kwargs.get("device")
    flat, structure = tree_flatten((args, kwargs))
    away = [one for one in flat if isinstance(one, Away)]
    there = bool(away) if device is None else torch.device(device).type == "cuda"
    if away:
        _check_together(operation, name, flat, log)
        _note_wait(name, args, kwargs, log)
    _note_copy(name, args, kwargs, there, log)
    _check_source(name, flat, there)
    own, options = tree_unflatten([one.held if isinstance(one, Away) else one for one in flat], structure)
    options = {**options, "device": "cpu"} if device is not None and torch.device(device).type == "cuda" else options
    found = _product(operation, own) if name in _PRODUCTS and not options else operation(*own, **options)
    if away and torch.Tag.inplace_view in operation.tags:
        with no_dispatch():  # what it says of its shape, and nothing else
            return operation(*args, **kwargs)
    if any(one.shape != one.held.shape for one in away):
        raise NotImplementedError(f"{name} changes the shape of a tensor in place, which the fake device cannot follow")
    if name == "copy_":
        found = own[0]
    if name == "_to_copy" and away and not there and kwargs.get("non_blocking"):
        log.underway.append((torch.full_like(found, -1), found))
        return log.underway[-1][0]
    if not (there or away and name == "copy_"):
        return found
    same = {id(one.held): one for one in away}  # what is changed in place stays itself
    found = tree_map(lambda one: same[id(one)] if id(one) in same else _sent(one), found)
    if name not in _NO_KERNEL and not any(_is_view(one) for one in operation._schema.returns):
        log.launch(name)
        if any(isinstance(one, Away) and one.dtype == torch.float64 and one.ndim for one in tree_flatten(found)[0]):
            log.note(FLOAT64, name)
    return args[0] if name == "copy_" else found


def _product(operation, given):
    """A product, of bfloat16 with the sums in float32, as a GPU has them."""
    short = any(isinstance(one, Tensor) and one.dtype == torch.bfloat16 for one in tree_flatten(given)[0])
    if not short:
        return operation(*given)
    found = operation(*tree_map(lambda one: one.float() if isinstance(one, Tensor) else one, given))
    return tree_map(lambda one: one.bfloat16() if isinstance(one, Tensor) else one, found)


def _sent(found):
    return Away(found) if type(found) is Tensor else found


def _is_view(returned) -> bool:
    return returned.alias_info is not None and not returned.alias_info.is_write


def _check_together(operation, name: str, flat: list, log: Log) -> None:
    """Refuse tensors of the CPU beside those of the device, but for numbers that go along with a kernel."""
    if name in _BETWEEN:
        return
    alone = torch.Tag.pointwise in operation.tags or name.startswith(("_foreach", "fill", "where"))
    if any(isinstance(one, Tensor) and not isinstance(one, Away) and (one.ndim or not alone) for one in flat):
        log.note(MIXED, name)
        raise RuntimeError(f"{name}: Expected all tensors to be on the same device, but found cuda:0 and cpu")


def _check_source(name: str, flat: list, there: bool) -> None:
    """Refuse to draw for one device by a generator of the other."""
    for one in flat:
        if isinstance(one, torch._C.Generator):
            device = _SOURCES.get(one._cdata, one).device
            if (device.type == "cuda") != there:
                raise RuntimeError(f"{name}: Expected a generator of the device that is drawn on, found {device}")


def _note_wait(name: str, args: tuple, kwargs: dict, log: Log) -> None:
    """Log where the host has to know numbers of the device."""
    if name in _WAITS:
        log.note(WAIT, name)
    elif name == "repeat_interleave" and kwargs.get("output_size") is None:
        log.note(WAIT, name)
    elif name in _INDEXED:
        indices = [one for one in args[1] if one is not None]
        if any(one.dtype in (torch.bool, torch.uint8) for one in indices):
            log.note(WAIT, f"{name} by a mask")
        if isinstance(args[0], Away) and not all(isinstance(one, Away) for one in indices):
            log.note(TO_DEVICE, f"{name} by indices of the CPU")
        if not isinstance(args[0], Away):
            log.note(MIXED, name)
            raise RuntimeError(f"{name}: indices should be either on cpu or on the same device as the indexed tensor")


def _note_copy(name: str, args: tuple, kwargs: dict, there: bool, log: Log) -> None:
    """Log where numbers go from one device to the other."""
    if name == "_to_copy":
        source, into, waits = args[0], there, not kwargs.get("non_blocking")
    elif name == "copy_":
        target, source = args[:2]
        into, waits = isinstance(target, Away), not (kwargs.get("non_blocking") or (len(args) > 2 and args[2]))
    else:
        return
    if isinstance(source, Away) and not into:
        log.note(TO_HOST if waits or name == "copy_" else BEHIND, name)
    elif into and not isinstance(source, Away):
        log.note(TO_DEVICE if waits else AHEAD, f"{name} of {source.numel()} numbers")


@contextmanager
def _swapped_parameters():
    """Modules move by swapping their parameters, which stay themselves."""
    before = torch.__future__.get_swap_module_params_on_conversion()
    torch.__future__.set_swap_module_params_on_conversion(True)
    try:
        yield
    finally:
        torch.__future__.set_swap_module_params_on_conversion(before)


@contextmanager
def _lifted():
    """What is made of Python's numbers is made on the CPU, and brought to the device by an operation of its own."""
    before = torch._C._only_lift_cpu_tensors()
    torch._C._set_only_lift_cpu_tensors(True)
    try:
        yield
    finally:
        torch._C._set_only_lift_cpu_tensors(before)


def _make_way(patch) -> None:
    """Have torch take the device for one that is there."""
    torch._C._ensureCUDADeviceGuardSet()
    tolist, run_backward, run_grad = Tensor.tolist, torch.autograd.backward, torch.autograd.grad
    hooked = Tensor.register_hook

    def away(tensors) -> bool:
        return any(isinstance(one, Away) for one in tree_flatten(tensors)[0])

    patch.setattr(torch.cuda, "_lazy_init", lambda: None)
    patch.setattr(torch.cuda, "is_bf16_supported", lambda *given, **options: True)
    patch.setattr(torch.cuda.amp.common, "amp_definitely_not_available", lambda: False)
    patch.setattr(torch.cuda, "get_rng_state", lambda device=None: torch.zeros(16, dtype=torch.uint8))
    patch.setattr(torch.cuda, "mem_get_info", lambda device=None: (1 << 34, 1 << 35))
    patch.setattr(torch.cuda, "get_device_name", lambda device=None: "fake")
    patch.setattr(constants, "_constants", {})
    patch.setattr(constants, "Tensor", Away)  # which it keeps, unlike what a tracer wraps
    patch.setattr(torch.backends.cudnn, "enabled", False)  # its operations are those of CUDA's torch alone
    patch.setattr(torch, "Generator", Source)
    patch.setattr(torch, "inference_mode", lambda mode=True: torch.no_grad() if mode else nullcontext())
    patch.setattr(Tensor, "tolist", lambda values: tolist(values.cpu()))
    patch.setattr(Tensor, "pin_memory", lambda values: values.clone())
    patch.setattr(
        Tensor,
        "register_hook",
        lambda tensor, hook: (backpropagation.register_hook if away(tensor) and tensor.grad_fn is not None else hooked)(
            tensor, hook
        ),
    )
    patch.setattr(
        torch.autograd,
        "backward",
        lambda tensors, *given, **options: (backpropagation.backward if away(tensors) else run_backward)(
            tensors, *given, **options
        ),
    )
    patch.setattr(
        torch.autograd,
        "grad",
        lambda outputs, *given, **options: (backpropagation.grad if away(outputs) else run_grad)(
            outputs, *given, **options
        ),
    )
