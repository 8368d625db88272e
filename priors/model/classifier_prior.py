"""The generative model in a classifier's final layer: one von Mises-Fisher distribution a class.

A final linear layer with weight rows w_i gives the joint model of Seo, Lee and Kwak (On the distribution of penultimate
activations of classification networks, 2021, equation 5) of normalised penultimate activations a and classes i,

    q(a, i) = 1/c vMF(a; w_i / ||w_i||, kappa_i).

That is one gauge of several which the classifier's probabilities do not tell apart: see `priors.gauge.gauge`.
"""

from collections.abc import Iterator, Sequence
from copy import deepcopy
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from priors.checks.labels import class_number, labels_to_numbers
from priors.errors import InputError, unknown
from priors.gauge.evidence import Evidence
from priors.gauge.gauge import Gauge, choose_gauge
from priors.gauge.space import Space
from priors.model.class_posterior import ClassPosterior, class_posterior
from priors.model.class_table import ClassSummary, class_table
from priors.model.concentration import Concentration, resolve, resolve_in
from priors.model.final_layer import checked, read_final_layer
from priors.model.prior_files import read_prior, write_prior
from priors.model.provenance import Provenance
from priors.vmf.directions import in_parts, norms, require_pointing, require_vectors, unit
from priors.vmf.distribution import VonMisesFisher, log_densities, log_peaks


