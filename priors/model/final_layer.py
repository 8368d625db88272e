"""What a prior takes of a final layer: weight, bias and names that fit, and rows that have directions."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from priors.checks.floats import require_floats
from priors.errors import InputError
from priors.model.provenance import Provenance
from priors.reading.heads import find_head, read_head
from priors.reading.taps import find_module
from priors.vmf.directions import in_parts, norms
from priors.zoo.network import Classifier, names_of_classes


def read_final_layer(
    module: nn.Module, head: str | None = None
) -> tuple[Float[Tensor, "classes m"], Float[Tensor, " classes"] | None, tuple[str, ...] | None, Provenance]:
    """A network's final linear layer: its weight, its bias, the names of its classes if it knows any, and whose it is.

    Args:
        module: the network; only its final linear layer is looked at.
        head: name of that layer, where it is ambiguous.

    Raises:
        InputError: no linear layer, several that could be the final one, or a head that is not linear.
    """
    core = find_module(module, "")[1]
    names, provenance = None, Provenance(type(core).__name__)
    if isinstance(core, Classifier):
        head = core.head_name if head is None else head
        names = core.class_names
        network = (core.architecture or {}).get("name") or type(core.network).__name__
        provenance = Provenance(network, core.provenance.get("data", "unknown"))
    name, layer = find_head(module, head)  # by the name that it has under a wrapper, too
    applied = read_head(layer, name)
    return applied.weight, applied.bias, names, provenance


def checked(
    weight: Float[Tensor, "..."], bias: Float[Tensor, "..."] | None, class_names: Sequence[str] | None
) -> tuple[Float[Tensor, "classes m"], Float[Tensor, " classes"] | None, tuple[str, ...]]:
    """Copies of a final layer's weight and bias, in single precision at least, and the names of its classes.

    Args:
        weight: one row a class, m >= 2.
        bias: of the layer.
        class_names: "0", "1", ... if left out.

    Raises:
        InputError: a weight that is no matrix of floats or is not finite (the class is named), fewer than two classes
            or dimensions, or names or biases that do not fit.
    """
    if weight.ndim != 2 or not weight.is_floating_point():
        raise InputError(
            f"the weight is {weight.dtype} of shape {tuple(weight.shape)}: floats (classes, m) were expected"
        )
    if weight.shape[1] < 2:
        raise InputError(f"the weight has {weight.shape[1]} columns: directions need at least 2 dimensions")
    # Half precision is a storage format here: densities in it would be noise.
    weight = weight.detach().to(torch.promote_types(weight.dtype, torch.float32), copy=True)
    names = names_of_classes(len(weight) if class_names is None else class_names)
    if len(names) != len(weight):
        raise InputError(f"{len(names)} class names were given for {len(weight)} rows of weights")
    if bias is not None:
        if bias.shape != (len(weight),):
            raise InputError(f"the bias has shape {tuple(bias.shape)}: ({len(weight)},) was expected, one a class")
        require_floats(bias, "biases")
        bias = bias.detach().to(weight, copy=True)
    every = in_parts(lambda rows: rows.isfinite().all(1), weight).tolist()
    for name, finite in zip(names, every, strict=True):
        if not finite:
            raise InputError(f"the weight of class {name!r} has values that are not finite")
    return weight, bias, names


def require_directions(rows: Float[Tensor, "classes m"], what: str, class_names: Sequence[str]) -> None:
    """Make sure that every row points somewhere.

    Args:
        rows: one a class.
        what: they are, for the message.
        class_names: for the message.

    Raises:
        InputError: one is zero, or too long for a number; its class is named.
    """
    lengths = in_parts(lambda part: norms(part.double()), rows)
    for name, norm in zip(class_names, lengths.tolist(), strict=True):
        if norm == 0:
            raise InputError(f"the {what} of class {name!r} is zero: it has no direction")
        if not norm < float("inf"):
            raise InputError(f"the {what} of class {name!r} has values that are not finite")
