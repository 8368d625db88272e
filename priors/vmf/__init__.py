"""The von Mises-Fisher distribution and what it needs: Bessel functions, samplers, divergences, in plain torch.

Names are imported when first used.
"""

from importlib import import_module

_HOMES = {
    "HypersphericalUniform": "priors.vmf.distribution",
    "VonMisesFisher": "priors.vmf.distribution",
}

__all__ = sorted(_HOMES)


def __getattr__(name: str):
    if name not in _HOMES:
        raise AttributeError(f"module 'priors.vmf' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
