"""What is measured of a layer: a pass over the images for each metric, which goes on where it was stopped."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from jaxtyping import Bool, Float
from torch import Tensor

from analysis.discarding.concentration import information_concentration
from analysis.discarding.decoder import TwoTrackDecoder
from analysis.discarding.grids import Grid, grid_of
from analysis.discarding.information import Discarded, discarded_information
from analysis.discarding.sensitivity import feature_spread
from analysis.discarding.uncertainty import ReconstructionUncertainty, reconstruction_uncertainty
from apps.data.batches import Batch
from apps.data.image_set import ImageSet
from apps.data.sweep import fewer_if_large, sweep
from apps.discarding.decoders import trained_decoder
from apps.discarding.layer import LayerFeatures
from apps.discarding.networks import Looked
from apps.discarding.settings import DiscardSettings
from apps.discarding.shown import Objects
from apps.models.representation import Representation
from apps.runs.run import Run
from apps.seeds import derive
from apps.training.train import slug
from priors.errors import InputError
from priors.files.tensors import digest_of


class DeadLayer(InputError):
    """No image moves a layer's features."""


_MOST = 16
"""Images a batch, which is what is lost at most where a pass is stopped."""


@dataclass(frozen=True)
class Spread:
    """delta_f^2 of a layer.

    Attributes:
        value: of each image; (n,).
        error: its standard error, of the draws; (n,).
        used: what noise is held to: one number for all images, or (n,).
    """

    value: Float[Tensor, " n"]
    error: Float[Tensor, " n"]
    used: float | Float[Tensor, " n"]


@dataclass(frozen=True)
class Entropies:
    """What a metric gives of each image; NaN where an image failed.

    Attributes:
        maps: entropies in nats, by cell or by value; (n, c, rows, columns).
        mean: nats a value of the image; (n,).
        error: of the mean, of the draws; (n,).
        achieved: E ||f' - f||^2 / (alpha delta_f^2); (n,).
        capped: part of the cells that are at the cap; (n,).
        failed: images that could not be measured; (n,).
    """

    maps: Float[Tensor, "n c rows columns"]
    mean: Float[Tensor, " n"]
    error: Float[Tensor, " n"]
    achieved: Float[Tensor, " n"]
    capped: Float[Tensor, " n"]
    failed: Bool[Tensor, " n"]


@dataclass(frozen=True)
class Measured:
    """What is found of a layer.

    Attributes:
        layer: its name.
        shape: of its features.
        spread: delta_f^2.
        sid: strict information discarding, where asked for or needed.
        ru: reconstruction uncertainty.
        concentration: nats a value by which the background is discarded more than the object; (n,), NaN where there is
            none.
    """

    layer: str
    shape: tuple[int, ...]
    spread: Spread
    sid: Entropies | None
    ru: Entropies | None
    concentration: Float[Tensor, " n"] | None


@dataclass(frozen=True)
class Measuring:
    """What passes share.

    Attributes:
        config: what was asked for.
        images: that are measured.
        objects: where in each the object is.
        store: folder in which finished parts are kept.
        accelerator: of this process.
    """

    config: DiscardSettings
    images: ImageSet
    objects: Objects | None
    store: Path
    accelerator: Accelerator

    def of(self, looked: Looked, layer: str, decoder: Run | TwoTrackDecoder | None) -> Measured:
        """Measure a layer of a network.

        Args:
            looked: the network, on the accelerator's device.
            layer: its name.
            decoder: its decoder or the run of it, where reconstructions are measured.

        Raises:
            DeadLayer: no image moves it.
            InputError: images that all fail.
        """
        representation = looked.layers[layer]
        one = _Layer(self, looked, layer, representation)
        spread = one.spread()
        wanted = self.config.measured
        sid = one.sid(spread) if {"sid", "concentration"} & set(wanted) else None
        ru = one.ru(spread, decoder) if "ru" in wanted else None
        found = None
        if "concentration" in wanted:
            found = _concentrations(sid, self.objects)
        return Measured(layer, representation.shape, spread, sid if "sid" in wanted else None, ru, found)


