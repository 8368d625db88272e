"""The registry of classifiers: declared by a decorator, found by importing the package's modules, built by name."""

import inspect
import pkgutil
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from typing import Any, NamedTuple

from torch import nn

from priors.errors import InputError, unknown
from priors.remarks import remark
from priors.zoo.catalogue import Entry, entries_of
from priors.zoo.narrowing import FILTERS, KERNEL, narrow_body
from priors.zoo.network import Classifier, Network, names_of_classes, same_classes


@dataclass(frozen=True)
class Wanted:
    """What is asked of a family: checked, but not yet known to suit it.

    Attributes:
        image_shape: (channels, height, width); None where the caller leaves it to the family.
        classes: number of classes; None where the caller leaves it to the family.
        penultimate: width of the penultimate activations; None for the family's own.
        class_names: of the classes; None where the caller leaves them to the family, or gives their number alone.
    """

    image_shape: tuple[int, int, int] | None
    classes: int | None
    penultimate: int | None
    class_names: tuple[str, ...] | None = None

    @property
    def images(self) -> tuple[int, int, int]:
        """The image shape, for families that must be told."""
        if self.image_shape is None:
            raise InputError("image_shape is needed: (channels, height, width) of the images")
        return self.image_shape

    def are(self, trained: Sequence[str]) -> bool:
        """Whether the classes are those of trained weights; otherwise they need a final layer of their own.

        Args:
            trained: names of the classes that the weights were trained for.
        """
        if self.class_names is None:
            return self.classes in (None, len(trained))
        return same_classes(trained, self.class_names) or same_classes(self.class_names, trained)


@dataclass(frozen=True)
class Parts:
    """What a family gives: the network up to its penultimate activations, and what it knows beyond.

    Attributes:
        body: maps normalised images (N, C, H, W) to penultimate activations (N, width).
        width: width of the penultimate activations.
        head: the final linear layer, where the family brings its own.
        zero_bias: whether the public code starts the final linear layer's bias at 0, where torch draws it.
        stages: names of the stages, where they depend on the variant.
        class_names, image_shape, mean, std: what trained weights come with, used where the caller gives none.
        new_head: whether trained weights end before the final linear layer, which is drawn anew for other classes.
    """

    body: nn.Module
    width: int
    head: nn.Linear | None = None
    zero_bias: bool = False
    stages: tuple[str, ...] | None = None
    class_names: tuple[str, ...] | None = None
    image_shape: tuple[int, int, int] | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    new_head: bool = False


class _Registered(NamedTuple):
    entry: Entry
    options: dict[str, Any]
    function: Callable[..., Parts]


_REGISTRY: dict[str, _Registered] = {}


def classifier(
    *,
    presets: tuple[tuple[str, dict[str, object], int | None, int | None], ...],
    stages: tuple[str, ...] = (),
    paper: str = "",
) -> Callable[[Callable[..., Parts]], Callable[..., Parts]]:
    """Declare the classifiers that a function builds; `priors.zoo.catalogue` shows how and reads the same literals.

    The function takes `Wanted` and, by keyword, its options; it returns `Parts`.

    Args:
        presets: rows of name, options, penultimate width, published number of parameters (100 classes, 3 x 32 x 32).
        stages: names of the modules whose outputs are the stages, seen from the classifier (`body.` comes first).
        paper: where it comes from.
    """

    def register(function: Callable[..., Parts]) -> Callable[..., Parts]:
        options = tuple(p.name for p in inspect.signature(function).parameters.values() if p.kind is p.KEYWORD_ONLY)
        summary = (inspect.getdoc(function) or "").partition("\n")[0]
        family = function.__name__
        for entry in entries_of(family, options, summary, presets=presets, stages=stages, paper=paper):
            settings = next(preset for name, preset, _, _ in presets if name == entry.name)
            _REGISTRY[entry.name] = _Registered(entry, dict(settings), function)
        return function

    return register


