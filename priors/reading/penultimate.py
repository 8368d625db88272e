"""The penultimate activations of any network: what its final linear layer is given."""

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from priors.checks.floats import require_floats, to_own
from priors.errors import InputError
from priors.reading.dry_pass import evaluating
from priors.reading.heads import find_head
from priors.reading.taps import tap

_AT_A_TIME = 256


def penultimate(
    network: nn.Module,
    images: Shaped[Tensor, "batch ..."],
    *,
    head: str | None = None,
    batch_size: int = _AT_A_TIME,
    gradients: bool = False,
) -> Float[Tensor, "batch m"]:
    """What a network's final linear layer is given for images, in evaluation mode.

    Each module's own mode comes back. Classifiers of `priors.zoo`, wrapped ones among them, take images in [0, 1] and
    normalise them; other networks are given images as they are.

    Args:
        network: any module that ends with a linear layer; for other heads see `priors.zoo.Adapted`.
        images: of any number; they are brought to the network's device and type in parts.
        head: name of the final linear layer, where `priors.find_head` cannot tell.
        batch_size: how many images go through the network at a time.
        gradients: whether the activations are on the graph of images and weights; then all parts are held at once.

    Raises:
        InputError: no images, or none of floats; a head that is ambiguous, unknown, not linear or takes no part in the
            pass; or activations that are not one vector an image.

    Example:
        >>> network = nn.Sequential(nn.Flatten(), nn.Linear(16, 4), nn.ReLU(), nn.Linear(4, 3))
        >>> penultimate(network, torch.rand(5, 1, 4, 4), batch_size=2).shape
        torch.Size([5, 4])
    """
    if images.ndim < 2 or not len(images):
        raise InputError(f"images have shape {tuple(images.shape)}: a batch of one image or more was expected")
    require_floats(images, "images")
    if batch_size < 1:
        raise InputError(f"batch_size is {batch_size}: 1 or more was expected")
    name, _ = find_head(network, head or getattr(network, "head_name", None), images.shape[1:])
    site = f"{name}:input"
    like = next(network.parameters(), images)
    found = []
    with evaluating(network), torch.set_grad_enabled(gradients), tap(network, [site]) as taps:
        for part in images.split(batch_size):
            network(to_own(network, part.to(like.device), "images"))
            if not taps.calls(site):
                raise InputError(f"the head {name!r} takes no part in the network's pass: name another layer by head")
            if taps[site].ndim != 2:
                raise InputError(
                    f"the head {name!r} is given {tuple(taps[site].shape)} for {len(part)} images: one vector an image "
                    "was expected"
                )
            found.append(taps[site])
        return torch.cat(found)
