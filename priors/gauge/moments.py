"""What a sweep over images keeps of their activations: sums by class, and never the activations.

All of it is in float64 on one device, and adding a batch does not wait for that device. The moments of several
processes are brought together by `merged`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import torch
from jaxtyping import Float, Int
from torch import Tensor

from priors.checks.floats import require_floats
from priors.checks.labels import class_numbers
from priors.errors import InputError
from priors.vmf.directions import in_parts, norms, unit


@dataclass(frozen=True)
class ActivationMoments:
    """First and second moments of activations, by class.

    Kept about means that move along (Chan, Golub and LeVeque 1979), so that no difference of large numbers is taken.

    Attributes:
        count: (classes,) images of each.
        mean: (classes, m) of their activations; 0 without any.
        scatter: (m, m) sum of (a - mean_i)(a - mean_i)^T over all images, i being their class.

    Example:
        >>> moments = ActivationMoments.none(classes=2, m=2)
        >>> moments = moments.add(torch.tensor([[1.0, 2.0], [3.0, 4.0]]), torch.tensor([1, 1]))
        >>> moments.mean[1], moments.scatter
        (tensor([2., 3.], dtype=torch.float64), tensor([[2., 2.],
                [2., 2.]], dtype=torch.float64))
    """

    count: Int[Tensor, " classes"]
    mean: Float[Tensor, "classes m"]
    scatter: Float[Tensor, "m m"]

    @classmethod
    def none(cls, classes: int, m: int, device: torch.device | str | None = None) -> "ActivationMoments":
        """Those of no images."""
        mean = torch.zeros(classes, m, dtype=torch.float64, device=device)
        return cls(torch.zeros(classes, dtype=torch.long, device=device), mean, mean.new_zeros(m, m))

    def add(self, activations: Float[Tensor, "n m"], labels: Int[Tensor, " n"]) -> "ActivationMoments":
        """These and a batch more, in O(n m^2); values that are not finite are found by `space` at the end.

        Of the classes' means one copy is made, whatever their number: those of 21,841 in 2,048 dimensions are 358 MB.

        Args:
            activations: of any floating type, on the device of these.
            labels: their classes.

        Raises:
            InputError: integers for activations, or labels that are none or do not fit; on other devices than the CPU,
                where asking would wait, a label out of range fails inside torch instead.
        """
        labels = _numbers(activations, labels, len(self.count))
        activations = activations.detach().to(self.mean)
        more = torch.zeros_like(self.count).index_add_(0, labels, torch.ones_like(labels))
        count = self.count + more
        first, begins = _first_of_class(labels, len(count))
        mean = _summed(activations, first)[first] / more[labels, None]
        apart = mean - self.mean[labels]
        # Between the two means of a class, n n' / (n + n') of their difference's square, a share of it for each row.
        share = (self.count.double() / count.clamp_min(1)).sqrt()[labels, None] * apart
        rows = torch.cat([activations - mean, share])
        step = (more.double() / count.clamp_min(1))[labels, None] * apart
        moved = self.mean.index_add(0, labels, step.masked_fill(~begins[:, None], 0))
        return ActivationMoments(count, moved, self.scatter.addmm(rows.T, rows))

    @property
    def images(self) -> int:
        """How many there are of all classes."""
        return int(self.count.sum())

    @property
    def centre(self) -> Float[Tensor, " m"]:
        """The mean of all activations; NaN without any."""
        return (self.count.double() / self.count.sum()) @ self.mean

    @property
    def freedom(self) -> int:
        """Degrees of freedom of the scatter: images less the classes that have some."""
        return self.images - int((self.count > 0).sum())


@dataclass(frozen=True)
class DirectionMoments:
    """Where vectors point, and how long they are, by class.

    Attributes:
        count: (classes,) vectors that have a direction.
        zero: (classes,) those left out, since a zero vector has none.
        total: (classes, m) sum of the unit vectors.
        norm: (classes,) sum of the norms.
        log_norm: (classes,) sum of their natural logarithms.
        log_norm_square: (classes,) sum of the squares of those.

    Example:
        >>> moments = DirectionMoments.none(classes=2, m=2)
        >>> moments = moments.add(torch.tensor([[3.0, 4.0], [0.0, 0.0], [0.0, 2.0]]), torch.tensor([1, 1, 1]))
        >>> moments.mean[1], moments.zero
        (tensor([0.3000, 0.9000], dtype=torch.float64), tensor([0, 1]))
    """

    count: Int[Tensor, " classes"]
    zero: Int[Tensor, " classes"]
    total: Float[Tensor, "classes m"]
    norm: Float[Tensor, " classes"]
    log_norm: Float[Tensor, " classes"]
    log_norm_square: Float[Tensor, " classes"]

    @classmethod
    def none(cls, classes: int, m: int, device: torch.device | str | None = None) -> "DirectionMoments":
        """Those of no vectors."""
        total = torch.zeros(classes, m, dtype=torch.float64, device=device)
        count = torch.zeros(classes, dtype=torch.long, device=device)
        return cls(count, count, total, *(total.new_zeros(classes) for _ in range(3)))

    def add(self, vectors: Float[Tensor, "n m"], labels: Int[Tensor, " n"]) -> "DirectionMoments":
        """These and a batch more; of the classes' sums one copy is made.

        Args:
            vectors: of any floating type, on the device of these, such as activations brought to a space.
            labels: their classes.

        Raises:
            InputError: integers for vectors, or labels that are none or do not fit; on other devices than the CPU,
                where asking would wait, a label out of range fails inside torch instead.
        """
        labels = _numbers(vectors, labels, len(self.count))
        vectors = vectors.detach().to(self.total)
        lengths = norms(vectors)
        zero = lengths == 0
        units = unit(vectors).masked_fill(zero[:, None], 0)
        logs = lengths.log().masked_fill(zero, 0)

        # A class's sum of the batch is added to what there was at once: at its first row, where the others have 0.
        first, _ = _first_of_class(labels, len(self.count))
        parts = ((~zero).long(), zero.long(), units, lengths, logs, logs.square())
        earlier = (getattr(self, field.name) for field in fields(self))
        added = (one.index_add(0, labels, _summed(part, first)) for one, part in zip(earlier, parts, strict=True))
        return DirectionMoments(*added)

    @property
    def mean(self) -> Float[Tensor, "classes m"]:
        """The classes' mean unit vectors; 0 without any."""
        return self.total / self.count.clamp_min(1)[:, None]

    @property
    def mean_norm(self) -> Float[Tensor, " classes"]:
        """The mean norm of each class's vectors that are not zero, and of those of all classes where it has none."""
        return torch.where(self.count > 0, self.norm / self.count, self.norm.sum() / self.count.sum())