def registered() -> tuple[Entry, ...]:
    """The entries of all classifiers, by file and in the order of declaration; imports all modules of the package."""
    for module in sorted(pkgutil.iter_modules(sys.modules["priors.zoo"].__path__), key=lambda module: module.name):
        import_module(f"priors.zoo.{module.name}")
    return tuple(row.entry for row in sorted(_REGISTRY.values(), key=lambda row: row.function.__module__))


def build(
    name: str,
    *,
    classes: int | Sequence[str] | None = None,
    image_shape: Sequence[int] | None = None,
    penultimate: int | None = None,
    mean: int | float | Sequence[int] | Sequence[float] | None = None,
    std: int | float | Sequence[int] | Sequence[float] | None = None,
    head_bias: bool = True,
    zero_bias: bool | None = None,
    narrow: str | None = None,
    narrow_filters: int = FILTERS,
    narrow_kernel: int = KERNEL,
    **options: Any,
) -> Classifier:
    """A classifier with fresh weights, drawn from torch's global generator, or with trained ones.

    Trained weights are for classes of their own. For others the final linear layer is drawn anew and all else is kept,
    as fine-tuning begins: where their number differs, or their names do (bare numbers and WordNet's are taken in
    order). A line says so.

    Args:
        name: as listed by `priors.zoo.catalogue`, such as "wrn-16-2", "torchvision:resnet18" or, with trained weights,
            "torchvision:resnet18:DEFAULT".
        classes: how many, or their names.
        image_shape: (channels, height, width). It and `classes` may be left out where trained weights say.
        penultimate: width of the penultimate activations. Where it differs from the network's own, a linear layer
            without activation stands between the network and its head.
        mean: of the pixels, one number or one a channel, subtracted inside the network; 0 where neither this nor the
            family says otherwise.
        std: of the pixels, divided by inside the network; 1 where neither this nor the family says otherwise.
        head_bias: False for a final linear layer without a bias.
        zero_bias: whether that bias starts at 0, or uniform within 1 / sqrt(width) as torch has it; None: as the
            family's public code.
        narrow: name of a convolution that has few filters instead of its own, see `priors.zoo.narrowing`: a damaged
            network, to be set beside the whole one; None: there is none.
        narrow_filters: how many; the paper's (Ma et al. 2021, section 4).
        narrow_kernel: their height and width, an odd number; the paper's.
        **options: the family's own, such as `dropout=0.3`.

    Raises:
        InputError: an unknown name or option (the nearest is offered), or values that do not suit the network.

    Example:
        >>> network = build("mlp", classes=10, image_shape=(1, 28, 28), penultimate=11)
        >>> network.head
        Linear(in_features=11, out_features=10, bias=True)
        >>> build("vgg-8", classes=10, image_shape=(3, 32, 32), narrow="block5.0").body.block5[0]
        Conv2d(512, 4, kernel_size=(7, 7), stride=(1, 1), padding=(3, 3))
    """
    registered()
    row, name, said = _find(name)
    for option in options:
        if option not in row.entry.options:
            raise unknown(f"option of {name}", option, row.entry.options)
    options = {**options, **{option: value for option, value in said.items() if option in row.entry.options}}
    class_names = None if classes is None else names_of_classes(classes)
    wanted = Wanted(
        image_shape=None if image_shape is None else _shape(image_shape),
        classes=None if class_names is None else len(class_names),
        penultimate=_width(penultimate),
        class_names=None if isinstance(classes, int) else class_names,
    )
    parts = row.function(wanted, **{**row.options, **said, **options})
    class_names = class_names or parts.class_names
    shape = wanted.image_shape or parts.image_shape
    if class_names is None:
        raise InputError(f"classes is needed to build {name}: their number, or their names")
    if shape is None:
        raise InputError(f"image_shape is needed to build {name}: (channels, height, width) of the images")
    narrowing: dict[str, object] = {}
    if narrow is not None:
        narrow, width = narrow_body(name, parts.body, narrow, narrow_filters, narrow_kernel, shape)
        # Only then, so that the descriptions of all other networks stay as they are.
        narrowing = {"narrow": narrow, "narrow_filters": narrow_filters, "narrow_kernel": narrow_kernel}
        parts = replace(parts, width=width, head=parts.head if width == parts.width else None)
    elif (narrow_filters, narrow_kernel) != (FILTERS, KERNEL):
        raise InputError(
            f"narrow_filters {narrow_filters}, narrow_kernel {narrow_kernel}: narrow says of which layer; give it too"
        )
    projection, head, width = None, parts.head, parts.width
    if wanted.penultimate not in (None, width):
        projection, head = nn.Linear(width, wanted.penultimate), None
        width = wanted.penultimate
    weights = options.get("weights")
    if head is None or (head.bias is not None and not head_bias):
        if weights is not None and not parts.new_head:
            raise InputError(
                f"{name} with weights keeps its head of {parts.width} inputs: leave out penultimate and head_bias"
            )
        head = nn.Linear(width, len(class_names), bias=head_bias)
        if head_bias and (parts.zero_bias if zero_bias is None else zero_bias):
            nn.init.zeros_(head.bias)
    network = Network(
        parts.body,
        projection,
        head,
        class_names=class_names,
        image_shape=shape,
        mean=mean if mean is not None else parts.mean,
        std=std if std is not None else parts.std,
        stages=row.entry.stages if parts.stages is None else parts.stages,
        architecture={
            "name": name,
            "classes": list(class_names),
            "image_shape": list(shape),
            "penultimate": penultimate,
            "head_bias": head_bias,
            "options": {
                option: list(value) if isinstance(value, tuple) else value
                for option, value in options.items()
                if option != "weights"
            },
        }
        | narrowing,
    )
    if weights is not None:
        kept = f"{name}:{weights}"
        if parts.new_head:
            remark(f"{kept}: the final layer is drawn anew for {len(class_names)} classes; the others are as trained.")
        network.provenance["weights"] = f"{kept}, the final layer new" if parts.new_head else kept
    return network


