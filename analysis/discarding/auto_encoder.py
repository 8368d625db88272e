"""An auto-encoder made of a classifier's architecture and the decoder by which layers are compared."""

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any, Literal, get_args

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from analysis.discarding.decoder import TwoTrackDecoder
from priors.errors import InputError, shown, unknown
from priors.reading.dry_pass import undisturbed
from priors.zoo.network import Classifier, ImageNetwork, Network

Code = Literal["maps", "pooled"]
"""What an encoder gives; see `AutoEncoder.of`."""


class AutoEncoder(ImageNetwork):
    """Images in [0, 1] to images, through all of a classifier before its final linear layer, and a decoder.

    As in Ma et al. (2021), section 4, footnote 2; the decoder is that of reconstruction uncertainty. Layers are called
    as the classifier's, with `encoder.` in the place of `body.`; the encoder's end is the code.

    Args:
        encoder: from normalised images to features, (batch, K) or (batch, K, h, w).
        decoder: from these to images.
        mean: of the pixels, one number or one a channel, subtracted inside.
        std: of the pixels, divided by inside.
        stages: names of the encoder's stages.
        architecture: how to make another one, as JSON has it; None where that is not known.
    """

    def __init__(
        self,
        encoder: nn.Module,
        decoder: TwoTrackDecoder,
        *,
        mean: int | float | Sequence[int] | Sequence[float] = 0.0,
        std: int | float | Sequence[int] | Sequence[float] = 1.0,
        stages: Sequence[str] = (),
        architecture: dict[str, Any] | None = None,
    ):
        shape = decoder.image_shape
        super().__init__(image_shape=shape, mean=mean, std=std, stages=stages, architecture=architecture)
        self.encoder, self.decoder = encoder, decoder

    @classmethod
    def of(cls, network: Classifier, *, code: str = "maps", width: int = 64) -> "AutoEncoder":
        """An auto-encoder with the layers, the weights and the normalisation of a classifier; the decoder's are new.

        The paper says that "the encoder was set as all layers of the residual network before the FC layer" (footnote 2)
        and no more of it. `pooled` is that to the letter: the vector that the final linear layer would be given, of 64
        numbers for a ResNet-20, in which little of an image can be kept. `maps` leaves out the pooling, so that the
        places of what is encoded are known to the decoder: 64 maps of 8 x 8, of a 32 x 32 image. It is the usual one:
        its code has room for the image, so that what its layers discard is the training's doing, not the width's.

        Args:
            network: of `priors.zoo.build`; its layers become the encoder's, and are not copied.
            code: "maps" or "pooled".
            width: channels of the decoder.

        Raises:
            InputError: an unknown code, a network of one's own, or one without maps, or that is no chain of modules,
                whose maps could not be told from what is done with them.
        """
        if code not in get_args(Code):
            raise unknown("code", code, get_args(Code))
        if not isinstance(network, Network):
            raise InputError(
                f"{shown(network)} is no network of priors.zoo.build, whose layers before its head are known"
            )
        channels, height, wide = network.image_shape
        encoder = _up_to_maps(network) if code == "maps" else network.body
        with undisturbed(encoder):
            features = encoder(network.mean.new_zeros(2, channels, height, wide))
        inner = {f"body.{name}" for name, _ in encoder.named_modules()}
        made = network.architecture
        model = cls(
            encoder,
            TwoTrackDecoder(network.image_shape, features.shape[1:], width=width).to(network.mean),
            stages=[stage.replace("body.", "encoder.", 1) for stage in network.stages if stage in inner],
            architecture=None if made is None else {"encoder": made, "code": code, "width": width},
        )
        model.mean, model.std = network.mean.clone(), network.std.clone()
        return model

    @property
    def ends(self) -> dict[str, str]:
        """The code."""
        return {"code": "encoder"}

    def encode(self, images: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch ..."]:
        """The code of images in [0, 1]."""
        return self.encoder(self.normalise(images))

    def forward(
        self, images: Shaped[Tensor, "batch channels height width"]
    ) -> Float[Tensor, "batch channels height width"]:
        """What is made of images in [0, 1]; least squares may put it outside of these bounds.

        Raises:
            InputError: images of another size, or of whole numbers.
        """
        return self.decoder(self.encode(images))


def _up_to_maps(network: Network) -> nn.Module:
    """The layers of a network up to the last maps of more than one place."""
    said = network.architecture["name"] if network.architecture else "the network"
    if not isinstance(network.body, nn.Sequential):
        raise InputError(
            f"{said} is no chain of modules, whose last maps could be told from what is done with them: give the code "
            '"pooled"'
        )
    last, found = 0, network.mean.new_zeros(2, *network.image_shape)
    with undisturbed(network.body), torch.no_grad():
        for number, module in enumerate(network.body, start=1):
            found = module(found)
            if found.ndim == 4 and found.shape[2:].numel() > 1:
                last = number
    if not last:
        raise InputError(f'{said} makes no maps of images of {network.image_shape[1:]} pixels: give the code "pooled"')
    return nn.Sequential(OrderedDict(list(network.body.named_children())[:last]))