class ClassifierPrior(nn.Module):
    """One von Mises-Fisher distribution a class over normalised penultimate activations.

    Final; made by `from_classifier`, `from_weight` or `load`. It has no trainable parameters; it moves with `.to(...)`
    like any module. Labels are checked as `priors.checks.labels.labels_to_numbers` says.

    Attributes:
        weight: (classes, m), the final layer's, as it was given.
        bias: (classes,), the final layer's, or None. Kept, but no part of the model.
        gauge: the space of the activations, and the directions taken there; the unit sphere of that space is where
            densities and draws are.
        loc: (classes, m), the classes' unit directions there.
        concentration: (classes,), at least 0.
        norm: (classes,), mean norms of the classes' activations in that space, or None where they were not measured.
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
    norm: Tensor | None

    def __init__(
        self,
        weight: Tensor,
        bias: Tensor | None,
        concentration: Tensor,
        class_names: tuple[str, ...],
        provenance: Provenance,
        gauge: Gauge | None = None,
        norm: Tensor | None = None,
    ):
        super().__init__()
        self.gauge = gauge or Gauge()
        self.class_names = class_names
        self.provenance = provenance
        self.register_buffer("weight", weight)
        self.register_buffer("bias", bias)
        self.register_buffer("concentration", concentration.to(weight.dtype))
        self.register_buffer("norm", None if norm is None else norm.to(weight))
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
        *,
        space: str | Space = "raw",
        directions: str = "weights",
        **evidence: Any,
    ) -> "ClassifierPrior":
        """The prior of a bare weight matrix.

        Args:
            weight: the final linear layer's, one row a class, m >= 2.
            concentration: one number, one a class, or a strategy of `priors.model.concentration` such as "norms".
            bias: the final layer's, kept beside the weight.
            class_names: "0", "1", ... if left out.
            provenance: where the weight comes from.
            space: of the activations: "raw" as they are, "centred", "whitened" by their covariance within classes, or
                one that `priors.gauge.space.fit_space` made. The last three are measured.
            directions: "weights", the rows of the weight; "centred", less their mean; "fitted", s w_i + c of largest
                likelihood; "means", the mean directions of the classes' activations. The last two are measured.
            **evidence: what a strategy, a space or directions are measured on, by the names of
                `priors.gauge.evidence.Evidence`, such as `activations=`, `labels=`.

        Raises:
            InputError: a weight that is not finite or a class without a direction (it is named), fewer than two classes
                or dimensions, a concentration, space or directions that cannot be, nothing to measure them on, or
                names and biases that do not fit.
        """
        weight, bias, names = checked(weight, bias, class_names)
        gauge, found = choose_gauge(weight, names, space, directions, Evidence(**evidence))
        values, how = resolve_in(gauge, weight, concentration, names, found)
        norm = found.class_norms(*weight.shape, names)
        told = replace(provenance or Provenance(), concentration=how, gauge=f"{gauge.space_name}, {directions}")
        return cls(weight, bias, values, names, told, gauge, norm)

    @classmethod
    def from_classifier(
        cls,
        module: nn.Module,
        concentration: Concentration,
        head: str | None = None,
        class_names: Sequence[str] | None = None,
        provenance: Provenance | None = None,
        **measured: Any,
    ) -> "ClassifierPrior":
        """The prior of a trained classifier: of the zoo, of torchvision, or any other module.

        Args:
            module: the network; only its final linear layer is looked at.
            concentration: as for `from_weight`, like what follows.
            head: name of the final linear layer, where it is ambiguous.
            class_names: those of a zoo classifier, or "0", "1", ..., if left out.
            provenance: what the network itself says, if left out.
            **measured: space, directions and evidence, as for `from_weight`.

        Raises:
            InputError: as for `from_weight`; no linear layer, several that could be the final one, or a head that is
                not linear.
        """
        weight, bias, own_names, own = read_final_layer(module, head)
        names = own_names if class_names is None else class_names
        return cls.from_weight(weight, concentration, bias, names, provenance or own, **measured)

    def with_concentration(self, concentration: Concentration, **evidence: Any) -> "ClassifierPrior":
        """The same directions with other concentrations; the arguments are those of `from_weight`.

        Activations are the network's own: they are brought to the space of the directions.
        """
        found = Evidence(**evidence).brought(self.space)
        rows = self.gauge.rows(self.weight)
        values, how = resolve(concentration, rows, self.class_names, found, self.gauge.directions)
        norm = found.class_norms(*rows.shape, self.class_names)
        other = deepcopy(self)
        other.concentration = values.to(self.weight)
        other.norm = self.norm if norm is None else norm.to(self.weight)
        other.provenance = replace(self.provenance, concentration=how)
        return other

    def on_its_sphere(self) -> "ClassifierPrior":
        """The same distributions without what leads back to the network: all that a generator needs.

        Its weight are the rows of the gauge, as they are.
        """
        rows = self.gauge.rows(self.weight).to(self.weight, copy=True)
        bias = None if self.bias is None else self.space.bias(self.weight, self.bias).clone()
        return ClassifierPrior(rows, bias, self.concentration.clone(), self.class_names, self.provenance)

    @property
    def space(self) -> Space:
        """The space of activations that the directions are in."""
        return self.gauge.space

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
        return class_number(label, self.class_names)

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
        """One unit vector a label, from q(a | label): where activations of such images point, in the prior's space.

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

    @torch.no_grad()
    def activations(
        self,
        labels: Int[Tensor, "*shape"] | Sequence[int | str],
        generator: torch.Generator | None = None,
        *,
        norm: float | None = None,
    ) -> Float[Tensor, "*shape m"]:
        """One activation of the network a label: a draw u at its class's mean norm r, brought back, a0 + T^-1 (r u).

        It is what the head takes.

        Args:
            labels: of classes.
            generator: source of the draws.
            norm: r for all, in the prior's space; unset: as measured, class by class.

        Raises:
            InputError: as for `sample`, or norms that were not measured.
        """
        if norm is None and self.norm is None:
            raise InputError(
                "the norms of the activations were not measured: make the prior with activations= and labels=, or "
                "give norm="
            )
        numbers = self._labels(labels)
        drawn = self.sample(numbers, generator)
        lengths = self.norm[numbers].unsqueeze(-1) if norm is None else norm
        return self.space.back(lengths * drawn)

    def log_prob(self, activations: Float[Tensor, "*batch m"]) -> Float[Tensor, "*batch classes"]:
        """Log-densities log q(a | i), in nats, of the activations' directions under every class.

        Activations are the network's own, and are brought to the prior's space. A density on the unit sphere of that
        space, with respect to its surface measure: those of two spaces do not compare. One matrix product; its rounding
        is magnified by the concentration, so at concentrations beyond 1e4 prefer float64.

        Raises:
            InputError: activations of another dimension; on the CPU also zero or non-finite ones, which have no
                direction (on other devices, where asking would wait for the device, they give NaN).
        """
        return self.direction_log_prob(self._directions(activations))

    def direction_log_prob(self, directions: Float[Tensor, "*batch m"]) -> Float[Tensor, "*batch classes"]:
        """The same of unit vectors, which are not checked and not normalised again."""
        return log_densities(directions, self.loc, self.concentration)

    def posterior(
        self, activations: Float[Tensor, "*batch m"], class_prior: str = "uniform"
    ) -> Float[Tensor, "*batch classes"]:
        """q(i | a), the probability of each class given where an activation points.

        Args:
            activations: the network's own.
            class_prior: q(i). "uniform", as in equation 5, or "head": what the head's bias b_i (in the prior's space)
                and the normalisers C of the densities make of it, q(i) ~ exp(b_i) / C(kappa_i). With fitted directions
                and concentrations, q(i | a) is then the head's own softmax for activations of norm s in that space;
                with "weights" and "norms", for those of the mean norm.

        Raises:
            InputError: as for `log_prob`.
        """
        densities = self.log_prob(activations)
        if class_prior == "head":
            bias = self.space.bias(self.weight, self.bias)
            densities = densities - log_peaks(self.dim, self.concentration) + self.concentration
            densities = densities if bias is None else densities + bias
        elif class_prior != "uniform":
            raise unknown("class prior", class_prior, ("uniform", "head"))
        return densities.softmax(-1)

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
        """What draws from each class are taken for, as `priors.model.class_posterior.class_posterior` says."""
        given = {"logits": logits, "norm": norm, "temperature": temperature, "standard_error": standard_error}
        head = self.space.rows(self.weight), self.space.bias(self.weight, self.bias)
        drawn = self.unit_rows(), self.concentration, self.class_names
        return class_posterior(*drawn, samples, generator, head=head, norms=self.norm, **given)

    def class_table(self, only: Sequence[int] | None = None) -> tuple[ClassSummary, ...]:
        """A summary of each class, or only of those of some numbers, in the classes' order or in that of the numbers.

        Raises:
            InputError: a number that is no class's.
        """
        lengths = in_parts(norms, self.weight.double())
        return class_table(self.unit_rows(), lengths, self.concentration, self.class_names, only)

    def save(self, path: str | Path) -> None:
        """Write weight, bias, concentrations, class names and provenance as one safetensors file.

        Raises:
            OSError: the disk is full or the place cannot be written; what was there is untouched.
        """
        names = ("weight", "bias", "concentration", "norm")
        tensors = {name: getattr(self, name) for name in names}
        write_prior(path, tensors, self.gauge, self.class_names, asdict(self.provenance))

    @classmethod
    def load(cls, path: str | Path) -> "ClassifierPrior":
        """Read what `save` wrote, onto the CPU.

        Raises:
            InputError: there is no such file, or it is damaged, or holds something else.
        """
        stored = read_prior(path)
        try:
            tensors = stored.tensors
            provenance = Provenance.stored(stored.provenance)
            weight, bias, names = checked(tensors["weight"], tensors.get("bias"), stored.class_names)
            values, _ = resolve_in(stored.gauge, weight, tensors["concentration"], names, Evidence())
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"{path} holds no prior that can be used: {error}") from None
        return cls(weight, bias, values, names, provenance, stored.gauge, tensors.get("norm"))

    def extra_repr(self) -> str:
        """What a printout shows between the brackets."""
        return f"classes={self.classes}, dim={self.dim}, concentration={self.provenance.concentration!r}"

    def _apply(self, fn, recurse=True):
        super()._apply(fn, recurse)
        self._turn()
        return self

    def _turn(self, _: object = None) -> None:
        """Directions from weights: again after each move, since float32 directions are no float64 unit vectors."""
        self.loc = self.gauge.unit_rows(self.weight, self.weight.dtype)

    def unit_rows(self) -> Float[Tensor, "classes m"]:
        """The classes' directions, as `loc`, in float64."""
        return self.gauge.unit_rows(self.weight)

    def _of(self, labels: Tensor | Sequence[int | str]) -> tuple[Tensor, Tensor]:
        """Directions and concentrations of labels."""
        labels = self._labels(labels)
        return nn.functional.embedding(labels, self.loc), self.concentration[labels]

    def _labels(self, labels: Tensor | Sequence[int | str]) -> Tensor:
        """Class numbers of labels, beside the directions."""
        return labels_to_numbers(labels, self.class_names).to(self.loc.device, torch.long)

    def _directions(self, activations: Tensor) -> Tensor:
        require_vectors(activations, self.dim)
        there = self.space.bring(activations.to(self.loc.dtype))
        require_pointing(there)
        return unit(there)
