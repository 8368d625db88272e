"""What is measured of a layer's features before and after: on the same images, and by the same noise."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from accelerate import Accelerator
from jaxtyping import Float
from torch import Tensor

from analysis.discarding.decoder import folded_decoder
from analysis.discarding.rescaling import filter_count, halved_network, require_same_output, rescaled_network
from apps.command.pictures import PictureObjects
from apps.data.batches import Batch, ordered
from apps.data.image_set import ImageSet
from apps.data.sweep import fewer_if_large, sweep
from apps.discarding.coherency.features import Handed
from apps.discarding.coherency.maps import gap, maps_of
from apps.discarding.coherency.settings import CoherencySettings
from apps.discarding.decoders import trained_decoder
from apps.discarding.measuring import Entropies, Measured, Measuring, whole_maps
from apps.discarding.networks import Looked
from apps.discarding.shown import Shown
from apps.runs.run import Run
from apps.training.train import slug
from priors.errors import InputError
from priors.files.tensors import digest_of
from priors.zoo import Classifier

_MOST = 16
"""Images a batch."""
NAMES = {"gradient": "gradient", "cam": "CAM", "grad-cam": "Grad-CAM"}
"""By baseline, what its maps are called."""


@dataclass(frozen=True)
class Compared:
    """A measure before and after.

    Attributes:
        measure: what it is called, in tables and scores.
        unit: "nats", of entropies; "relative", of other maps, whose change is a part of the largest value.
        before: of each image, nats a value of it, or the root of the sum of squares over the map; (n,).
        after: likewise.
        maps: before and after, by pixel or by place; (n, h, w).
        change: the largest over images and places; infinite where an image could be measured once only.
        asked: "same" where the change is to be within the tolerance, "other" where it is to be beyond; "" where it is
            only told.
        tolerance: in the unit.
        capped: part of the cells that are at the cap, before and after, mean over images; None of other maps.
        failed: how many images could not be measured, before and after, likewise.
    """

    measure: str
    unit: str
    before: Float[Tensor, " n"]
    after: Float[Tensor, " n"]
    maps: tuple[Float[Tensor, "n h w"], Float[Tensor, "n h w"]] | None
    change: float
    asked: str
    tolerance: float
    capped: tuple[float, float] | None = None
    failed: tuple[int, int] | None = None

    @property
    def same(self) -> bool:
        """Whether it has not changed beyond the tolerance."""
        return self.change <= self.tolerance

    @property
    def held(self) -> bool:
        """Whether it is as it is asked to be; what is only told always is."""
        return {"same": self.same, "other": not self.same, "": True}[self.asked]


@dataclass(frozen=True)
class Comparison:
    """All measures of the features that a layer hands on.

    Attributes:
        handed: the features.
        measures: in order.
        gaps: by measure, why it is not there.
    """

    handed: Handed
    measures: tuple[Compared, ...]
    gaps: Mapping[str, str]


@dataclass(frozen=True)
class Comparing:
    """What comparisons share.

    Attributes:
        config: what was asked for.
        shown: the images.
        looked: the network, on the accelerator's device, and its features by name.
        store: folder in which finished parts are kept.
        accelerator: of this process.
    """

    config: CoherencySettings
    shown: Shown
    looked: Looked
    store: Path
    accelerator: Accelerator

    def of(self, handed: Handed, decoder: Run | None, again: Run | None) -> Comparison:
        """Compare all measures of a layer's features.

        Args:
            handed: the features.
            decoder: the run of their decoder, where reconstructions are measured.
            again: the run of the one of the smaller features, where one was trained.

        Raises:
            InputError: features that no image moves, or a network that gives something else than before.
        """
        found, name = [], handed.name
        revised = revised_look(self.config, self.looked, handed, first_images(self.shown.images, self.accelerator))
        self._check_outputs(revised, handed)
        measuring = self._measuring(self.config, "whole")
        decoded = None if decoder is None else trained_decoder(decoder)
        folded = None if decoded is None else folded_decoder(decoded, 1 / self.config.factor)
        before, after = measuring.of(self.looked, name, decoded), measuring.of(revised, name, folded)
        found += self._of_entropies(before, after)
        if again is not None:
            ru = self._measuring(self._only("ru"), "retrained")
            found.append(self._compared("RU retrained", before.ru, ru.of(revised, name, again).ru, ""))
        if "sid" in self.config.measured and self.config.noise.method == "solve":
            linear = self._linear()
            pair = [linear.of(one, name, None).sid for one in (self.looked, revised)]
            found.insert(1, self._compared("SID linear", *pair, "same"))
        if self.config.halved != "none":
            halved = halved_look(self.config, self.looked, handed, first_images(self.shown.images, self.accelerator))
            own = self._measuring(self._only("sid"), "halved")
            sid = before.sid or own.of(self.looked, name, None).sid
            found.append(self._compared("SID halved", sid, own.of(halved, name, None).sid, "other"))
        maps, gaps = self._maps(handed, revised)
        return Comparison(handed, (*found, *maps), gaps)

    def _measuring(self, config: CoherencySettings, store: str) -> Measuring:
        return Measuring(config, self.shown.images, self.shown.objects, self.store / store, self.accelerator)

    def _linear(self) -> Measuring:
        noise = replace(self.config.noise, method="linear", sid_check=min(16, self.config.noise.sid_check))
        return self._measuring(replace(self._only("sid"), noise=noise), "linear")

    def _only(self, metric: str) -> CoherencySettings:
        """The same of one metric, which takes no objects."""
        return replace(self.config, metrics=(metric,), objects=PictureObjects(), retrained=False)

    def _check_outputs(self, revised: Looked, handed: Handed) -> None:
        """Make sure that all images give what they gave."""
        how = f"{handed.pair.first} and {handed.pair.second} rescaled by {self.config.factor:g}"

        def of(batch: Batch) -> dict[str, Tensor]:
            require_same_output(self.looked.network, revised.network, batch.images, how)
            return {"index": batch.index}

        images = self.shown.images
        size = max(1, min(_MOST, fewer_if_large(images)))
        sweep(images, of, batch_size=size, accelerator=self.accelerator, description=f"output of {handed.name}")

    def _of_entropies(self, before: Measured, after: Measured) -> list[Compared]:
        found = []
        if before.sid is not None:
            found.append(self._compared("SID", before.sid, after.sid, "same"))
        if before.ru is not None:
            found.append(self._compared("RU", before.ru, after.ru, "same"))
        if before.concentration is not None:
            change = _largest((after.concentration - before.concentration).abs(), before.concentration.isnan())
            tolerance = self.config.tolerance
            both = before.concentration, after.concentration
            found.append(Compared("concentration", "nats", *both, None, change, "", tolerance))
        return found

    def _compared(self, measure: str, before: Entropies, after: Entropies, asked: str) -> Compared:
        change = (after.maps - before.maps).abs().flatten(1).amax(1)
        shape = self.shown.images.image_shape
        return Compared(
            measure,
            "nats",
            before.mean,
            after.mean,
            (whole_maps(before.maps, shape), whole_maps(after.maps, shape)),
            _largest(change, before.failed & after.failed),
            asked,
            self.config.tolerance,
            capped=tuple(float(one.capped[~one.failed].mean()) for one in (before, after)),
            failed=tuple(int(one.failed.sum()) for one in (before, after)),
        )

    def _maps(self, handed: Handed, revised: Looked) -> tuple[list[Compared], dict[str, str]]:
        """The baselines, and why there is none."""
        network, images = self.looked.network, self.shown.images
        some = first_images(images, self.accelerator)
        gaps = {NAMES[name]: gap(name, handed, network, some) for name in self.config.baselines}
        gaps = {name: why for name, why in gaps.items() if why is not None}
        drawn = {name: maps_of(name, handed) for name in self.config.baselines if NAMES[name] not in gaps}
        if not drawn:
            return [], gaps

        def of(batch: Batch) -> dict[str, Tensor]:
            with torch.no_grad():
                target = network(batch.images).argmax(1)
            return {
                f"{name} {when}": maps(own, batch.images, target).detach()
                for name, maps in drawn.items()
                for when, own in (("before", network), ("after", revised.network))
            }

        rows = sweep(
            images,
            of,
            batch_size=max(1, min(_MOST, fewer_if_large(images))),
            accelerator=self.accelerator,
            description=f"maps of {handed.name}",
            store=self.store / slug(f"maps-{handed.name}"),
            key={
                "site": handed.site,
                "drawn": list(drawn),
                "networks": [digest_of(one.state_dict()) for one in (network, revised.network)],
            },
            gradients=True,
        )
        return [self._of_maps(name, rows[f"{name} before"], rows[f"{name} after"]) for name in drawn], gaps

    def _of_maps(self, name: str, before: Tensor, after: Tensor) -> Compared:
        most = before.abs().flatten(1).amax(1)
        change = (after - before).abs().flatten(1).amax(1)
        part = torch.where(change > 0, change / most, change)
        sizes = (one.double().flatten(1).square().sum(1).sqrt() for one in (before, after))
        nothing = torch.zeros(len(part), dtype=torch.bool)
        tolerance = self.config.tolerance
        return Compared(NAMES[name], "relative", *sizes, (before, after), _largest(part, nothing), "", tolerance)


def revised_look(config: CoherencySettings, looked: Looked, handed: Handed, images: Tensor) -> Looked:
    """The network with the scale moved, and the same features of it.

    Raises:
        InputError: it gives something else for the images than before.
    """
    network = rescaled_network(looked.network, handed.pair, images, factor=config.factor)
    return _look(looked, network, handed, f"rescaled-{config.factor:g}")


def halved_look(config: CoherencySettings, looked: Looked, handed: Handed, images: Tensor) -> Looked:
    """The network with half of the layer's filters halved, and the same features of it.

    Raises:
        InputError: a layer of a single filter; or, where the next layer is doubled for it, an output that is another.
    """
    filters = filter_count(looked.network, handed.pair)
    first = 1 if config.halved == "odd" else 0
    if filters < 2:
        raise InputError(f"{handed.pair.first} has one filter, no half of which can be halved: give --halved none")
    numbers = range(first, filters, 2)
    network = halved_network(looked.network, handed.pair, images, filters=numbers, compensated=config.compensated)
    return _look(looked, network, handed, f"halved-{config.halved}")


def _look(looked: Looked, network: Classifier, handed: Handed, how: str) -> Looked:
    layers = {handed.name: replace(looked.layers[handed.name], network=network, open=[])}
    return replace(looked, network=network, layers=layers, runs=f"{looked.runs}-{how}")


def first_images(images: ImageSet, accelerator: Accelerator) -> Float[Tensor, "batch channels height width"]:
    """Some images, in [0, 1], on the accelerator's device."""
    some = images.subset(range(min(_MOST, len(images))))
    return next(ordered(some, len(some), device=accelerator.device)).images


def _largest(change: Tensor, missing: Tensor) -> float:
    """The largest change of those that there are; infinite where one of two is missing alone."""
    change = change.double().nan_to_num(math.inf).masked_fill(missing, 0.0)
    return float(change.max()) if len(change) else math.nan
