"""torchvision's image classifiers by name, with fresh or published weights."""

import re
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

import torch
from filelock import FileLock
from torch import Tensor, nn

from priors.errors import InputError, reason, unknown
from priors.reading.heads import last_linear
from priors.zoo.ready_made import take_head
from priors.zoo.registry import Parts, Wanted, classifier

_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # ImageNet's

# Modules after which the image is about to shrink, and the last one, by the start of the name.
_STAGES: dict[str, tuple[str, ...]] = {
    "alexnet": ("features.2", "features.5", "features.12"),
    "convnext": ("features.1", "features.3", "features.5", "features.7"),
    "densenet": tuple(f"features.denseblock{n}" for n in range(1, 5)),
    "efficientnet": ("features.2", "features.3", "features.5", "features.7"),
    "efficientnet_v2": ("features.2", "features.3", "features.5", "features.6"),
    "googlenet": ("inception3b", "inception4e", "inception5b"),
    "inception": ("Mixed_5d", "Mixed_6e", "Mixed_7c"),
    "maxvit": tuple(f"blocks.{n}" for n in range(4)),
    "mnasnet": ("layers.8", "layers.9", "layers.11", "layers.13"),
    "mobilenet_v2": ("features.3", "features.6", "features.13", "features.17"),
    "regnet": tuple(f"trunk_output.block{n}" for n in range(1, 5)),
    "resn": tuple(f"layer{n}" for n in range(1, 5)),
    "shufflenet": ("stage2", "stage3", "stage4"),
    "swin": ("features.1", "features.3", "features.5", "features.7"),
    "wide_resnet": tuple(f"layer{n}" for n in range(1, 5)),
}


@classifier(
    presets=(
        # name, options, penultimate, parameters
        ("torchvision:NAME", {"variant": "NAME"}, None, None),
    ),
    paper="the torchvision model zoo",
)
def torchvision(wanted: Wanted, *, variant: str, weights: str | None = None) -> Parts:
    """Any of torchvision's classifiers that end with a linear layer: torchvision:NAME or torchvision:NAME:WEIGHTS.

    Images are normalised by ImageNet's mean and standard deviation, or by those that the weights were trained with.
    With weights (such as DEFAULT or IMAGENET1K_V1, kept in torch's hub folder) there are their classes, their image
    size unless another is given, and their head; for other classes the head is new. The stages are outputs of modules,
    for most networks after the last ReLU inside. Auxiliary classifiers are left out.
    """
    from torchvision import models  # takes a second: only where one of them is wanted

    name = f"torchvision:{variant}"
    known = models.list_models(module=models)
    if variant not in known:
        raise unknown("classifier", name, [f"torchvision:{model}" for model in known])
    published = None if weights is None else _published(variant, weights)
    shape = wanted.image_shape or (3, *_published_size(published))
    categories = None if published is None else tuple(published.meta["categories"])
    if shape[0] != 3:
        raise InputError(f"{name} takes images of 3 channels, not {shape[0]}")
    new_head = categories is not None and not wanted.are(categories)
    body = _built(
        name, variant, shape, wanted.classes or (len(categories) if categories else 1000), published is not None
    )
    try:
        head_name, head = last_linear(body)
    except InputError as error:
        raise InputError(f"{name} has no linear head to read a prior from: {error}") from None
    if published is not None:
        _load(body, published, name, f"{head_name}." if new_head else None)
    take_head(name, body, head_name, head, shape)
    mean, std = _normalisation(variant, published)
    return Parts(
        body,
        head.in_features,
        head=head,
        stages=tuple(f"body.{stage}" for stage in _stages(variant, body)),
        class_names=categories,
        new_head=new_head,
        image_shape=shape,
        mean=mean,
        std=std,
    )


