"""timm's image classifiers by name, with fresh or published weights. It is imported only where one is wanted."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from priors.errors import InputError, reason, unknown
from priors.zoo.ready_made import take_head
from priors.zoo.registry import Parts, Wanted, classifier

PRETRAINED = "pretrained"
"""What names the weights that timm takes where no tag is given."""
_MOST_STAGES = 6
_FAILURES = (AssertionError, IndexError, RuntimeError, TypeError, ValueError, ZeroDivisionError)


@classifier(
    presets=(
        # name, options, penultimate, parameters
        ("timm:NAME", {"variant": "NAME"}, None, None),
    ),
    paper="Wightman, PyTorch Image Models, 2019",
)
def timm(wanted: Wanted, *, variant: str, weights: str | None = None) -> Parts:
    """Any of timm's classifiers that end with a linear layer: timm:NAME, timm:NAME:TAG or timm:NAME:pretrained.

    Images are normalised as the weights expect, or else as timm's own settings for the network say. With weights (a tag
    such as a1_in1k, or pretrained for timm's first choice, kept in the Hub's cache) there are their classes, their
    image size unless another is given, and their head; for other classes the head is new. Images of other than three
    channels are taken: the first convolution's weights are summed or repeated, as timm does. The stages are those that
    timm lists; of transformers, whose blocks are all alike, the ends of the four quarters.
    """
    name, library = f"timm:{variant}", _library(f"timm:{variant}")
    settings = _settings(library, name, variant, weights)
    trained = weights is not None
    size = tuple(settings["input_size"])
    shape = wanted.image_shape or size
    names = _class_names(settings["num_classes"]) if trained else None
    new_head = names is not None and not wanted.are(names)
    options: dict[str, Any] = {"in_chans": shape[0], "num_classes": wanted.classes or settings["num_classes"]}
    if settings.get("fixed_input_size") and shape[1:] != size[1:]:
        options["img_size"] = shape[1:]
    full = f"{variant}.{settings['tag']}" if settings["tag"] else variant
    body = _built(library, name, full, trained, shape, options)
    head_name, head = _head(name, body)
    if new_head:  # where the number of classes is the same, timm keeps the trained one
        head.reset_parameters()
    take_head(name, body, head_name, head, shape)
    return Parts(
        body,
        head.in_features,
        head=head,
        stages=tuple(f"body.{stage}" for stage in _stages(body)),
        class_names=names or None,
        new_head=new_head,
        image_shape=shape,
        mean=_by_channel(settings["mean"], shape[0]),
        std=_by_channel(settings["std"], shape[0]),
    )


def _library(name: str) -> Any:
    """The package: it takes seconds to load.

    Raises:
        InputError: it is not installed.
    """
    try:
        import timm as library
    except ImportError as error:
        raise InputError(
            f"{name}: timm is not installed here ({reason(error)}); install it with pip install timm (the extra timm)"
        ) from None
    return library


def _settings(library: Any, name: str, variant: str, weights: str | None) -> dict[str, Any]:
    """What timm says of a network and of its weights, with their tag as "tag".

    Raises:
        InputError: there is no such network, or it has no such weights.
    """
    arch, _, tag = variant.partition(".")
    known = library.list_models()
    if tag and arch in known:
        raise InputError(
            f"{name}: weights are named behind a colon: give timm:{arch}:{tag}, or timm:{arch} for fresh ones"
        )
    if variant not in known:
        raise unknown("classifier", name, [f"timm:{model}" for model in known])
    found = library.models.get_arch_pretrained_cfgs(variant)
    tags = [full.partition(".")[2] for full, settings in found.items() if settings.has_weights]
    if weights is None:
        first = library.get_pretrained_cfg(variant)
        return {**first.to_dict(), "tag": ""}
    if not tags:
        raise InputError(f"{name} has no trained weights in timm: leave {weights} out")
    if weights == PRETRAINED:
        weights = library.get_pretrained_cfg(variant).tag or tags[0]
    if weights not in tags:
        raise unknown(f"weights of {name}", weights, [PRETRAINED, *tags])
    return {**found[f"{variant}.{weights}" if weights else variant].to_dict(), "tag": weights}


def _built(
    library: Any, name: str, full: str, trained: bool, shape: Sequence[int], options: dict[str, Any]
) -> nn.Module:
    """The network as timm makes it; its weights are safetensors, or unpickled as tensors only.

    Raises:
        InputError: it cannot be had for such images, or its weights cannot.
    """
    try:
        return library.create_model(full, pretrained=trained, **options)
    except torch.OutOfMemoryError:
        raise
    except OSError as error:
        where = "they are kept in the Hub's cache (HF_HOME), once they have been downloaded"
        raise InputError(f"no weights {full.partition('.')[2]} of {name} ({reason(error)}): {where}") from None
    except _FAILURES as error:
        raise InputError(
            f"{name} cannot be made for images of {'x'.join(map(str, shape))} (channels x height x width)"
            f"{' with its weights' if trained else ''}: {reason(error)}"
        ) from None


def _head(name: str, network: nn.Module) -> tuple[str, nn.Linear]:
    """The final linear layer and its name, as timm says which it is.

    Raises:
        InputError: it has several, none, or one of another kind.
    """
    head = network.get_classifier() if hasattr(network, "get_classifier") else None
    if not isinstance(head, nn.Linear):
        found = "none" if head is None else type(head).__name__ if isinstance(head, nn.Module) else "several heads"
        raise InputError(f"{name} has no linear head to read a prior from, but {found}")
    return next(place for place, module in network.named_modules() if module is head), head


def _stages(network: nn.Module) -> tuple[str, ...]:
    """Modules whose outputs timm lists as features, first to last."""
    listed = getattr(network, "feature_info", None) or ()
    listed = listed if isinstance(listed, list | tuple) else listed.info
    there = dict(network.named_modules())
    found = [info for info in listed if isinstance(info, dict) and info.get("module") in there]
    if len(found) > _MOST_STAGES and len({info.get("reduction") for info in found}) == 1:
        found = [found[len(found) * quarter // 4 - 1] for quarter in range(1, 5)]
    return tuple(dict.fromkeys(info["module"] for info in found))


def _class_names(count: int) -> tuple[str, ...] | None:
    """Names of the classes of weights, where their number says that they are a part of ImageNet; else bare numbers.

    What WordNet calls a class first; all that it calls it where two share that, and its number as well where they
    share all.
    """
    from timm.data import ImageNetInfo, infer_imagenet_subset

    subset = infer_imagenet_subset({"num_classes": count})
    if subset is None:
        return tuple(map(str, range(count)))
    known = ImageNetInfo(subset)
    numbers, whole = known.label_names(), known.label_descriptions()
    first = [text.partition(",")[0] for text in whole]
    shared, shared_whole = Counter(first), Counter(whole)
    return tuple(
        short if shared[short] == 1 else text if shared_whole[text] == 1 else f"{text} ({number})"
        for short, text, number in zip(first, whole, numbers, strict=True)
    )


def _by_channel(values: Sequence[float], channels: int) -> tuple[float, ...]:
    """Numbers of three channels for as many as there are: their mean for each, where these are not three."""
    return tuple(values) if len(values) == channels else (sum(values) / len(values),)
