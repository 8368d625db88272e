"""Classifiers by name: images in [0, 1] in, logits out, penultimate activations and stages named.

A classifier is one decorated function in a file of this package; nothing else has to be edited for it to be found.
The public names stand in `__init__.pyi`, and are imported when first used, so that `priors.zoo.catalogue` can list the
classifiers without loading torch.
"""

from priors.lazy import public_names

__getattr__, __dir__, __all__ = public_names(__name__)
