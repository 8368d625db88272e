"""A network of another library as the zoo's: what stands before its final linear layer, tried without data."""

from collections.abc import Sequence

import torch
from torch import nn

from priors.errors import InputError, reason


def take_head(name: str, network: nn.Module, head_name: str, head: nn.Linear, image_shape: Sequence[int]) -> None:
    """Take a network's final linear layer out: what is left ends with the penultimate activations.

    A pass without data says now, and not in training, that images of this size do not suit the network.

    Args:
        name: of the network, for messages.
        network: changed in place.
        head_name: where the head is in it.
        head: that is taken out.
        image_shape: (channels, height, width).

    Raises:
        InputError: the network cannot take such images, or gives something else than the head's inputs without it.
    """
    network.set_submodule(head_name, nn.Identity())
    shown = f"{image_shape[1]}x{image_shape[2]}"
    tensors = {key: torch.empty_like(value, device="meta") for key, value in network.state_dict().items()}
    tensors |= {key: torch.empty_like(value, device="meta") for key, value in network.named_buffers()}
    training = network.training
    try:
        with torch.no_grad():
            given = torch.func.functional_call(network.eval(), tensors, torch.empty(2, *image_shape, device="meta"))
    except (AssertionError, RuntimeError, ValueError) as error:
        raise InputError(f"{name} cannot take images of {shown}: {reason(error)}") from None
    finally:
        network.train(training)
    if not isinstance(given, torch.Tensor) or given.shape != (2, head.in_features):
        said = tuple(given.shape) if isinstance(given, torch.Tensor) else f"a {type(given).__name__}"
        raise InputError(
            f"{name} gives {said} for two images of {shown} without its head {head_name!r}, which takes "
            f"{head.in_features} numbers an image: its penultimate activations cannot be told"
        )