def options_of(name: str) -> tuple[str, ...]:
    """The options of its own that `build` takes for a name.

    Raises:
        InputError: an unknown name.
    """
    registered()
    return _find(name)[0].entry.options


def without_weights(name: str) -> str:
    """The name of the same network with fresh weights.

    Args:
        name: as for `build`.

    Raises:
        InputError: an unknown name.

    Example:
        >>> without_weights("torchvision:resnet18:DEFAULT"), without_weights("mlp")
        ('torchvision:resnet18', 'mlp')
    """
    registered()
    return _find(name)[1]


def trained_weights(name: str, options: Mapping[str, Any]) -> str | None:
    """Which trained weights a name or its options ask for, which may have to be downloaded; None for none.

    Args:
        name: as for `build`.
        options: likewise.

    Raises:
        InputError: an unknown name.
    """
    registered()
    row, _, said = _find(name)
    return {**row.options, **options, **said}.get("weights")


def _find(name: str) -> tuple[_Registered, str, dict[str, str]]:
    """The classifier that a name means, the name without its weights, and the options that the name itself gives."""
    if name in _REGISTRY:
        return _REGISTRY[name], name, {}
    family, _, rest = name.partition(":")
    pattern = _REGISTRY.get(f"{family}:NAME")
    if pattern is None or not rest:
        raise unknown("classifier", name, _REGISTRY)
    variant, _, weights = rest.partition(":")
    return pattern, f"{family}:{variant}", {"variant": variant} | ({"weights": weights} if weights else {})


def _shape(image_shape: Sequence[int]) -> tuple[int, int, int]:
    shape = tuple(image_shape)
    if len(shape) != 3 or not all(isinstance(size, int) and size > 0 for size in shape):
        raise InputError(
            f"image_shape is {image_shape}: (channels, height, width) was expected, three positive integers"
        )
    return shape


def _width(penultimate: int | None) -> int | None:
    if penultimate is not None and penultimate < 2:
        raise InputError(f"penultimate is {penultimate}: directions need at least 2 dimensions")
    return penultimate
