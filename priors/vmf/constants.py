"""What torch.compile is told about functions that depend on no tensor."""

from collections.abc import Callable
from typing import TypeVar

Function = TypeVar("Function", bound=Callable)


def constant_when_compiled(function: Function) -> Function:
    """Mark a function whose results a compiled graph keeps, as `torch.compiler.assume_constant_result` does.

    That one loads the compiler, which takes about as long as to load torch, wherever this package is imported.
    """
    function._dynamo_marked_constant = True
    return function
