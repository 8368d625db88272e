"""The generative model in a classifier's final layer: one von Mises-Fisher distribution a class.

A final linear layer with weight rows w_i gives the joint model of Seo, Lee and Kwak (On the distribution of penultimate
activations of classification networks, 2021, equation 5) of normalised penultimate activations a and classes i,

    q(a, i) = 1/c vMF(a; w_i / ||w_i||, kappa_i).
"""

import json
import operator
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from priors.class_posterior import ClassPosterior, class_posterior
from priors.class_table import ClassSummary, class_table
from priors.concentration import Concentration, Evidence, resolve
from priors.errors import InputError, unknown
from priors.files.json_files import parse_json
from priors.files.tensors import read_tensors, write_tensors
from priors.floats import require_floats
from priors.reading.heads import find_head, read_head
from priors.reading.taps import find_module
from priors.vmf.directions import norms, unit
from priors.vmf.distribution import VonMisesFisher, log_densities
from priors.zoo.network import Classifier, names_of_classes

_FORMAT = "penult prior 1"


@dataclass(frozen=True)
class Provenance:
    """Where a prior comes from, in words.

    Attributes:
        network: the classifier's name.
        dataset: what it was trained on; where it does not say, what its concentrations were measured on.
        concentration: how the concentrations were chosen; the prior writes it itself.
    """

    network: str = "unknown"
    dataset: str = "unknown"
    concentration: str = "unknown"


