"""The pass over the images: each map's pixels go, a part after the other, and the network's output is read."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from accelerate import Accelerator
from jaxtyping import Bool, Float, Int, Int64
from torch import Tensor, nn

from analysis.jacobians.controls import normal_draws
from analysis.jacobians.curves import fractional_change
from analysis.jacobians.imputation import imputed
from analysis.jacobians.perturbation import filled, removal_mask, salience_ranks
from apps.data.batches import Batch
from apps.data.image_set import ImageSet, channel_statistics
from apps.data.sweep import fewer_if_large, sweep
from apps.jacobians.drawing import Drawing
from apps.jacobians.perturbation.settings import Perturbing
from apps.jacobians.subject import Subject
from apps.seeds import derive

Remove = Callable[
    [Float[Tensor, "batch channels height width"], Int64[Tensor, " batch"], Bool[Tensor, "batch height width"]],
    Float[Tensor, "batch channels height width"],
]
"""From images, their positions in the set, and the pixels that go, to images without these."""


@dataclass(frozen=True)
class Measured:
    """What a pass found; the same on all processes.

    Attributes:
        values: by map: what is measured of each image at each fraction, (images, fractions).
        accuracy: of the network on whole images; NaN where they are not of its classes.
        same: part of all pixels that are of the colour that removed ones get; 0 where that hangs on the image.
    """

    values: Mapping[str, Float[Tensor, "images fractions"]]
    accuracy: float
    same: float


def measure(
    config: Perturbing,
    images: ImageSet,
    network: nn.Module,
    drawing: Drawing,
    accelerator: Accelerator,
    known: bool,
) -> Measured:
    """Take pixels out of images by each map, and read what the network makes of them.

    Args:
        config: what goes, and what is measured.
        images: at least one.
        network: moved to the accelerator's device.
        drawing: the maps.
        accelerator: of this process.
        known: whether the images are of the network's classes.

    Raises:
        InputError: maps or outputs that are not finite, or a network that a method cannot explain.
    """
    network = network.to(accelerator.device)
    remove = removing(config, images)

    def of(batch: Batch) -> dict[str, Tensor]:
        with torch.no_grad():
            target = network(batch.images).argmax(1)
            subject = drawing.subject(network, batch.images, target)
            read = _reader(config, subject, batch.labels)
        right = (target == batch.labels).double()
        found = {"right": right, "same": torch.zeros_like(right)}
        if config.benchmark != "road":
            gone = torch.ones_like(batch.images[:, 0], dtype=torch.bool)
            there = remove(batch.images, batch.index, gone) == batch.images
            found["same"] = there.all(1).double().mean((1, 2))
        for name, maps in drawing.draw(subject, batch.index, images.split):
            with torch.no_grad():
                ranks = salience_ranks(maps)
                columns = [
                    read(remove(batch.images, batch.index, mask))
                    for mask in (removal_mask(ranks, part, config.order) for part in config.parts)
                ]
            found[name] = torch.stack(columns, 1)
        return found

    swept = sweep(
        images,
        of,
        batch_size=fewer_if_large(images),
        accelerator=accelerator,
        description=f"maps of {images.name}",
        gradients=True,
    )
    right, same = (float(swept[name].mean()) for name in ("right", "same"))
    values = {name: swept[name] for name in drawing.names}
    return Measured(values, right if known else float("nan"), same)


def removing(config: Perturbing, images: ImageSet) -> Remove:
    """How pixels go."""
    if config.benchmark != "road":
        colour = torch.tensor(channel_statistics(images)[0]) if config.filled == "mean" else 0.0
        return lambda given, index, mask: filled(given, mask, colour)
    seed = derive(config.seed, "noise of imputed pixels")

    def impute(given: Tensor, index: Tensor, mask: Tensor) -> Tensor:
        return imputed(given, mask, config.imputed_noise * normal_draws(seed, index, *given.shape[1:]))

    return impute


def _reader(
    config: Perturbing, subject: Subject, labels: Int[Tensor, " batch"]
) -> Callable[[Tensor], Float[Tensor, " batch"]]:
    """What is measured of each image without some of its pixels, in double precision.

    Args:
        config: of the command.
        subject: the whole images, and what is explained of them.
        labels: of the images.
    """
    network, target = subject.network, subject.target
    if config.measured == "accuracy":
        return lambda images: (network(images).argmax(1) == labels).double()
    if config.measured == "softmax":

        def output(images: Tensor) -> Tensor:
            return network(images).double().softmax(1).gather(1, target[:, None])[:, 0]
    else:
        explained = subject.explained()

        def output(images: Tensor) -> Tensor:
            return explained(images, target).double()

    before = output(subject.images)
    if config.in_nats:
        return lambda images: _signed(output(images) - before, config.signed)
    return lambda images: fractional_change(before, output(images), signed=config.signed)


def _signed(change: Tensor, signed: bool) -> Tensor:
    return change if signed else change.abs()
