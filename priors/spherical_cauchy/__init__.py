"""The spherical Cauchy distribution: a heavier-tailed neighbour of the von Mises-Fisher one, without Bessel functions.

The public names stand in `__init__.pyi`, and are imported when first used.
"""

from priors.lazy import public_names

__getattr__, __dir__, __all__ = public_names(__name__)
