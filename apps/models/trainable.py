"""Networks to train, fresh or with trained weights: of the zoo, of torchvision, of timm, or the user's own."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn

from apps.command.config import Own
from apps.command.own_code import code_of, described
from apps.models.imported import in_single_precision, made
from apps.training.memory import on_meta
from priors import zoo
from priors.errors import InputError
from priors.files.tensors import load_weights, read_tensors
from priors.reading.dry_pass import settle, undisturbed
from priors.reading.heads import find_head
from priors.reading.taps import tap
from priors.remarks import remark
from priors.zoo.registry import trained_weights, without_weights

CODE = "import:"
"""What the name of a network of the user's own begins with."""

Statistics = Callable[[], tuple[Sequence[float], Sequence[float]]]
"""Gives mean and standard deviation of images, for each channel."""


def is_own(name: str) -> bool:
    """Whether an architecture is code of the user's own."""
    return name.startswith(CODE)


def trainable(
    name: str,
    classes: Sequence[str],
    image_shape: tuple[int, int, int],
    own: Own,
    statistics: Statistics,
    *,
    flag: str = "--",
    bare: bool = False,
    **options: Any,
) -> zoo.Classifier:
    """A network before its training: what is drawn hangs on torch's global generator alone.

    Trained weights keep the normalisation that they were trained with; all else is normalised by the images.

    Args:
        name: as for `priors.zoo.build`, or import:package.module:factory[,weights=FILE.safetensors].
        classes: names of the classes that it is to tell.
        image_shape: (channels, height, width) of its images.
        own: what code of the user's own does not say.
        statistics: of the images that it is trained on.
        flag: what the flags of `own` begin with.
        bare: whether trained weights are left out, which have to be at hand or downloaded: nothing is to be trained.
        **options: of `priors.zoo.build`, which code of the user's own takes none of.

    Raises:
        InputError: an unknown name (the nearest is offered), code that makes no such network, or something that was
            said of a network in vain.
    """
    if is_own(name):
        return own_network(name, classes, image_shape, own, statistics)
    if own.given():
        raise InputError(f"{own.given(flag)} with {name}: it is known what that network is like; leave them out")
    name = without_weights(name) if bare else name
    trained = trained_weights(name, {}) is not None
    mean, std = (None, None) if trained else statistics()
    return zoo.build(name, classes=classes, image_shape=image_shape, mean=mean, std=std, **options)


def own_network(
    code: str,
    classes: Sequence[str],
    image_shape: tuple[int, int, int],
    own: Own,
    statistics: Statistics,
) -> zoo.Classifier:
    """A network of the user's own, tried on two black images.

    Args:
        code: import:package.module:factory[,weights=FILE.safetensors]; see `module_of` for how the factory is called.
        classes: as for `trainable`.
        image_shape: likewise.
        own: likewise.
        statistics: likewise.

    Raises:
        InputError: the factory raises or gives no module; it has no final linear layer, or one with another number of
            outputs; it cannot take such images, be copied or be saved; or weights that do not fit.
    """
    network, settings = module_of(code, classes, image_shape)
    if "weights" in settings:
        weights, metadata = read_tensors(settings["weights"], "weights", foreign=True)
        load_weights(network, weights, settings["weights"], metadata)
    try:
        head, layer = find_head(network, own.head, image_shape)
        if layer.out_features != len(classes):
            raise InputError(
                f"its head {head!r} gives {layer.out_features} logits, and there are {len(classes)} classes: let the "
                "factory take `classes`, their number, and make as many"
            )
        mean, std = statistics() if not (own.mean and own.std) else ((), ())
        wrapped = zoo.wrap(
            network,
            head=head,
            mean=own.mean or mean,
            std=own.std or std,
            class_names=classes,
            image_shape=image_shape,
            taps=own.taps,
            code=code_of(code),
        )
        _try(wrapped, image_shape)
    except InputError as error:
        raise InputError(f"{code}: {error}") from None
    return wrapped


