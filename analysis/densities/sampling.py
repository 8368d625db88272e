"""Exact samples of a PixelCNN++, at about the cost of one forward pass."""

import torch
from jaxtyping import Float
from torch import Tensor

from analysis.densities.incremental import Incremental
from analysis.densities.streams import Streams
from priors.checks.draws import require_generator
from priors.errors import InputError


@torch.no_grad()
def sample(
    model: Streams,
    context: Tensor | int | None = None,
    generator: torch.Generator | None = None,
    *,
    n: int | None = None,
) -> Float[Tensor, "batch channels height width"]:
    """Images from a PixelCNN++, with values k / 255.

    Args:
        model: whose draws they are; without its dropout.
        context: (batch, K) or (batch, K, h, w), a context an image; or, for a model without a context, how many.
        generator: source of the draws, on any device; None: torch's own.
        n: how many, for a model without a context, by name.

    Raises:
        InputError: a context of another shape than the model's, or a number of images that does not fit it; or a
            generator that is none.
    """
    require_generator(generator)
    if isinstance(context, int):
        if n is not None:
            raise InputError(f"{context} images and n={n}: give their number once")
        context, n = None, context
    return place(model, context, uniforms(model, _batch(model, context, n), generator))


def uniforms(model: Streams, batch: int, generator: torch.Generator | None = None) -> Float[Tensor, "h w batch draws"]:
    """The uniform numbers that a batch of images is drawn with: float64 in [0, 1), on the model's device."""
    device = model.final.direction.device
    shape = *model.image_shape[1:], batch, model.distribution.draws
    source = device if generator is None else generator.device
    return torch.rand(shape, generator=generator, device=source, dtype=torch.float64).to(device)


def place(
    model: Streams, context: Tensor | None, numbers: Float[Tensor, "h w batch draws"]
) -> Float[Tensor, "batch channels height width"]:
    """Images by the uniform numbers that each of their pixels is drawn with: what `sample` does once it has them.

    Autocast has no part in it: a rounded likelihood would draw other images.

    Raises:
        InputError: shapes that are not the model's.
    """
    # Hundreds of small operations a pixel: what they need not keep track of counts. Rows are kept in the weights' type,
    # whatever autocast is on.
    with torch.inference_mode(), torch.autocast(numbers.device.type, enabled=False):
        batch = _batch(model, context, numbers.shape[2])
        state = Incremental(model, context, batch)
        rows = [row.unbind() for row in numbers.unbind()]
        found = state.run(lambda row, column, outputs: model.distribution.values(outputs, rows[row][column]))
    return found.clone()


def _batch(model: Streams, context: Tensor | None, n: int | None) -> int:
    if n is None and context is None:
        raise InputError("a model without a context: give n, the number of images")
    if n is not None and context is not None and n != len(context):
        raise InputError(f"n is {n}, and there are {len(context)} contexts: one an image was expected")
    batch = len(context) if context is not None else n
    if batch < 1:
        raise InputError(f"{batch} images: 1 or more were expected")
    model.contexts_of(context, batch)
    return batch
