"""The user's own network, or anybody's, as a classifier of the zoo."""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.parallel import DataParallel, DistributedDataParallel

from priors.errors import InputError
from priors.reading.heads import find_head
from priors.reading.taps import find_module, tap
from priors.zoo.network import Classifier, names_of_classes


class Wrapped(Classifier):
    """Another module with the surface of a classifier: it is neither copied nor changed.

    Final. The penultimate activations are what the head is given in an ordinary forward pass of the module.

    Attributes:
        network: the module.
        code: whose code makes another one, in its user's words; None where that is not known.
    """

    def __init__(self, network: nn.Module, head: str, code: str | None = None, **description: Any):
        super().__init__(head_name=f"network.{head}".removesuffix("."), architecture=None, **description)
        self.network = network
        self.code = code
        self._head = head

    @property
    def head(self) -> nn.Linear:
        """The network's final linear layer."""
        return find_head(self.network, self._head)[1]

    def penultimate(self, images: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch m"]:
        """The head's input for images in [0, 1]."""
        site = f"{self._head}:input"
        with tap(self.network, [site]) as taps:
            self._run(images)
        if not taps.calls(site):
            raise InputError(
                f"the head {self._head!r} takes no part in the network's pass: name the linear layer that gives the "
                "logits by head (--head)"
            )
        activations = taps[site]
        if activations.ndim != 2:
            raise InputError(
                f"the head {self._head!r} is given {tuple(activations.shape)} for {len(images)} images:"
                " one vector an image was expected"
            )
        return activations

    def forward(self, images: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch classes"]:
        """What the network gives for images in [0, 1]: logits."""
        logits = self._run(images)
        expected = (len(images), self.classes)
        if not isinstance(logits, Tensor) or logits.shape != expected:
            given = tuple(logits.shape) if isinstance(logits, Tensor) else f"a {type(logits).__name__}"
            raise InputError(f"{type(self.network).__name__} gives {given}: logits of shape {expected} were expected")
        return logits

    def _run(self, images: Tensor) -> Any:
        """What the module gives.

        Raises:
            InputError: it cannot take such images.
        """
        normalised = self.normalise(images)
        try:
            return self.network(normalised)
        except (InputError, torch.OutOfMemoryError, torch.AcceleratorError):  # nothing that images are to blame for
            raise
        except (IndexError, RuntimeError, TypeError, ValueError) as error:  # a module of the user's own
            shown, said = "x".join(map(str, images.shape[1:])), str(error).partition("\n")[0]
            kind = str(normalised.dtype).removeprefix("torch.")
            raise InputError(
                f"{type(self.network).__name__} cannot take images of {shown} (channels x height x width) in {kind}: "
                f"{said}"
            ) from error


def wrap(
    module: nn.Module,
    *,
    head: str | None = None,
    mean: int | float | Sequence[int] | Sequence[float] | None = None,
    std: int | float | Sequence[int] | Sequence[float] | None = None,
    class_names: Sequence[str] | None = None,
    image_shape: Sequence[int] | None = None,
    taps: Sequence[str] = (),
    code: str | None = None,
) -> Wrapped:
    """Give any network that maps images to logits the surface of a classifier.

    Args:
        module: the network; it is not copied, so training one trains the other. One whose head is no linear layer is
            told about by a `priors.zoo.Adapted`.
        head: the name of its final linear layer, where `priors.reading.heads.find_head` cannot tell by a dry pass.
        mean: of the pixels in [0, 1], as the network was trained with; 0 if left out.
        std: likewise; 1 if left out.
        class_names: one an output; "0", "1", ... if left out.
        image_shape: (channels, height, width); any is taken if left out.
        taps: names of the modules in it whose outputs are its stages.
        code: a note on what makes such a module, as in "import:package.module:factory"; it is saved with the network,
            and nothing is run because of it.

    Raises:
        InputError: the head is ambiguous, unknown or not linear; a tap does not exist; names and outputs differ in
            number.

    Example:
        >>> from torchvision.models import resnet18
        >>> network = wrap(resnet18(num_classes=5), taps=["layer1", "layer4"])
        >>> network.head_name, network.stages
        ('network.fc', ('network.layer1', 'network.layer4'))
    """
    if isinstance(module, DistributedDataParallel | DataParallel):
        module = module.module
    shape = None if image_shape is None else tuple(image_shape)
    if shape is not None and len(shape) != 3:
        raise InputError(f"image_shape is {shape}: (channels, height, width) was expected")
    head, layer = find_head(module, head, image_shape)
    names = names_of_classes(layer.out_features if class_names is None else class_names)
    if len(names) != layer.out_features:
        raise InputError(f"{len(names)} class names were given, but the head {head!r} has {layer.out_features} outputs")
    for name in taps:
        find_module(module, name.partition(":")[0].partition("#")[0])
    return Wrapped(
        module,
        head,
        code,
        class_names=names,
        image_shape=shape,
        mean=mean,
        std=std,
        stages=tuple(f"network.{name}" for name in taps),
    )