def _first_of_class(labels: Tensor, classes: int) -> tuple[Tensor, Tensor]:
    """Of each row of a batch, the first row of its class, and whether that is itself."""
    place = torch.arange(len(labels), device=labels.device)
    found = labels.new_full((classes,), len(labels)).scatter_reduce_(0, labels, place, "amin")[labels]
    return found, found == place


def _summed(values: Tensor, first: Tensor) -> Tensor:
    """Sums over a batch's rows of each class, at its first row; 0 at the others."""
    return torch.zeros_like(values).index_add_(0, first, values)


def _numbers(rows: Tensor, labels: Tensor, classes: int) -> Tensor:
    """Labels in int64, where they and the rows can be added up."""
    require_floats(rows, "activations")
    if labels.device.type == "cpu":
        return class_numbers(labels, len(rows), classes)
    if labels.is_floating_point() or labels.dtype == torch.bool or labels.shape != rows.shape[:1]:
        raise InputError(
            f"labels are {labels.dtype} of shape {tuple(labels.shape)}: one class number for each of {len(rows)} "
            "activations was expected"
        )
    return labels.long()


def _sum(several: Sequence[DirectionMoments]) -> DirectionMoments:
    return DirectionMoments(*(sum(getattr(one, field.name) for one in several) for field in fields(DirectionMoments)))


Moments = ActivationMoments | DirectionMoments


def merged(several: Sequence[Moments]) -> Moments:
    """The moments of all that several were made of, all being of one kind.

    Args:
        several: one at least, as of the processes that looked at parts of a set each.
    """
    whole, *others = several
    if isinstance(whole, DirectionMoments):
        return _sum(several)
    for other in others:
        count = whole.count + other.count
        part = other.count.double() / count.clamp_min(1)
        apart = other.mean - whole.mean
        between = apart.T @ ((part * whole.count)[:, None] * apart)
        mean = whole.mean + part[:, None] * apart
        whole = ActivationMoments(count, mean, whole.scatter + other.scatter + between)
    return whole


def require_finite(moments: Moments, class_names: Sequence[str]) -> None:
    """Make sure that no activation was infinite or NaN.

    Raises:
        InputError: one was; its class is named.
    """
    rows = moments.mean if isinstance(moments, ActivationMoments) else moments.total
    spoilt = (~in_parts(lambda part: part.isfinite().all(1), rows)).nonzero()
    if len(spoilt):
        raise InputError(f"activations of class {class_names[int(spoilt[0])]!r} have values that are not finite")
