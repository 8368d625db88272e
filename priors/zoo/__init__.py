"""Classifiers by name: images in [0, 1] in, logits out, penultimate activations and stages named.

A classifier is one decorated function in a file of this package; nothing else has to be edited for it to be found.
Names are imported when first used, so that `priors.zoo.catalogue` can list the classifiers without loading torch.
"""

from importlib import import_module

_HOMES = {
    "Classifier": "priors.zoo.network",
    "Parts": "priors.zoo.registry",
    "Wanted": "priors.zoo.registry",
    "build": "priors.zoo.registry",
    "classifier": "priors.zoo.registry",
    "describe": "priors.zoo.saving",
    "load": "priors.zoo.saving",
    "registered": "priors.zoo.registry",
    "save": "priors.zoo.saving",
    "wrap": "priors.zoo.wrapped",
}

__all__ = sorted(_HOMES)


def __getattr__(name: str):
    if name not in _HOMES:
        raise AttributeError(f"module 'priors.zoo' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