def module_of(code: str, classes: Sequence[str], image_shape: tuple[int, int, int]) -> tuple[nn.Module, dict[str, str]]:
    """The module that the user's code makes, and what was set behind a comma.

    The factory is called with those of these arguments that it names: `classes` or `num_classes` (how many),
    `class_names`, `image_shape` (channels, height, width), `channels`, `in_channels` or `in_chans` (how many), and
    `image_size` or `img_size` (height, or height and width where they differ).

    Args:
        code: import:package.module:factory[,weights=FILE.safetensors].
        classes: names of the classes.
        image_shape: of the images.

    Raises:
        InputError: no such code, it raises, or it gives no module.
    """
    channels, height, width = image_shape
    side = height if height == width else (height, width)
    offered = {
        **dict.fromkeys(("classes", "num_classes"), len(classes)),
        "class_names": tuple(classes),
        "image_shape": tuple(image_shape),
        **dict.fromkeys(("channels", "in_channels", "in_chans"), channels),
        **dict.fromkeys(("image_size", "img_size"), side),
    }
    network, settings = made(code, settings=("weights",), offered=offered)
    in_single_precision(network, code)
    _passing(lambda: settle(network, image_shape), code, image_shape)
    return network, settings


def _try(network: zoo.Classifier, image_shape: tuple[int, int, int]) -> None:
    """Pass images through, copy and save, as a training does: what cannot be done is said before it.

    Raises:
        InputError: what that is.
    """
    odd = [name for name, value in network.state_dict().items() if not isinstance(value, torch.Tensor)]
    if odd:
        name = odd[0].removeprefix("network.")
        raise InputError(f"its state holds {name!r}, which is no tensor, and cannot be saved")
    if not any(parameter.requires_grad for parameter in network.parameters()):
        raise InputError("none of its parameters asks for gradients (requires_grad): there is nothing to train")
    try:
        on_meta(network)
    except Exception as error:  # what is in a module of the user's own may raise anything
        raise InputError(f"it cannot be copied ({described(error)}): keep what cannot be copied out of it") from None
    images = network.mean.new_zeros(2, *image_shape)
    given: list[torch.Tensor] = []
    with undisturbed(network), tap(network, [network.head_name], copy=True) as taps:
        _passing(lambda: (network.penultimate(images), given.append(network(images))), "it", image_shape)
        logits = taps[network.head_name] if len(taps.calls(network.head_name)) == 1 else given[0]
    _check_logits(given[0], logits, network.head_name.removeprefix("network."))


def _check_logits(given: torch.Tensor, logits: torch.Tensor, head: str) -> None:
    """Refuse probabilities, and remark where a network gives something else than its head does.

    Args:
        given: what the network gives.
        logits: what its head gives in the same pass; one number for all classes of an image may lie between.
        head: its name.

    Raises:
        InputError: the network gives probabilities.
    """
    if given.is_meta:
        return
    between = given - logits if given.shape == logits.shape else given.new_tensor([0.0, 1.0])
    if (between - between.mean(-1, keepdim=True)).abs().max() <= 1e-4 * (1 + logits.abs().max()):
        return
    if (given >= 0).all() and torch.allclose(given.sum(1), given.new_ones(len(given)), atol=1e-4):
        raise InputError("it gives probabilities, and logits are expected: leave its softmax out")
    remark(
        f"What the network gives is not what its head {head!r} gives: a prior read off that layer is another one. "
        "For heads that are more than one linear layer see priors.zoo.Adapted."
    )


def _passing(call: Callable[[], object], called: str, image_shape: Sequence[int]) -> None:
    """Call a module of the user's own, and say in one line what it raises."""
    try:
        call()
    except (InputError, torch.OutOfMemoryError, MemoryError):
        raise
    except Exception as error:
        shown = "x".join(map(str, image_shape))
        raise InputError(
            f"{called} cannot take images of {shown} (channels x height x width): {described(error)}"
        ) from None
