"""One pass over images, by one process or many, that keeps sums of their spectra and of those of a network's maps."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from accelerate import Accelerator
from torch import Tensor
from torch.nn.functional import avg_pool2d

from analysis.spectra.convention import SPECTRUM_CONVENTIONS, SpectrumConvention
from analysis.spectra.frequencies import SMALLEST
from analysis.spectra.likelihood import has_likelihood
from analysis.spectra.moments import SpectrumMoments
from apps.data.batches import Batch
from apps.data.image_set import ImageSet
from apps.data.sweep import fewer_if_large, sweep
from apps.spectra.sites import MapSite
from priors.reading.taps import tap
from priors.zoo import Classifier
from priors.zoo.network import same_classes

IMAGES = "images"
"""What the images themselves are called beside a network's layers."""
RIGHT, WRONG = "right", "wrong"
"""Groups of images by how they are classified."""
CLASS = "class "
"""What the name of a group by class begins with."""


@dataclass(frozen=True)
class Key:
    """Of which maps sums are.

    Attributes:
        of: a layer's name, or `IMAGES`.
        pooled: whether after 2x2 average pooling.
        group: of images: nothing for all, `RIGHT`, `WRONG`, or a class's name after `CLASS`.
    """

    of: str
    pooled: bool = False
    group: str = ""


@dataclass(frozen=True)
class Sums:
    """Of one key's maps.

    Attributes:
        own: by the convention that was asked for.
        likely: by one whose powers have a likelihood; the same where that one's do.
    """

    own: SpectrumMoments
    likely: SpectrumMoments

    @classmethod
    def none(cls, shape: tuple[int, int], convention: SpectrumConvention, device: torch.device) -> "Sums":
        """Those of no images."""
        whole = SpectrumMoments.none(shape, convention, device)
        likely = for_likelihood(convention)
        return cls(whole, whole if likely is convention else SpectrumMoments.none(shape, likely, device))

    def add(self, maps: Tensor) -> "Sums":
        """These and a batch more."""
        own = self.own.add(maps)
        return Sums(own, own if self.likely is self.own else self.likely.add(maps))


@dataclass(frozen=True)
class Passed:
    """What a pass found; the same on all processes.

    Attributes:
        sums: by what they are of; groups without an image are left out.
        accuracy: of the network, in [0, 1]; None without one, or where the images are not of its classes.
    """

    sums: Mapping[Key, Sums]
    accuracy: float | None


def for_likelihood(convention: SpectrumConvention) -> SpectrumConvention:
    """A convention of powers: this one, or else "power", whatever this one averages or pads."""
    return convention if has_likelihood(convention) else SPECTRUM_CONVENTIONS["power"]


def measure(
    images: ImageSet,
    network: Classifier | None,
    sites: Sequence[MapSite],
    convention: SpectrumConvention,
    accelerator: Accelerator,
    *,
    with_images: bool = True,
    pooled: bool = True,
    by: Sequence[str] = (),
    description: str = "spectra",
) -> Passed:
    """Run images through a network once, and keep sums.

    Args:
        images: at least one.
        network: moved to the accelerator's device; None: the images alone.
        sites: its layers.
        convention: of the spectra; channels of activations are never made grey.
        accelerator: of this process.
        with_images: whether the images are measured as well, which they need be once.
        pooled: whether maps are pooled as well, where that leaves enough of them.
        by: splits of the images, "correct" and "class".
        description: what the progress bar says.
    """
    device = accelerator.device
    network = None if network is None else network.to(device)
    known = network is not None and same_classes(network.class_names, images.class_names)
    splits = _splits(images, [one for one in by if known or one == "class"])
    of_maps = replace(convention, channels="mean")
    kinds = {IMAGES: (images.image_shape[1:], convention)} if with_images else {}
    kinds |= {site.name: (site.shape, of_maps) for site in sites}
    sums = {
        Key(name, halved, group): Sums.none(_half(size) if halved else size, kind, device)
        for name, (size, kind) in kinds.items()
        for halved in (False, True)
        for group in ("", *splits)
        if not halved or (pooled and not group and min(_half(size)) >= SMALLEST)
    }

    def of(batch: Batch) -> dict[str, Tensor]:
        maps = {IMAGES: batch.images} if with_images else {}
        right = torch.zeros_like(batch.labels, dtype=torch.bool)
        if network is not None:
            with tap(network, [site.tap for site in sites], copy=True) as taps:
                logits = network(batch.images)
            maps |= {site.name: site.maps(taps) for site in sites}
            right = logits.argmax(1) == batch.labels if known else right
        for group, rows in _groups(splits, batch.labels, right):
            for name, found in maps.items():
                _add(sums, Key(name, False, group), found if rows is None else found[rows])
                if not group and Key(name, True) in sums:
                    _add(sums, Key(name, True), avg_pool2d(found, 2))
        return {"right": right}

    swept = sweep(images, of, batch_size=fewer_if_large(images), accelerator=accelerator, description=description)
    everywhere = {key: _everywhere(one, accelerator) for key, one in sums.items()}
    accuracy = float(swept["right"].double().mean()) if known else None
    return Passed({key: one for key, one in everywhere.items() if one.own.images}, accuracy)


def _half(size: tuple[int, int]) -> tuple[int, int]:
    return size[0] // 2, size[1] // 2


def _splits(images: ImageSet, by: Sequence[str]) -> list[str]:
    """The groups that the images are split into."""
    return [
        *((RIGHT, WRONG) if "correct" in by else ()),
        *((f"{CLASS}{name}" for name in images.class_names) if "class" in by else ()),
    ]


def _groups(splits: Sequence[str], labels: Tensor, right: Tensor) -> Iterator[tuple[str, Tensor | None]]:
    """Rows of a batch by group, all of them first; groups without any are passed over.

    How many there are of each is asked of the device once a batch, and only where images are split.
    """
    yield "", None
    classes = [name for name in splits if name not in (RIGHT, WRONG)]
    kinds = [((RIGHT, WRONG), (~right).long())] if RIGHT in splits else []
    for names, key in [*kinds, *([(classes, labels)] if classes else [])]:
        rows = key.argsort(stable=True).split(torch.bincount(key, minlength=len(names)).tolist())
        yield from ((name, own) for name, own in zip(names, rows, strict=True) if len(own))


def _add(sums: dict[Key, Sums], key: Key, maps: Tensor) -> None:
    sums[key] = sums[key].add(maps)


def _everywhere(own: Sums, accelerator: Accelerator) -> Sums:
    """The sums of all processes' shares, in the order of the processes, on the CPU."""
    whole = _gathered(own.own, accelerator)
    return Sums(whole, whole if own.likely is own.own else _gathered(own.likely, accelerator))


def _gathered(own: SpectrumMoments, accelerator: Accelerator) -> SpectrumMoments:
    counts = torch.tensor([own.images, own.channels], device=own.power.device)
    parts = [accelerator.gather(part[None]).cpu().clone() for part in (counts, own.power, own.total, own.square)]
    whole = SpectrumMoments.none(own.shape, own.convention)
    for (images, channels), power, total, square in zip(parts[0].tolist(), *parts[1:], strict=True):
        sums = {"power": power, "total": total, "square": square}
        whole = whole.merge(replace(whole, images=images, channels=channels, **sums))
    return whole
