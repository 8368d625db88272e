"""The von Mises-Fisher distribution and what it needs: Bessel functions, samplers, divergences, in plain torch.

The public names stand in `__init__.pyi`, and are imported when first used.
"""

from priors.lazy import public_names

__getattr__, __dir__, __all__ = public_names(__name__)