class _Layer:
    """Passes over the images by one layer of a network."""

    def __init__(self, measuring: Measuring, looked: Looked, layer: str, representation: Representation):
        self.measuring, self.looked, self.layer = measuring, looked, layer
        self.config, noise = measuring.config, measuring.config.noise
        self.features = LayerFeatures(representation)
        std = looked.network.std.flatten().tolist()
        self.noise = {
            "alpha": noise.alpha,
            "grid": noise.grid or None,
            "shared": noise.shared,
            "cap": noise.cap,
            "deviation": std if noise.unit == "normalised" else None,
            "probes": noise.probes,
            "seed": derive(self.config.optimisation.seed, "discarding") % 2**31,
        }
        self.key = {"network": digest_of(looked.network.state_dict()), "site": representation.site}

    def spread(self) -> Spread:
        """delta_f^2 of each image, and what is used of it."""
        noise = self.config.noise
        own = {"seed": self.noise["seed"], "deviation": self.noise["deviation"], "tau": noise.tau}
        own |= {"samples": noise.probes}

        def of(batch: Batch) -> dict[str, Tensor]:
            found = feature_spread(self.features, batch.images, index=batch.index, **own)
            return {"value": found.value, "error": found.error}

        rows = self._swept("spread", of, own)
        value, error = rows["value"], rows["error"]
        finite = value[value.isfinite()]
        if not len(finite):
            raise InputError(f"{self._said}: the features or slopes of all images are not finite")
        if not bool((finite > 0).any()):
            raise DeadLayer(
                f"{self._said}: no image moves its features, the layer is dead; leave it out of --taps, or look at the "
                "network"
            )
        if noise.delta == "image":  # what has none is moved by no noise, or cannot be measured: any number does
            return Spread(value, error, value.where(value.isfinite() & (value > 0), 1.0))
        return Spread(value, error, float(finite.mean()) if noise.delta == "dataset" else float(noise.delta))

    def sid(self, spread: Spread) -> Entropies:
        """Strict information discarding."""
        noise = self.config.noise
        own = self.noise | {"method": noise.method, "check": noise.sid_check}
        if noise.method == "solve":
            own |= {"steps": noise.sid_steps, "samples": noise.sid_samples}
        shape = grid_of(self.measuring.images.image_shape, own["grid"], own["shared"]).shape

        def of(images: Tensor, **given: Any) -> Discarded:
            return discarded_information(self.features, images, **given, **own)

        return self._entropies("sid", of, spread, shape, own)

    def ru(self, spread: Spread, decoder: Run | TwoTrackDecoder) -> Entropies:
        """Reconstruction uncertainty."""
        uncertainty = self.config.uncertainty
        own = self.noise | {
            "centre": uncertainty.centre,
            "variant": uncertainty.variant,
            "steps": uncertainty.ru_steps,
            "samples": uncertainty.ru_samples,
            "measured": uncertainty.ru_measured,
        }
        model = trained_decoder(decoder) if isinstance(decoder, Run) else decoder
        model = model.to(self.measuring.accelerator.device)

        def of(images: Tensor, **given: Any) -> ReconstructionUncertainty:
            return reconstruction_uncertainty(self.features, model, images, **given, **own)

        key = own | {"decoder": digest_of(model.state_dict())}
        return self._entropies("ru", of, spread, self.measuring.images.image_shape, key)

    @property
    def _said(self) -> str:
        return f"{self.layer} of {self.looked.model}"

    def _swept(self, metric: str, of: Any, key: Mapping[str, Any]) -> dict[str, Tensor]:
        images = self.measuring.images
        return sweep(
            images,
            of,
            batch_size=max(1, min(_MOST, fewer_if_large(images))),
            accelerator=self.measuring.accelerator,
            description=f"{metric} of {self._said}",
            store=self.measuring.store / slug(f"{self.looked.runs}-{self.layer}-{metric}"),
            key=dict(key) | self.key,
            gradients=True,
        )

    def _entropies(
        self,
        metric: str,
        measure: Callable[..., Discarded | ReconstructionUncertainty],
        spread: Spread,
        shape: tuple[int, ...],
        key: Mapping[str, Any],
    ) -> Entropies:
        """Sweep over the images.

        Args:
            metric: what it is called.
            measure: from images, their index and delta_f^2.
            spread: that noise is held to.
            shape: of an image's entropies.
            key: what results depend on, beside the network, its layer and delta_f^2.
        """
        held = {"delta": spread.used if isinstance(spread.used, float) else self.config.noise.delta}
        held["tau"] = self.config.noise.tau

        def of(batch: Batch) -> dict[str, Tensor]:
            index = batch.index.cpu()
            if not bool(spread.value[index].isfinite().any()):
                return _failed(len(index), shape)
            delta = spread.used if isinstance(spread.used, float) else spread.used[index].to(batch.images.device)
            found = measure(batch.images, index=batch.index, delta=delta)
            return {
                "maps": found.entropy.float(),
                "mean": found.mean,
                "error": found.mean_error,
                "achieved": found.achieved,
                "capped": found.capped.double() / math.prod(found.grid.shape),
                "failed": found.failed,
            }

        rows = self._swept(metric, of, dict(key) | held)
        if bool(rows["failed"].all()):
            raise InputError(f"{self._said}: no image could be measured, its features are not finite under noise")
        return Entropies(**rows)


def _failed(count: int, shape: tuple[int, ...]) -> dict[str, Tensor]:
    """Rows of images that cannot be measured."""
    none = torch.full((count,), math.nan, dtype=torch.float64)
    whole = torch.full((count, *shape), math.nan)
    return {"maps": whole, **dict.fromkeys(("mean", "error", "achieved", "capped"), none), "failed": none.isnan()}


def _concentrations(sid: Entropies, objects: Objects) -> Float[Tensor, " n"]:
    """Of the images with something inside and something outside."""
    found = torch.full((len(sid.mean),), math.nan, dtype=torch.float64)
    some = objects.known & ~sid.failed
    if bool(some.any()):
        found[some] = information_concentration(sid.maps[some].double(), objects.masks[some])
    return found


def whole_maps(maps: Float[Tensor, "n c rows columns"], image_shape: tuple[int, int, int]) -> Float[Tensor, "n h w"]:
    """Entropies at each pixel, their mean over channels."""
    _, height, width = image_shape
    mean = maps.mean(1, keepdim=True)
    return Grid(1, height, width, *maps.shape[2:], shared=True).spread(mean)[:, 0]
