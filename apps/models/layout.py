"""How images and weights lie in memory while a network is trained."""

from torch import nn

from priors.zoo.wrapped import Wrapped


def channels_last(trained: nn.Module, *beside: nn.Module) -> bool:
    """Whether images and weights are to be laid out channels last: convolutions like it.

    A module of the user's own may take no other layout than the usual one, as where it calls `view` on its maps.

    Args:
        trained: the network that is trained.
        beside: others that are shown the same images.
    """
    own = any(isinstance(network, Wrapped) for network in (trained, *beside))
    return not own and any(isinstance(module, nn.Conv2d) for module in trained.modules())
