"""Networks and losses of a training through torch.compile: fewer and larger kernels, and the same numbers to rounding.

Networks are compiled block by block, and equal blocks share their code, so that the first step stays short. What the
compiler cannot take goes on as it was, with one line. Names of weights, states and what a user gets know nothing of it.
"""

import os
import shutil
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, nullcontext
from importlib.util import find_spec
from typing import TypeVar

import torch
from torch import nn

from apps.command.console import counted, say
from priors.errors import InputError
from priors.reading.taps import unwrapped

BACKEND = "inductor"
"""Of torch.compile."""
_VARIANTS = 512
"""Shapes and modes that one function may be compiled for; torch's own 8 are too few for a network of many widths."""

Function = TypeVar("Function", bound=Callable)


def check_compiler(device: torch.device) -> None:
    """Refuse to compile where there is nothing that does.

    Raises:
        InputError: there is no compiler of C++ for a CPU, or no Triton or compiler of C for a GPU.
    """
    if BACKEND != "inductor":
        return
    if device.type in ("cuda", "xpu"):
        if find_spec("triton") is None:
            raise InputError(
                "--compile: no Triton is installed here, which compiles for a GPU: install it with pip install triton, "
                "or leave --compile out"
            )
        names, kind = (os.environ.get("CC"), "gcc", "clang", "cc"), "C compiler, such as gcc"
    else:
        usual = {"darwin": "clang++", "win32": "cl"}.get(sys.platform, "g++")
        names, kind = (os.environ.get("CXX", usual),), f"C++ compiler {os.environ.get('CXX', usual)}"
    if not any(shutil.which(name.split()[0]) for name in names if name):
        variable = "CC" if device.type in ("cuda", "xpu") else "CXX"
        raise InputError(
            f"--compile: there is no {kind} here: install one, name another by the variable {variable}, or leave "
            "--compile out"
        )


def blocks(network: nn.Module) -> list[nn.Module]:
    """The outermost modules of each kind that a network has several of, but for torch's own; else all of it.

    Example:
        >>> from priors.zoo import build
        >>> [type(block).__name__ for block in blocks(build("shufflenet-v1", classes=3, image_shape=(3, 8, 8)))][:2]
        ['_Block', '_Block']
        >>> [type(block).__name__ for block in blocks(build("mlp", classes=3, image_shape=(3, 8, 8)))]
        ['Network']
    """
    kinds = Counter(type(module) for module in network.modules())
    found: list[nn.Module] = []

    def look(module: nn.Module) -> None:
        for child in module.children():
            if kinds[type(child)] > 1 and not type(child).__module__.startswith("torch.nn."):
                found.append(child)
            else:
                look(child)

    look(network)
    return list(dict.fromkeys(found)) or [network]


class Compiled:
    """What is compiled of a training; of one that is not, nothing.

    Args:
        on: whether anything is.
        speaks: whether this process prints.
    """

    def __init__(self, on: bool = False, speaks: bool = True):
        self.on, self.speaks = on, speaks
        self._modules: list[nn.Module] = []
        self._functions: dict[Callable, Callable] = {}
        self._said: set[str] = set()
        self._begun, self._failed = False, 0
        self._settings = ExitStack()

    def begin(self, task) -> None:
        """Have a task's modules compiled when they are first called, in place, and with the taps that it opens.

        Args:
            task: an `apps.training.task.Task`, which says what of it is compiled.
        """
        if not self.on:
            return
        from torch._dynamo import config as tracing
        from torch._functorch import config as differentiation

        self._settings.enter_context(
            tracing.patch(recompile_limit=_VARIANTS, accumulated_recompile_limit=4 * _VARIANTS)
        )
        # The backward pass is compiled with the forward pass: what fails, fails where eager code can take its place.
        self._settings.enter_context(differentiation.patch(force_non_lazy_backward_lowering=True))
        self._settings.enter_context(task.while_compiled())
        if task.not_compiled:
            self._say(task.not_compiled)
        parts = (block for network in task.compiled_by_block() for block in blocks(unwrapped(network)))
        for module in (*parts, *task.compiled_whole()):
            if isinstance(module, torch.jit.ScriptModule) or module in self._modules:
                continue
            module.compile(**_options())
            module._compiled_call_impl = self._guarded(
                module._compiled_call_impl, module._call_impl, type(module).__name__
            )
            self._modules.append(module)

    def whole(self, function: Function) -> Function:
        """A function of tensors, compiled; the same where nothing is."""
        if not self.on:
            return function
        if function not in self._functions:
            self._functions[function] = self._guarded(
                torch.compile(function, **_options()), function, function.__qualname__
            )
        return self._functions[function]

    def eager(self) -> AbstractContextManager:
        """Nothing runs compiled while this is open: for passes that are rare, or whose derivatives are derived."""
        return torch.compiler.set_stance("force_eager") if self.on else nullcontext()

    def step(self, one_step: Callable[..., None], *arguments) -> None:
        """Take a step; say what the first one took, in which the code is made."""
        if not self.on or self._begun:
            one_step(*arguments)
            return
        began = time.perf_counter()
        one_step(*arguments)
        self._begun = True
        parts = counted(len(self._modules) + len(self._functions) - self._failed, "part")
        self._say(f"{parts} compiled; the first step took {time.perf_counter() - began:.1f} s")

    def end(self) -> None:
        """Leave all modules as they were."""
        for module in self._modules:
            module._compiled_call_impl = None
        self._modules, self._functions = [], {}
        self._settings.close()

    def _guarded(self, compiled: Callable, plain: Callable, name: str) -> Callable:
        """The compiled function, or the plain one as soon as the compiler fails."""
        from torch._dynamo.exc import TorchDynamoException

        failed = False

        def call(*args, **kwargs):
            nonlocal failed
            if not failed:
                try:
                    return compiled(*args, **kwargs)
                except RuntimeError as error:
                    # Of no class of its own: where there was nothing to compile.
                    if not isinstance(error, TorchDynamoException) and "no compiled frames" not in str(error):
                        raise
                    failed, self._failed = True, self._failed + 1
                    self._say(f"{name.lstrip('_')} is not compiled and goes on as it is: {_first_line(error)}")
            return plain(*args, **kwargs)

        return call

    def _say(self, text: str) -> None:
        """A line, once."""
        if self.speaks and text not in self._said:
            self._said.add(text)
            say(f"--compile: {text}")


def _options() -> dict:
    """Of torch.compile: one graph without breaks for each shape, which draws from the same streams as eager code."""
    settings = {"options": {"fallback_random": True}} if BACKEND == "inductor" else {}
    return {"backend": BACKEND, "fullgraph": True, "dynamic": False, **settings}


def _first_line(error: Exception) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
