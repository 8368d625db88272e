"""A layer of a network as a function from images to its features, which computes no more of the network than that."""

from jaxtyping import Float
from torch import Tensor, nn

from apps.models.representation import Representation, as_context
from priors.reading.taps import find_module, tap


class _Reached(Exception):
    """The layer has given what is wanted; what comes after it in the network is not computed."""


class LayerFeatures(nn.Module):
    """From images in [0, 1] to a layer's features, (batch, K) or (batch, K, h, w).

    Args:
        representation: the network and its layer.
    """

    def __init__(self, representation: Representation):
        super().__init__()
        self.network, self.site = representation.network, representation.site
        place, _, number = representation.site.partition("#")
        self._path, _, self._end = place.partition(":")
        self._number = int(number or 1)

    def forward(self, images: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch ..."]:
        """Features in single precision, or double where the network is."""
        calls = 0

        def reached(*_: object) -> None:
            nonlocal calls
            calls += 1
            if calls == self._number:
                raise _Reached

        module = find_module(self.network, self._path)[1]
        with tap(self.network, [self.site]) as taps:
            hook = (module.register_forward_pre_hook if self._end == "input" else module.register_forward_hook)(reached)
            try:
                self.network(images)
            except _Reached:
                pass
            finally:
                hook.remove()
        return as_context(taps[self.site])
