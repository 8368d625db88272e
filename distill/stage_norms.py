"""Which batch norm a stage of a network comes out of: its factor and shift say how the stage's values are spread."""

from contextlib import ExitStack

from torch import nn

from distill.biased_layers import NORMS
from distill.followed import Followed
from distill.trace import trace
from priors.checks.floats import own_dtype
from priors.reading.dry_pass import undisturbed
from priors.reading.taps import unwrapped


def norms_of(followed: Followed) -> tuple[nn.Module | None, ...]:
    """The batch norm that gives each stage or, where the stage is a sum, its first summand that a batch norm gives.

    They are read off the graph of one pass over an image of zeros, which changes nothing. None where there is no such
    norm, as behind a ReLU.
    """
    core, made = unwrapped(followed.network), []
    like = next(core.parameters(), None)
    if like is None:
        return (None,) * len(followed.stages)
    zeros = like.new_zeros((1, *followed.image_shape), dtype=own_dtype(core))
    with undisturbed(core), ExitStack() as stack:
        for module in core.modules():
            if isinstance(module, NORMS):
                # A sum in place makes its tensor another's: what a norm gave is known by its place in the graph alone.
                keep = lambda norm, args, output: made.append((output.grad_fn, norm))  # noqa: E731
                stack.enter_context(module.register_forward_hook(keep))
        stages = trace(followed.network, zeros, followed.stages, derivatives=True).stages
    return tuple(_norm_behind(stage.grad_fn, made) for stage in stages)


def _norm_behind(node, made: list[tuple]) -> nn.Module | None:
    if node is None:
        return None
    summands = [before for before, _ in node.next_functions] if node.name().startswith("Add") else []
    found = [norm for place in (node, *summands) for given, norm in made if place is given]
    return found[0] if found else None