class ClassifierPrior(nn.Module):
    """One von Mises-Fisher distribution a class over normalised penultimate activations.

    Final; made by `from_classifier`, `from_weight` or `load`. It has no trainable parameters; it moves with `.to(...)`
    like any module. Labels are checked on the CPU; on other devices, where asking would wait for the device, a label
    out of range fails inside torch instead.

    Attributes:
        weight: (classes, m), the final layer's, as it was given.
        bias: (classes,), the final layer's, or None. Kept, but no part of the model.
        loc: (classes, m), the classes' unit directions.
        concentration: (classes,), at least 0.
        class_names: one a class.
        provenance: where the prior comes from.

    Example:
        >>> prior = ClassifierPrior.from_weight(torch.eye(3, 5), concentration=20, class_names=["ant", "bee", "cat"])
        >>> prior["bee"].mean_resultant_length
        tensor(0.9026)
        >>> prior.sample([0, "cat"], generator=torch.Generator().manual_seed(0)).shape
        torch.Size([2, 5])
        >>> prior.posterior(10 * torch.eye(3, 5)).argmax(-1)
        tensor([0, 1, 2])
    """

    weight: Tensor
    bias: Tensor | None
    loc: Tensor
    concentration: Tensor

    def __init__(
        self,
        weight: Tensor,
        bias: Tensor | None,
        concentration: Tensor,
        class_names: tuple[str, ...],
        provenance: Provenance,
    ):
        super().__init__()
        self.class_names = class_names
        self.provenance = provenance
        self._numbers = {name: number for number, name in enumerate(class_names)}
        self.register_buffer("weight", weight)
        self.register_buffer("bias", bias)
        self.register_buffer("concentration", concentration.to(weight.dtype))
        self.register_buffer("loc", None, persistent=False)
        self.register_load_state_dict_post_hook(ClassifierPrior._turn)
        self._turn()

    @classmethod
    def from_weight(
        cls,
        weight: Float[Tensor, "classes m"],
        concentration: Concentration,
        bias: Float[Tensor, " classes"] | None = None,
        class_names: Sequence[str] | None = None,
        provenance: Provenance | None = None,
        **evidence: Tensor | int | float,
    ) -> "ClassifierPrior":
        """The prior of a bare weight matrix.

        Args:
            weight: the final linear layer's, one row a class, m >= 2.
            concentration: one number, one a class, or a strategy of `priors.concentration` such as "norms".
            bias: the final layer's, kept beside the weight.
            class_names: "0", "1", ... if left out.
            provenance: where the weight comes from.
            **evidence: what the strategy looks at, by the names of `priors.concentration.Evidence`, such as
                `activations=`.

        Raises:
            InputError: a weight that is not finite or has a zero row (the class is named), fewer than two classes or
                dimensions, a concentration that cannot be, or names and biases that do not fit.
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
        for name, norm in zip(names, norms(weight.double()).tolist(), strict=True):
            if norm == 0:
                raise InputError(f"the weight of class {name!r} is zero: it has no direction")
            if not norm < float("inf"):
                raise InputError(f"the weight of class {name!r} has values that are not finite")
        values, how = resolve(concentration, weight, names, Evidence(**evidence))
        return cls(weight, bias, values, names, replace(provenance or Provenance(), concentration=how))

    @classmethod
    def from_classifier(
        cls,
        module: nn.Module,
        concentration: Concentration,
        head: str | None = None,
        class_names: Sequence[str] | None = None,
        provenance: Provenance | None = None,
        **evidence: Tensor | int | float,
    ) -> "ClassifierPrior":
        """The prior of a trained classifier: of the zoo, of torchvision, or any other module.

        Args:
            module: the network; only its final linear layer is looked at.
            concentration: as for `from_weight`, like what follows.
            head: name of the final linear layer, where it is ambiguous.
            class_names: those of a zoo classifier, or "0", "1", ..., if left out.
            provenance: what the network itself says, if left out.
            **evidence: as for `from_weight`.

        Raises:
            InputError: as for `from_weight`; no linear layer, several that could be the final one, or a head that is
                not linear.
        """
        core = find_module(module, "")[1]
        if isinstance(core, Classifier):
            head = core.head_name if head is None else head
            class_names = core.class_names if class_names is None else class_names
            network = (core.architecture or {}).get("name") or type(core.network).__name__
            provenance = provenance or Provenance(network, core.provenance.get("data", "unknown"))
        name, layer = find_head(module, head)
        applied = read_head(layer, name)
        return cls.from_weight(
            applied.weight,
            concentration,
            applied.bias,
            class_names,
            provenance or Provenance(type(core).__name__),
            **evidence,
        )

    def with_concentration(self, concentration: Concentration, **evidence: Tensor | int | float) -> "ClassifierPrior":
        """The same directions with other concentrations; the arguments are those of `from_weight`."""
        values, how = resolve(concentration, self.weight, self.class_names, Evidence(**evidence))
        bias = None if self.bias is None else self.bias.clone()
        provenance = replace(self.provenance, concentration=how)
        return ClassifierPrior(self.weight.clone(), bias, values, self.class_names, provenance)

    @property
    def dim(self) -> int:
        """m, the dimension of the activations: directions lie on the sphere S^(m-1)."""
        return self.weight.shape[1]

    @property
    def classes(self) -> int:
        """The number of classes."""
        return len(self.weight)

    def __len__(self) -> int:
        return self.classes

    def __iter__(self) -> Iterator[VonMisesFisher]:
        return (self[number] for number in range(self.classes))

    def __getitem__(self, label: int | str | slice) -> VonMisesFisher:
        """q(a | i) of one class, by its number or name, or of several at once by a slice of numbers."""
        if not isinstance(label, slice):
            label = self.number(label)
        return VonMisesFisher(self.loc[label], self.concentration[label])

    def number(self, label: int | str) -> int:
        """The number of a class given by number or name.

        Raises:
            InputError: there is no such class; the nearest name is offered.
        """
        if isinstance(label, str):
            if label not in self._numbers:
                raise unknown("class", label, self.class_names)
            return self._numbers[label]
        try:
            number = -1 if isinstance(label, bool) else operator.index(label)
        except TypeError:
            number = -1
        if not 0 <= number < self.classes:
            raise InputError(f"label {label} is out of range: the classes are 0 to {self.classes - 1}")
        return number

    def distributions(self, labels: Int[Tensor, "*shape"] | Sequence[int | str]) -> VonMisesFisher:
        """q(a | label) for each label, a batch of the labels' shape.

        Raises:
            InputError: a label that is out of range or no class's name.
        """
        loc, concentration = self._of(labels)
        return VonMisesFisher(loc, concentration)

    @torch.no_grad()
    def sample(
        self, labels: Int[Tensor, "*shape"] | Sequence[int | str], generator: torch.Generator | None = None
    ) -> Float[Tensor, "*shape m"]:
        """One unit vector a label, from q(a | label): what penultimate activations of such images look like.

        For n draws of each, first of the shape: `prior.distributions(labels).sample(n)`.

        Raises:
            InputError: a label that is out of range or no class's name, or a generator that is none.
        """
        if isinstance(generator, int):
            raise InputError(
                f"generator is {generator}: for {generator} draws of each label take "
                f"prior.distributions(labels).sample({generator})"
            )
        loc, concentration = self._of(labels)
        return VonMisesFisher(loc, concentration, validate_args=False).sample(generator=generator)

    def log_prob(self, activations: Float[Tensor, "*batch m"]) -> Float[Tensor, "*batch classes"]:
        """Log-densities log q(a | i), in nats, of the activations' directions under every class.

        A density on the unit sphere with respect to its surface measure. One matrix product; its rounding is magnified
        by the concentration, so at concentrations beyond 1e4 prefer float64.

        Raises:
            InputError: activations of another dimension; on the CPU also zero or non-finite ones, which have no
                direction (on other devices, where asking would wait for the device, they give NaN).
        """
        return self.direction_log_prob(self._directions(activations))

    def direction_log_prob(self, directions: Float[Tensor, "*batch m"]) -> Float[Tensor, "*batch classes"]:
        """The same of unit vectors, which are not checked and not normalised again."""
        return log_densities(directions, self.loc, self.concentration)

    def posterior(self, activations: Float[Tensor, "*batch m"]) -> Float[Tensor, "*batch classes"]:
        """q(i | a), the probability of each class given activations, all classes being equally likely beforehand.

        Raises:
            InputError: as for `log_prob`.
        """
        return self.log_prob(activations).softmax(-1)

    def class_posterior(
        self,
        samples: int = 1000,
        generator: torch.Generator | None = None,
        *,
        logits: Literal["prior", "head"] = "prior",
        norm: float | None = None,
        temperature: float = 1.0,
        standard_error: float | None = None,
    ) -> ClassPosterior:
        """What draws from each class are taken for, as `priors.class_posterior.class_posterior` says."""
        given = {"logits": logits, "norm": norm, "temperature": temperature, "standard_error": standard_error}
        return class_posterior(
            self.weight, self.bias, self.concentration, self.class_names, samples, generator, **given
        )

    def class_table(self) -> tuple[ClassSummary, ...]:
        """A summary of each class, in the classes' order."""
        return class_table(self.weight, self.concentration, self.class_names)

    def save(self, path: str | Path) -> None:
        """Write weight, bias, concentrations, class names and provenance as one safetensors file.

        Raises:
            OSError: the disk is full or the place cannot be written; what was there is untouched.
        """
        tensors = {"weight": self.weight, "concentration": self.concentration}
        if self.bias is not None:
            tensors["bias"] = self.bias
        metadata = {
            "format": _FORMAT,
            "class_names": json.dumps(self.class_names),
            "provenance": json.dumps(asdict(self.provenance)),
        }
        write_tensors(path, tensors, metadata)

    @classmethod
    def load(cls, path: str | Path) -> "ClassifierPrior":
        """Read what `save` wrote, onto the CPU.

        Raises:
            InputError: there is no such file, or it is damaged, or holds something else.
        """
        tensors, metadata = read_tensors(path, "prior", finite=True)
        if metadata.get("format") != _FORMAT:
            raise InputError(f"{path} holds no prior: format {_FORMAT!r} was expected, not {metadata.get('format')!r}")
        try:
            names = parse_json(metadata["class_names"])
            provenance = Provenance(**parse_json(metadata["provenance"]))
            prior = cls.from_weight(tensors["weight"], tensors["concentration"], tensors.get("bias"), names)
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"{path} holds no prior that can be used: {error}") from None
        prior.provenance = provenance
        return prior

    def extra_repr(self) -> str:
        """What a printout shows between the brackets."""
        return f"classes={self.classes}, dim={self.dim}, concentration={self.provenance.concentration!r}"

    def _apply(self, fn, recurse=True):
        super()._apply(fn, recurse)
        self._turn()
        return self

    def _turn(self, _: object = None) -> None:
        """Directions from weights: again after each move, since float32 directions are no float64 unit vectors."""
        self.loc = unit(self.weight.double()).to(self.weight.dtype)

    def _of(self, labels: Tensor | Sequence[int | str]) -> tuple[Tensor, Tensor]:
        """Directions and concentrations of labels; a wrong one never wraps around to another class."""
        if isinstance(labels, str) or not isinstance(labels, Iterable):  # one: a text is a name, not a list of letters
            labels = torch.tensor(self.number(labels))
        elif not isinstance(labels, Tensor):
            labels = torch.tensor([self.number(label) for label in labels], dtype=torch.long)
        elif labels.is_floating_point() or labels.is_complex() or labels.dtype == torch.bool:
            raise InputError(f"labels are {labels.dtype}: class numbers were expected")
        elif labels.device.type == "cpu" and labels.numel() and not torch.compiler.is_compiling():
            low, high = (int(bound) for bound in labels.aminmax())
            self.number(low), self.number(high)
        labels = labels.to(self.loc.device, torch.long)
        return nn.functional.embedding(labels, self.loc), self.concentration[labels]

    def _directions(self, activations: Tensor) -> Tensor:
        if activations.ndim == 0 or activations.shape[-1] != self.dim:
            raise InputError(f"activations have shape {tuple(activations.shape)}: (..., {self.dim}) was expected")
        require_floats(activations, "activations")
        activations = activations.to(self.loc.dtype)
        if activations.device.type == "cpu" and not torch.compiler.is_compiling():
            largest = activations.detach().abs().amax(-1)
            without = int((~((largest > 0) & largest.isfinite())).sum())
            if without:
                raise InputError(f"{without} activations are zero or not finite: they have no direction")
        return unit(activations)
