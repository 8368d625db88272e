"""Policies of torchvision v2 on a whole batch, on its device: AutoAugment, RandAugment, TrivialAugmentWide."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache

import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor

from apps.data.augment import Augmentation
from apps.data.pixels import unit
from apps.data.resized_crop import DRAWS, NUMBERS, ResizedCrop, uniform

_SEEDS = 2**53
"""What a view's numbers in [0, 1) tell apart."""

Told = list[tuple[str, float]]
"""What is done to an image, in turn: torchvision's name of it, and how strongly."""


@dataclass(frozen=True)
class Policy:
    """Moves of an image, rounded to 8 bits, and then what a policy of torchvision v2 draws for it.

    What happens to an image is one number, its view, below 2^62: of it the moves are made, and the seed of what
    torchvision draws, so that a training that is resumed, and each of several processes, does the same to it. Those
    draws are made image by image; what is the same for several images of a batch is then done to them at once, on their
    device.

    Attributes:
        moves: that come before it.
        name: one of `apps.data.augment_words.POLICIES`.
    """

    moves: Augmentation | ResizedCrop
    name: str

    def draw(self, count: int, generator: torch.Generator) -> Int64[Tensor, " count"]:
        """`count` views, uniformly at random, on the generator's device."""
        return torch.randint(NUMBERS, (count,), generator=generator, device=generator.device)

    def moved(self, view: Int64[Tensor, " batch"]) -> Int64[Tensor, " batch"]:
        """Each view's number among those of the moves."""
        if isinstance(self.moves, ResizedCrop):
            return view
        return (uniform(view, 1, start=DRAWS)[:, 0] * self.moves.views).long()

    def box(self, view: int, height: int, width: int) -> tuple[int, int, int, int]:
        """The part of one view, as for `ResizedCrop.box`, of which alone it is asked."""
        return self.moves.box(view, height, width)

    def apply(
        self,
        images: UInt8[Tensor, "batch channels height width"] | Float[Tensor, "batch channels height width"],
        view: Int64[Tensor, " batch"],
        on_cpu: Int64[Tensor, " batch"] | None = None,
    ) -> Float[Tensor, "batch channels height width"]:
        """The given view of each image, as float32 in [0, 1].

        Args:
            images: on any device.
            view: there.
            on_cpu: the same in the CPU's memory, where the device is not to be waited for.
        """
        return self._then(self.moves.apply(images, self.moved(view)), view if on_cpu is None else on_cpu)

    def mirror(
        self,
        images: UInt8[Tensor, "batch channels height width"] | Float[Tensor, "batch channels height width"],
        view: Int64[Tensor, " batch"],
        on_cpu: Int64[Tensor, " batch"] | None = None,
    ) -> Float[Tensor, "batch channels height width"]:
        """What is left to do to images that were cut out and resized as they were decoded."""
        return self._then(self.moves.mirror(images, view), view if on_cpu is None else on_cpu)

    def _then(self, images: Tensor, view: Tensor) -> Tensor:
        levels = images.mul(255).round_().clamp_(0, 255).to(torch.uint8)
        seeds = (uniform(view.cpu(), 1, start=DRAWS + 1)[:, 0] * _SEEDS).long().tolist()
        return unit(acted(levels, told(self.name, seeds, tuple(levels.shape[1:])), self.name))


def told(name: str, seeds: list[int], image_shape: tuple[int, int, int]) -> list[Told]:
    """What a policy draws for an image of a shape by each of some seeds; torchvision itself draws it."""
    recording, _ = _transforms(name)
    blank = torch.empty(image_shape, dtype=torch.uint8)
    found = []
    with _kept_state():
        for seed in seeds:
            torch.default_generator.manual_seed(seed)
            recording.told = []
            recording(blank)
            found.append(recording.told)
    return found


def acted(
    images: UInt8[Tensor, "batch channels height width"], done: list[Told], name: str
) -> UInt8[Tensor, "batch channels height width"]:
    """Images after what was drawn for each, on their device; those that get the same at a turn are done at once."""
    _, transform = _transforms(name)
    for turn in range(max(map(len, done), default=0)):
        groups: dict[tuple[str, float], list[int]] = {}
        for number, one in enumerate(done):
            groups.setdefault(one[turn] if turn < len(one) else ("Identity", 0.0), []).append(number)
        order = torch.tensor([number for numbers in groups.values() for number in numbers])
        if len(groups) > 1:
            images = images.index_select(0, order.to(images.device, non_blocking=True))
        parts, start = [], 0
        for (action, magnitude), numbers in groups.items():
            part = images[start : start + len(numbers)]
            start += len(numbers)
            parts.append(
                transform._apply_image_or_video_transform(
                    part, action, magnitude, interpolation=transform.interpolation, fill=transform._fill
                )
            )
        if len(groups) > 1:
            images = torch.cat(parts).index_select(0, order.argsort().to(images.device, non_blocking=True))
        else:
            images = parts[0]
    return images


@lru_cache
def _transforms(name: str) -> tuple[torch.nn.Module, torch.nn.Module]:
    """Torchvision's transform twice: one that says what it would do and does nothing, and one that does it."""
    from torchvision.transforms import v2

    kinds = {"randaugment": v2.RandAugment, "trivial": v2.TrivialAugmentWide}
    kind, settings = kinds.get(name, v2.AutoAugment), {}
    if name not in kinds:
        found = name.partition("-")[2].upper() or "IMAGENET"
        settings = {"policy": v2.AutoAugmentPolicy[found]}

    class Recording(kind):
        told: Told = []

        def _apply_image_or_video_transform(self, image, transform_id, magnitude, interpolation, fill):
            self.told.append((transform_id, magnitude))
            return image

    return Recording(**settings), kind(**settings)


@contextmanager
def _kept_state() -> Iterator[None]:
    """Leave torch's generator on the CPU, of which torchvision draws, as it was; a GPU's is not touched."""
    state = torch.get_rng_state()
    try:
        yield
    finally:
        torch.set_rng_state(state)
