"""How a classifier's activations on a data set spread: what one pass over it can tell, by one process or many."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import TypeVar

import torch
from accelerate import Accelerator
from jaxtyping import Float, Int
from torch import Tensor

from apps.data.batches import Batch
from apps.data.image_set import ImageSet
from apps.data.sweep import AT_A_TIME, sweep
from apps.models.activations import device_of
from priors.errors import InputError
from priors.gauge.moments import ActivationMoments, DirectionMoments, merged, require_finite
from priors.gauge.space import Space, SpaceName, fit_space
from priors.model.classifier_prior import ClassifierPrior
from priors.model.final_layer import read_final_layer
from priors.vmf.directions import versines
from priors.zoo import Classifier

Moments = TypeVar("Moments", ActivationMoments, DirectionMoments)


@dataclass(frozen=True)
class Passed:
    """What a pass found; on the CPU, the same on all processes.

    Attributes:
        activations: counts, means and the scatter within classes, where they were asked for.
        directions: where activations point and how long they are, in each space that was asked for.
        versine: 1 - cos of each activation with its class's direction of a prior, where that was asked for; NaN for one
            without a direction.
        labels: the images' classes.
    """

    activations: ActivationMoments | None
    directions: tuple[DirectionMoments, ...]
    versine: Float[Tensor, " n"] | None
    labels: Int[Tensor, " n"]


def run_through(
    network: Classifier,
    images: ImageSet,
    accelerator: Accelerator | None,
    *,
    activations: bool = False,
    spaces: Sequence[Space] = (),
    prior: ClassifierPrior | None = None,
    description: str = "activations",
    prepare: Callable[[Tensor], Tensor] | None = None,
    batch_size: int = AT_A_TIME,
) -> Passed:
    """Run images through a network once, and keep sums by class and a number an image, never the activations.

    Args:
        network: moved to the accelerator's device.
        images: of the network's classes and shape.
        accelerator: of this process. None: one process, on the CPU.
        activations: whether moments of the activations are wanted.
        spaces: in which moments of their directions are.
        prior: of the network, from whose directions each activation is seen.
        description: what the progress bar says.
        prepare: as for `apps.models.activations.activations`.
        batch_size: images a batch.
    """
    device = device_of(accelerator)
    network, shape = network.to(device), read_final_layer(network)[0].shape
    whole = ActivationMoments.none(*shape, device) if activations else None
    parts = [DirectionMoments.none(*shape, device) for _ in spaces]
    there = [space.to(torch.float64, device) for space in spaces]
    own = None if prior is None else (prior.space.to(torch.float64, device), prior.unit_rows().to(device))

    def of(batch: Batch) -> dict[str, Tensor]:
        nonlocal whole, parts
        rows = network.penultimate(batch.images if prepare is None else prepare(batch.images)).double()
        if whole is not None:
            whole = whole.add(rows, batch.labels)
        parts = [part.add(space.bring(rows), batch.labels) for part, space in zip(parts, there, strict=True)]
        seen = {} if own is None else {"versine": versines(own[0].bring(rows), own[1][batch.labels])}
        return {"labels": batch.labels} | seen

    swept = sweep(images, of, batch_size=batch_size, accelerator=accelerator, description=description)
    return Passed(
        None if whole is None else _everywhere(whole, accelerator),
        tuple(_everywhere(part, accelerator) for part in parts),
        swept.get("versine"),
        swept["labels"],
    )


@dataclass(frozen=True)
class FirstPass:
    """What one pass over images tells of spaces of their activations; a second one sees the rest of them.

    Attributes:
        activations: their moments, where a space needs them.
        raw: moments of their directions in the raw space, where that is one of the spaces.
        rest: the other spaces, in which directions are still to be seen.
        without: reasons why others cannot be.
    """

    activations: ActivationMoments | None
    raw: DirectionMoments | None
    rest: tuple[Space, ...]
    without: tuple[str, ...]

    def seen(self, last: Passed | None) -> list[tuple[Space, DirectionMoments]]:
        """Each space with the moments of directions there, after a pass with `rest`; None where that is empty."""
        raw = [] if self.raw is None else [(Space(), self.raw)]
        return [*raw, *(zip(self.rest, last.directions, strict=True) if self.rest else ())]


def first_pass(
    through: Callable[..., Passed],
    names: Sequence[SpaceName],
    needed: SpaceName | None,
    class_names: Sequence[str],
    activations: bool = False,
) -> FirstPass:
    """Fit spaces by one pass over images, which also sees directions in the raw one.

    Args:
        through: `run_through` of a network's images.
        names: of spaces.
        needed: the one that there must be; None: any may be missing.
        class_names: for messages.
        activations: whether their moments are wanted, also where no space needs them.

    Raises:
        InputError: activations that are not finite, or the space that is needed cannot be.
    """
    raw = "raw" in names
    found = through(activations=activations or any(name != "raw" for name in names), spaces=[Space()] * raw)
    require_finite(found.activations or found.directions[0], class_names)
    spaces, without = fitted_spaces(names, needed, found.activations, class_names)
    rest = tuple(space for space in spaces if space.name != "raw")
    return FirstPass(found.activations, found.directions[0] if raw else None, rest, tuple(without))


def fitted_spaces(
    names: Sequence[SpaceName], needed: SpaceName | None, moments: ActivationMoments | None, class_names: Sequence[str]
) -> tuple[list[Space], list[str]]:
    """The spaces of those names, and the reasons why others cannot be.

    Args:
        names: of spaces.
        needed: the one that there must be.
        moments: of the activations; None where no space needs them.
        class_names: for messages.

    Raises:
        InputError: the space that is needed cannot be.
    """
    spaces, without = [], []
    for name in names:
        try:
            spaces.append(fit_space(name, moments, class_names))
        except InputError as error:
            if name == needed:
                raise
            without.append(str(error))
    return spaces, without


def held_spaces(
    names: Sequence[SpaceName],
    needed: SpaceName | None,
    activations: Float[Tensor, "n m"],
    labels: Int[Tensor, " n"],
    class_names: Sequence[str],
) -> tuple[list[tuple[Space, DirectionMoments]], list[str]]:
    """As `fitted_spaces`, of activations that are held: each space with the moments of their directions there.

    Args:
        names: of spaces.
        needed: the one that there must be.
        activations: on the CPU.
        labels: their classes.
        class_names: of all classes.

    Raises:
        InputError: the space that is needed cannot be.
    """
    rows, size = activations.double(), (len(class_names), activations.shape[1])
    some = any(name != "raw" for name in names)
    whole = ActivationMoments.none(*size).add(rows, labels) if some else None
    spaces, without = fitted_spaces(names, needed, whole, class_names)
    return [(space, DirectionMoments.none(*size).add(space.bring(rows), labels)) for space in spaces], without


def _everywhere(own: Moments, accelerator: Accelerator | None) -> Moments:
    """The moments of all processes' shares, brought together in the order of the processes."""
    parts = [getattr(own, field.name)[None] for field in fields(own)]
    if accelerator is not None:
        parts = [accelerator.gather(part) for part in parts]
    # Copies, since what was made in inference mode could not be changed in place.
    return merged([type(own)(*(part.cpu().clone() for part in one)) for one in zip(*parts, strict=True)])
