"""How much memory a call takes."""

from collections.abc import Callable
from dataclasses import fields, is_dataclass

from torch import Tensor
from torch.profiler import ProfilerActivity, profile


def peak_of(call: Callable) -> tuple[int, object]:
    """Most bytes of tensors that were held at a time beyond those from before, by torch's own count; and the result."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiled:
        result = call()
    events = [event for event in profiled.profiler.kineto_results.events() if event.name() == "[memory]"]
    held, most = 0, 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        held += event.nbytes()
        most = max(most, held)
    return most, result


def bytes_of(found) -> int:
    """Of all tensors in a result."""
    if isinstance(found, Tensor):
        return found.nbytes
    if isinstance(found, tuple):
        return sum(bytes_of(one) for one in found)
    return sum(bytes_of(getattr(found, one.name)) for one in fields(found)) if is_dataclass(found) else 0
