"""Weights that a training starts from: a run's, an export's, or those of any safetensors file."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from apps.models.named import is_network, is_run, open_run
from apps.models.registry import CLASSIFIER, kind_of, refused
from apps.runs.run import Run
from priors import zoo
from priors.errors import InputError
from priors.files.checksums import check_finite
from priors.files.tensors import converts, digest_of, read_tensors
from priors.files.weight_names import differing, named_as
from priors.zoo.network import Classifier, same_classes

_WITHIN = ("", "body.", "network.")
"""What may stand before names here, and not there: a zoo's network or a wrapped one holds another program's."""
_LISTED = 4


@dataclass(frozen=True)
class Initial:
    """What a network was given, and what it was not.

    Attributes:
        source: a run's folder or a file.
        new: names of the network's weights and buffers that are as they were drawn.
        taken: how many of the network's weights were given, not counting buffers.
        weights: how many it has.
        digest: of what was given, by the network's names.
        why: why the final layer is new, in words; empty where it is not, or simply not there.
        left: how many tensors of the source were left.
    """

    source: str
    new: tuple[str, ...]
    taken: int
    weights: int
    digest: str
    why: str
    left: int

    def said(self) -> str:
        """All that in one line."""
        names = ", ".join(self.new[:_LISTED]) + (f", ... {len(self.new)} in all" if len(self.new) > _LISTED else "")
        new = f"; new: {names}{f' ({self.why})' if self.why else ''}" if names else ", all there are"
        left = f"; {self.left} of the tensors there are not taken" if self.left else ""
        return f"--init {self.source}: {self.taken:,} of {self.weights:,} weights are taken{new}{left}."


@dataclass(frozen=True)
class _Source:
    """Tensors by name, and what is known of them.

    Attributes:
        file: where they are from.
        tensors: by the names that they have there.
        metadata: of the file.
        class_names: of the network that they are of; None where that is not known.
        architecture: its name; empty likewise.
    """

    file: Path
    tensors: Mapping[str, Tensor]
    metadata: Mapping[str, str]
    class_names: Sequence[str] | None = None
    architecture: str = ""


def start_from(network: Classifier, given: str, called: str) -> Initial:
    """Put weights into a network: all that fit by name and shape, among them the normalisation that belongs to them.

    The final layer is left as it was drawn where the classes are others: in number or, where a run says what they are,
    in name or order.

    Args:
        network: changed in place.
        given: the folder of a finished run of a classifier, or of an export; or a .safetensors file of anybody's.
        called: what messages call the network, as in --arch mlp.

    Raises:
        InputError: there is no such place, it is damaged or holds something else, numbers in it are not finite, or
            nothing in it fits but perhaps a final layer.
    """
    source = _read(given)
    own = {name: tensor for name, tensor in network.state_dict().items() if isinstance(tensor, Tensor)}
    of_head = {id(one) for one in network.head.parameters()}
    head = {name for name, one in network.named_parameters() if id(one) in of_head}
    head |= {name for name in own if name.startswith(f"{network.head_name}.")}
    fitting = max((_fitting(own, source, within) for within in _WITHIN), key=len)
    others = source.class_names is not None and _others(source.class_names, network.class_names)
    if others:
        fitting = {name: tensor for name, tensor in fitting.items() if name not in head}
    parameters = dict(network.named_parameters())
    if not any(name in parameters and name not in head for name in fitting):
        raise InputError(_nothing_fits(given, called, source))
    check_finite(fitting, source.file, own)
    if pair := differing(own, fitting):
        raise InputError(f"--init {given}: {pair[0]} and {pair[1]} are one tensor here, and differ there")
    network.load_state_dict(fitting, strict=False)
    memory = {own[name].data_ptr() for name in fitting}
    new = tuple(name for name, tensor in own.items() if name not in fitting and tensor.data_ptr() not in memory)
    why = "the classes are others" if others and any(name in head for name in new) else ""
    taken = sum(own[name].numel() for name in fitting if name in parameters)
    weights = sum(one.numel() for one in parameters.values())
    left = len(source.tensors) - len(fitting)
    return Initial(given, new, taken, weights, digest_of(fitting), why, left)


def _others(theirs: Sequence[str], ours: Sequence[str]) -> bool:
    """Whether classes are others; numbers beside numbers are names, as where some of a set's were chosen."""
    numbered = all(name.isdecimal() for name in (*theirs, *ours))
    return not same_classes(theirs, ours) or (numbered and tuple(theirs) != tuple(ours))


def _read(given: str) -> _Source:
    """The tensors that are meant.

    Raises:
        InputError: as for `start_from`.
    """
    place = Path(given)
    if not is_run(given) and not is_network(given):
        raise InputError(
            f"--init {given}: expected the folder of a run or a .safetensors file; weights that torchvision or your "
            "own code brings are named by the architecture"
        )
    if place.suffix == ".safetensors" and not place.is_dir():
        return _Source(place, *read_tensors(place, "weights", foreign=True))
    if place.is_file():
        raise InputError(f"--init {given}: expected the folder of a run, or a file ending in .safetensors")
    run = Run(given) if is_network(given) else open_run(given)
    if (kind := kind_of(run)) is not CLASSIFIER:
        raise refused(given, kind, CLASSIFIER.family)
    described = zoo.describe(run.folder)
    architecture, wrapped = described.get("architecture") or {}, described.get("wrapped") or {}
    file = run.folder / "model.safetensors"
    tensors, metadata = read_tensors(file, "classifier weights")
    names = architecture.get("classes") or wrapped.get("class_names")
    return _Source(file, tensors, metadata, names, architecture.get("name") or wrapped.get("kind") or "")


def _fitting(own: Mapping[str, Tensor], source: _Source, within: str) -> dict[str, Tensor]:
    """The source's tensors by the network's names and in its types, those that have its shapes."""
    part = {name.removeprefix(within): tensor for name, tensor in own.items() if name.startswith(within)}
    named = named_as(part, source.tensors, source.metadata).tensors
    return {
        within + name: tensor.to(part[name].dtype)
        for name, tensor in named.items()
        if tensor.shape == part[name].shape and converts(tensor, part[name].dtype)
    }


def _nothing_fits(given: str, called: str, source: _Source) -> str:
    """What is said of weights of something else."""
    names = ", ".join(list(source.tensors)[:_LISTED]) + (", ..." if len(source.tensors) > _LISTED else "")
    held = f"it holds a {source.architecture}" if source.architecture else f"it holds {names or 'no tensors'}"
    return (
        f"--init {given}: nothing in it but perhaps a final layer fits {called} by name and shape: {held}; give "
        "weights of the same architecture"
    )
