"""Terms of a distillation objective, and their sum as one module.

Names are imported when first used, so that the command line can answer without loading torch.
"""

from importlib import import_module

_HOMES = {
    "Given": "distill.term",
    "Loss": "distill.term",
    "Needs": "distill.term",
    "Objective": "distill.weighted_sum",
    "Setting": "distill.term",
    "Shared": "distill.term",
    "Term": "distill.term",
    "Trace": "distill.trace",
    "WeightedSum": "distill.weighted_sum",
    "objective": "distill.objectives",
}

__all__ = sorted(_HOMES)


def __getattr__(name: str):
    if name not in _HOMES:
        raise AttributeError(f"module 'distill' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
