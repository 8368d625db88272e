"""What a concentration can be chosen for: kinds of models that are trained on a classifier's prior, a task each.

A method has its tasks in a module `downstream` of its own room, as `TASKS`; they are found by that name. Nothing here
imports torch.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from apps.command.config import Foreign, Gauge, Place
from apps.models.rooms import offered
from priors.errors import unknown


@dataclass(frozen=True)
class Request:
    """What a concentration is to be chosen for."""

    model: str
    """The classifier or saved prior, as on the command line."""
    dim: int
    """m, the dimension of its activations."""
    data: str
    """Images to train on."""
    image_size: int | None
    """What an image folder's pictures are brought to."""
    classes: str | None
    """Which of the images' classes to train on; None: all."""
    foreign: Foreign
    place: Place
    gauge: Gauge
    """Of the prior."""


@dataclass(frozen=True)
class DownstreamTask:
    """A kind of model that a concentration can be chosen for."""

    verb: str
    """What trains it on the command line; each option of it that does not go by the concentration may be given to the
    sweep."""
    settings: type
    """Dataclass of that verb's flags."""
    train: Callable[[Any], object]
    """What the verb calls with them."""
    own: Callable[[Request], dict[str, str]]
    """Options of the verb that the request decides, beside its data, its name and the concentration."""
    metric: str
    """What validation says of a run, by its name in the run's result, or the part of it before a bracket."""
    title: str
    """What that is, with its unit."""
    lacks: Callable[[Any], str | None]
    """What a training's settings lack for values to be compared, in words; None for nothing."""
    larger: bool = True
    """Whether more of it is better."""
    begins: tuple[str, ...] = ()
    """Words that the verb's command line begins with."""
    parsed: Callable[[], type] | None = None
    """What a command line that begins so is read into; None for `settings`."""


def downstream_tasks() -> Mapping[str, DownstreamTask]:
    """The tasks of all rooms, by the name that --for takes."""
    return {name: task for room in offered("downstream") for name, task in room.TASKS.items()}


def downstream_task(name: str) -> DownstreamTask:
    """The task of that name.

    Raises:
        InputError: there is none (the nearest is offered).
    """
    known = downstream_tasks()
    if name not in known:
        raise unknown("task to choose a concentration for (--for)", name, known)
    return known[name]
