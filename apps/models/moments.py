"""How a classifier's activations on a data set spread: their moments by class, by one process or many."""

from collections.abc import Callable, Sequence
from dataclasses import fields
from typing import TypeVar

import torch
from accelerate import Accelerator
from torch import Tensor

from apps.data.batches import Batch
from apps.data.fold import fold
from apps.data.image_set import ImageSet
from apps.data.sweep import sweep
from apps.models.activations import device_of
from priors.gauge.moments import ActivationMoments, DirectionMoments, merged
from priors.gauge.space import Space, SpaceName, fit_space
from priors.model.classifier_prior import ClassifierPrior
from priors.model.final_layer import read_final_layer
from priors.vmf.directions import Directions, directions_of, versines
from priors.zoo import Classifier

Moments = TypeVar("Moments", ActivationMoments, DirectionMoments)


def activation_moments(
    network: Classifier, images: ImageSet, accelerator: Accelerator | None, description: str = "activations"
) -> ActivationMoments:
    """Counts, means and the scatter within classes of penultimate activations, in one pass; on the CPU.

    Args:
        network: moved to the accelerator's device.
        images: of the network's classes and shape.
        accelerator: of this process; all get the same. None: one process, on the CPU.
        description: what the progress bar says.
    """
    (found,) = _moments(network, images, accelerator, [ActivationMoments], lambda rows: [rows], description)
    return found


def direction_moments(
    network: Classifier,
    images: ImageSet,
    space: Space,
    accelerator: Accelerator | None,
    description: str = "directions",
) -> DirectionMoments:
    """Where penultimate activations point in a space, and how long they are there, in one pass; on the CPU.

    Args:
        network: moved to the accelerator's device.
        images: of the network's classes and shape.
        space: of the directions.
        accelerator: of this process; all get the same. None: one process, on the CPU.
        description: what the progress bar says.
    """
    (found,) = directions_in([space], network, images, accelerator, description)
    return found


def directions_in(
    spaces: Sequence[Space],
    network: Classifier,
    images: ImageSet,
    accelerator: Accelerator | None,
    description: str = "directions",
) -> tuple[DirectionMoments, ...]:
    """As `direction_moments`, in several spaces by the same pass."""
    there = [space.to(torch.float64, device_of(accelerator)) for space in spaces]

    def brought(activations: Tensor) -> list[Tensor]:
        return [space.bring(activations.double()) for space in there]

    return _moments(network, images, accelerator, [DirectionMoments] * len(spaces), brought, description)


def measured_space(name: SpaceName, network: Classifier, images: ImageSet, accelerator: Accelerator | None) -> Space:
    """The space of a name, for a network's activations on a set; the raw one takes no pass.

    Raises:
        InputError: activations that are not finite, or that do not differ within any class, for a whitened space.
    """
    if name == "raw":
        return Space()
    moments = activation_moments(network, images, accelerator, f"{name} space")
    return fit_space(name, moments, network.class_names)


def seen_from(
    prior: ClassifierPrior,
    moments: DirectionMoments,
    network: Classifier,
    images: ImageSet,
    accelerator: Accelerator | None,
) -> Directions:
    """How far from its class's direction each penultimate activation points: one number an image; on the CPU.

    Args:
        prior: of the network, whose space they are brought to.
        moments: of them in that space.
        network: moved to the accelerator's device.
        images: of the network's classes and shape.
        accelerator: of this process; all get the same. None: one process, on the CPU.
    """
    network = network.to(device_of(accelerator))
    space = prior.space.to(torch.float64, device_of(accelerator))
    loc = prior.unit_rows().to(device_of(accelerator))

    def of(batch: Batch) -> dict[str, Tensor]:
        there = space.bring(network.penultimate(batch.images).double())
        return {"versine": versines(there, loc[batch.labels]), "labels": batch.labels}

    swept = sweep(images, of, accelerator=accelerator, description="directions")
    return directions_of(swept["versine"], swept["labels"], moments.total.norm(dim=1) / moments.count)


def _moments(
    network: Classifier,
    images: ImageSet,
    accelerator: Accelerator | None,
    kinds: Sequence[type[Moments]],
    brought: Callable[[Tensor], list[Tensor]],
    description: str,
) -> tuple[Moments, ...]:
    """Moments of each kind, each of its own view of the activations."""
    network = network.to(device_of(accelerator))

    def step(several: list[Moments], batch: Batch) -> list[Moments]:
        views = brought(network.penultimate(batch.images))
        return [one.add(view, batch.labels) for one, view in zip(several, views, strict=True)]

    weight = read_final_layer(network)[0]
    none = [kind.none(*weight.shape, device_of(accelerator)) for kind in kinds]
    own = fold(images, none, step, accelerator=accelerator, description=description)
    return tuple(_everywhere(one, accelerator) for one in own)


def _everywhere(own: Moments, accelerator: Accelerator | None) -> Moments:
    """The moments of all processes' shares, brought together in the order of the processes."""
    if accelerator is None or accelerator.num_processes == 1:
        return type(own)(*(getattr(own, field.name).cpu() for field in fields(own)))
    parts = [accelerator.gather(getattr(own, field.name)[None]).cpu() for field in fields(own)]
    return merged([type(own)(*one) for one in zip(*parts, strict=True)])
