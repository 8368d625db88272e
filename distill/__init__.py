"""Terms of a distillation objective, and their sum as one module for any training loop.

One of penult's four packages. Its public names stand in `__init__.pyi`, and are imported when first used.
"""

from priors.lazy import public_names

__getattr__, __dir__, __all__ = public_names(__name__)
