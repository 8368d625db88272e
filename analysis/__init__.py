"""What a network keeps and what it throws away.

One of penult's four packages. Its public names stand in `__init__.pyi`, and are imported when first used.
"""

from priors.lazy import public_names

__getattr__, __dir__, __all__ = public_names(__name__)