def _built(name: str, variant: str, shape: Sequence[int], classes: int, trained: bool) -> nn.Module:
    from torchvision import models

    options: dict[str, object] = {"num_classes": classes}
    if variant in ("googlenet", "inception_v3"):
        options |= {"aux_logits": False, "init_weights": not trained}
    if variant.startswith("vit"):
        if shape[1] != shape[2]:
            raise InputError(f"{name} takes square images, not {shape[1]}x{shape[2]}")
        options["image_size"] = shape[1]
    if variant.startswith("maxvit"):
        options["input_size"] = tuple(shape[1:])
    try:
        return models.get_model(variant, weights=None, **options)
    except (AssertionError, RuntimeError, ValueError) as error:
        raise InputError(f"{name} cannot take images of {shape[1]}x{shape[2]}: {reason(error)}") from None


def _published(variant: str, weights: str):
    from torchvision import models

    choices = models.get_model_weights(variant)
    if weights not in choices.__members__:
        raise unknown(f"weights of torchvision:{variant}", weights, choices.__members__)
    return choices[weights]


def _load(network: nn.Module, published, name: str, leaving: str | None) -> None:
    """Load published weights, unpickling tensors only, which torchvision's own loader would not insist on.

    Those whose names begin with `leaving` stay as they are drawn.
    """
    try:
        state = _downloaded(published.url)
    except (OSError, RuntimeError) as error:
        file = f"{torch.hub.get_dir()}/checkpoints/{published.url.rpartition('/')[2]}"
        raise InputError(
            f"no weights {published.name} of {name} ({reason(error)}): put {published.url} at {file}"
        ) from None
    own = network.state_dict()
    # DenseNet's files are older than the rule that a name has no dots; auxiliary heads are not part of our networks.
    state = {re.sub(r"(denselayer\d+\.(?:norm|conv))\.([12]\.)", r"\1\2", key): value for key, value in state.items()}
    state = {
        key: value for key, value in state.items() if key in own or not key.startswith(("aux1.", "aux2.", "AuxLogits."))
    }
    if leaving is not None:
        state |= {key: value for key, value in own.items() if key.startswith(leaving)}
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        raise InputError(f"the weights {published.name} of {name} do not fit: {reason(error)}") from None


def _downloaded(url: str) -> dict[str, Tensor]:
    """The weights of a file in torch's cache, downloaded on first use; processes wait for one to do it."""
    folder, name = Path(torch.hub.get_dir(), "checkpoints"), url.rpartition("/")[2]
    alone = nullcontext()
    if not (folder / name).is_file():
        folder.mkdir(parents=True, exist_ok=True)
        alone = FileLock(folder / f".{name}.lock")
    with alone:
        return torch.hub.load_state_dict_from_url(url, progress=False, check_hash=True, weights_only=True)


def _normalisation(variant: str, published) -> tuple[tuple[float, ...], tuple[float, ...]]:
    if variant in ("googlenet", "inception_v3"):
        # Their weights expect [-1, 1]: torchvision undoes ImageNet's normalisation inside, here it is never done.
        return (0.5,) * 3, (0.5,) * 3
    if published is None:
        return _MEAN, _STD
    transforms = published.transforms()
    return tuple(transforms.mean), tuple(transforms.std)


def _published_size(published) -> tuple[int, int]:
    if published is None:
        return 224, 224
    size = published.transforms().crop_size
    return (size[0], size[-1]) if isinstance(size, Sequence) else (size, size)


def _stages(variant: str, body: nn.Module) -> tuple[str, ...]:
    if variant.startswith("vgg"):
        pools = [n for n, layer in enumerate(body.features) if isinstance(layer, nn.MaxPool2d)]
        return tuple(f"features.{n - 1}" for n in pools)
    if variant.startswith("vit"):
        depth = len(body.encoder.layers)
        return tuple(f"encoder.layers.encoder_layer_{depth * quarter // 4 - 1}" for quarter in range(1, 5))
    if variant.startswith("mobilenet_v3"):
        large = variant.endswith("large")
        return tuple(f"features.{n}" for n in ((3, 6, 12, 15) if large else (1, 3, 8, 11)))
    return _STAGES[max((start for start in _STAGES if variant.startswith(start)), key=len, default="")]
