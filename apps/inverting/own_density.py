"""A density of the user's own in PixelCNN++'s place."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from apps.command.own_code import described
from priors.errors import InputError


class OwnDensity(nn.Module):
    """An `analysis.inversion.cross_entropy.ConditionalDensity`, held to what it must give.

    Args:
        density: `log_prob` gives (batch,) log-likelihoods in nats of images (batch, channels, height, width) with
            values k / 255, given contexts (batch, K) or (batch, K, h, w), or None where there is none; `sample` gives
            one image a context; without contexts its argument is the number of images.
        image_shape: (channels, height, width).
        context: shape of an image's context; empty: unconditional.
    """

    def __init__(self, density: nn.Module, image_shape: Sequence[int], context: Sequence[int]):
        super().__init__()
        for name in ("log_prob", "sample"):
            if not callable(getattr(density, name, None)):
                raise InputError(
                    f"--density: a {type(density).__name__} has no {name}: log_prob(images, context) and "
                    "sample(context) were expected"
                )
        self.density = density
        self.image_shape, self.context_shape = tuple(image_shape), tuple(context)

    def forward(self, images: Tensor, context: Tensor | None = None) -> Float[Tensor, " batch"]:
        """log p(x | h) in nats: `log_prob`, where a wrapper for several processes looks for it."""
        return self.log_prob(images, context)

    def log_prob(self, images: Tensor, context: Tensor | None = None, *, check: bool = True) -> Float[Tensor, " batch"]:
        """log p(x | h) in nats.

        Raises:
            InputError: the module gives another shape.
        """
        found = self.density.log_prob(images, context)
        if found.shape != (len(images),):
            raise InputError(
                f"--density: log_prob gave {tuple(found.shape)} for {len(images)} images: one number an image was "
                "expected, in nats"
            )
        return found.float()

    @torch.no_grad()
    def sample(
        self, context: Tensor | None = None, generator: torch.Generator | None = None, *, n: int | None = None
    ) -> Float[Tensor, "batch channels height width"]:
        """Images, by torch's own generator where none is given.

        Raises:
            InputError: the module gives another shape, or values that are not k / 255.
        """
        count = n if context is None else len(context)
        device = next((tensor.device for tensor in self.parameters()), torch.device("cpu"))
        devices = [device] if device.type == "cuda" else []
        with torch.random.fork_rng(devices=devices, enabled=generator is not None):
            if generator is not None:
                torch.manual_seed(int(torch.randint(2**62, (), generator=generator, device=generator.device)))
            found = self.density.sample(n if context is None else context)
        if found.shape != (count, *self.image_shape):
            raise InputError(
                f"--density: sample gave {tuple(found.shape)} for {count} contexts: {(count, *self.image_shape)} was "
                "expected"
            )
        levels = (found * 255).round()
        if not bool(((found * 255 - levels).abs() < 0.01).all() and (levels >= 0).all() and (levels <= 255).all()):
            raise InputError("--density: sample gave values that are not k / 255 with k from 0 to 255")
        return levels / 255

    def check(self) -> None:
        """Try both methods on two images, without training.

        Raises:
            InputError: one raises, or gives what it must not.
        """
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            images = torch.randint(256, (2, *self.image_shape)) / 255
            context = torch.randn(2, *self.context_shape) if self.context_shape else None
            for name, call in (
                ("log_prob", lambda: self.log_prob(images, context)),
                ("sample", lambda: self.sample(context, n=2)),
            ):
                try:
                    call()
                except InputError:
                    raise
                except Exception as error:  # the user's code may raise anything
                    raise InputError(f"--density: {name} raised {described(error)}") from error
