"""What a classifier knows before it sees an image.

Names are imported when first used, so that the command line can answer without loading torch.
"""

from importlib import import_module

_HOMES = {
    "ClassPosterior": "priors.class_posterior",
    "ClassifierPrior": "priors.classifier_prior",
    "HypersphericalUniform": "priors.vmf.distribution",
    "VonMisesFisher": "priors.vmf.distribution",
    "InputError": "priors.errors",
    "Provenance": "priors.classifier_prior",
    "tap": "priors.tap",
}

__all__ = sorted(_HOMES)


def __getattr__(name: str):
    if name not in _HOMES:
        raise AttributeError(f"module 'priors' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
