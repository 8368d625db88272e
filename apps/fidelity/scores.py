"""IS, FID, KID, precision and recall of features, each by torch-fidelity's own function."""

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Int64
from torch import Tensor
from torch_fidelity.metric_fid import KEY_METRIC_FID, fid_features_to_statistics, fid_statistics_to_metric
from torch_fidelity.metric_isc import KEY_METRIC_ISC_MEAN, KEY_METRIC_ISC_STD, isc_features_to_metric
from torch_fidelity.metric_kid import KEY_METRIC_KID_MEAN, KEY_METRIC_KID_STD, kid_features_to_metric
from torch_fidelity.metric_prc import KEY_METRIC_PRECISION, KEY_METRIC_RECALL, prc_features_to_metric

from apps.data.image_set import ImageSet
from apps.fidelity.cache import cached_features
from apps.fidelity.extractor import Extractor
from apps.fidelity.features import Features, drawn_features, features_of
from apps.fidelity.protocols import Layout, Protocol, layout
from apps.models.generator import Generator
from apps.seeds import generator
from apps.training.shares import everywhere
from distill.processes import place
from priors.errors import InputError
from priors.gauge.moments import ActivationMoments

KID_SUBSET = 1000
"""Images a side in each of torch-fidelity's 100 subsets, where there are as many."""
IS_SPLITS = 10
"""Of the images, where there is one chunk: torch-fidelity's."""
_FEW_A_SPLIT = 100
"""Images a split, below which an Inception score of 10 is 5 % too low or more."""
_AT_ONCE, _PART = 2**28, 4096
"""Numbers from which statistics of features are taken by parts, and rows of a part: those of ImageNet's training images
would take 21 GB in double precision."""
_NEIGHBOURS_AT_A_TIME = 2500
"""Rows of a matrix of distances that are held at once: 50,000 against 50,000 would be 10 GB."""


@dataclass(frozen=True)
class Spread:
    """A mean and the standard deviation (of the population, as torch-fidelity's) about it."""

    value: float
    deviation: float | None = None
    """None where it is one number."""


@dataclass(frozen=True)
class Fidelity:
    """How close generated images are to real ones, and all that the numbers depend on."""

    fid: Spread
    """Frechet distance of Gaussians fitted to the features, squared; mean over chunks. Lower is better."""
    inception_score: Spread | None
    """exp of the mean KL(p(y|x) || p(y)) in nats; mean over chunks or splits. Higher is better.

    None where a split would be of one image, which is 1 whatever the image is, or where the extractor has no logits.
    """
    kid: Spread
    """Unbiased squared maximum mean discrepancy of a cubic kernel; mean over subsets. Lower is better.

    No deviation where a side has less than twice the images of a subset: these are much the same ones each time.
    """
    precision: Spread
    """Fraction of fakes within the reals' manifold; mean over chunks. Higher is better."""
    recall: Spread
    """Fraction of reals within the fakes' manifold; mean over chunks. Higher is better."""
    protocol: str
    chunks: int
    """Pairs of chunks that were compared."""
    fakes: int
    """Generated images a chunk."""
    reals: int
    """Real images a chunk."""
    kid_subset: int
    """Images a side in a subset of KID."""
    seed: int
    """Of what was drawn, and of the cut into chunks."""
    against: str
    """The real images' name."""
    split: str
    digest: str
    """Of the real images."""
    extractor: Extractor

    @property
    def named(self) -> dict[str, Spread]:
        """The scores by what they are called."""
        values = {
            "FID": self.fid,
            "IS": self.inception_score,
            "KID": self.kid,
            "precision": self.precision,
            "recall": self.recall,
        }
        return {self.extractor.label(metric): value for metric, value in values.items() if value is not None}

    @property
    def remark(self) -> str:
        """Why FID or IS is not to be trusted here; nothing where they are."""
        return few_images(Layout(self.chunks, self.fakes, self.reals), self.extractor)

    def entry(self) -> dict[str, Any]:
        """What a run's evaluation.json keeps."""
        return {
            "data": self.against,
            "data_digest": self.digest,
            "split": self.split,
            "protocol": self.protocol,
            "chunks": self.chunks,
            "fakes": self.chunks * self.fakes,
            "reals": self.chunks * self.reals,
            "kid_subset": self.kid_subset,
            "seed": self.seed,
            "extractor": self.extractor.name,
            "extractor_model": self.extractor.model,
            "extractor_digest": self.extractor.digest,
            "features": self.extractor.features,
            # A cubic kernel overflows where features are of the order of a million; JSON has no number for that.
            "scores": {name: asdict(value) for name, value in self.named.items() if math.isfinite(value.value)},
        }


def few_images(cut: Layout, extractor: Extractor) -> str:
    """One line on chunks too small for the features, or on splits too small for IS; nothing where they are not."""
    smaller, said = min(cut.fakes, cut.reals), []
    if smaller <= extractor.features:
        said.append(
            f"FID needs more images than features: chunks of {smaller:,} images have singular covariances of "
            f"{extractor.features:,} features, so it is far too high; KID has no such bias"
        )
    if not extractor.classifies:
        return ". ".join(said)
    split = cut.fakes // (IS_SPLITS if cut.chunks == 1 else 1)
    if split < 2:
        said.append(f"IS is left out: it is 1 for splits of one image, give {2 * IS_SPLITS} images or more")
    elif split < _FEW_A_SPLIT:
        said.append(
            f"IS is too low: it is at most {split} for splits of {split} images; {IS_SPLITS * _FEW_A_SPLIT:,} images "
            "or more are advised"
        )
    return ". ".join(said)


def scores(
    source: Generator | ImageSet,
    reals: ImageSet | Features,
    protocol: Protocol,
    extractor: Extractor,
    seed: int,
    sweep: Callable,
    *,
    name: str = "",
    cache: Path | None = None,
    store: Path | None = None,
) -> Fidelity:
    """Score generated images against real ones; features are taken once an image.

    Several processes share the drawing, the features and the chunks, and all get the same result.

    Args:
        source: a generator in evaluation mode, on the device of the sweep; or images.
        reals: images, or their features by the same extractor.
        protocol: of `protocols.PROTOCOLS`, or `protocols.single(count)` to look on with during training.
        extractor: what is compared; moved to the device of the sweep.
        seed: of what is drawn, and of the cut into chunks.
        sweep: `apps.data.sweep.sweep`, or one with its processes given, as a task's `validate` gets it.
        name: of a generator, for messages.
        cache: a folder that the reals' features are kept in; None for none.
        store: a folder that a stopped scoring goes on from; None for none.

    Raises:
        InputError: too few images for the protocol, images of different shapes, images that the extractor does not
            take, or what is drawn is not finite.
    """
    cut = fitting(source, reals, protocol, extractor, name)
    if isinstance(reals, ImageSet):
        reals = cached_features(reals, extractor, sweep, cache)
    if isinstance(source, ImageSet):
        fakes = features_of(source, extractor, sweep, logits=True, store=store)
        order = _order(len(fakes), cut, cut.fakes, seed, "fakes")
    else:
        wanted = cut.chunks * cut.fakes
        fakes = drawn_features(source, wanted, extractor, sweep, seed, name=name or "the generator", store=store)
        order = torch.arange(wanted)
    shuffled = _order(len(reals), cut, cut.reals, seed, "reals")
    rows = (_ordered(part, order) for part in (fakes.features, fakes.logits))
    found = _compared(*rows, _ordered(reals.features, shuffled), cut)
    return Fidelity(
        **found,
        protocol=protocol.name,
        chunks=cut.chunks,
        fakes=cut.fakes,
        reals=cut.reals,
        kid_subset=min(KID_SUBSET, len(order), len(shuffled)),
        seed=seed,
        against=reals.name,
        split=reals.split,
        digest=reals.digest,
        extractor=extractor,
    )


def fitting(
    source: Generator | ImageSet, reals: ImageSet | Features, protocol: Protocol, extractor: Extractor, name: str = ""
) -> Layout:
    """How a protocol cuts these images; asked before the work, it finds all that is wrong with them.

    Raises:
        InputError: as for `scores`.
    """
    given = isinstance(source, ImageSet)
    name = name or (source.name if given else "the generator")
    shape = tuple(source.image_shape)
    if isinstance(reals, ImageSet) and shape != reals.image_shape:
        ours, theirs = ("x".join(map(str, shape)) for shape in (shape, reals.image_shape))
        said = f"the images of {name} are {ours} (channels x height x width), those of {reals.name} {theirs}"
        if shape[0] != reals.image_shape[0]:
            raise InputError(f"{said}: they must be grey both, or both in colour; convert the one or the other")
        raise InputError(f"{said}: they must agree; --image-size brings a folder's pictures to a size")
    extractor.check(shape, name)
    return layout(protocol, len(reals), f"{reals.name} ({reals.split})", len(source) if given else None, name)


def _order(count: int, cut: Layout, size: int, seed: int, side: str) -> Int64[Tensor, " wanted"]:
    """Which images are compared, chunk after chunk: at random; but one chunk of all of them is in their own order."""
    if cut.chunks * size == count and cut.chunks == 1:
        return torch.arange(count)
    return torch.randperm(count, generator=generator("cpu", seed, "fidelity", side))[: cut.chunks * size]


def _ordered(rows: Tensor, order: Int64[Tensor, " wanted"]) -> Tensor:
    """Rows in an order; where that is their own, no copy of them."""
    return rows if torch.equal(order, torch.arange(len(rows))) else rows[order]


def _compared(fakes: Tensor, logits: Tensor, reals: Tensor, cut: Layout) -> dict[str, Spread]:
    """All scores; each process computes its share of them."""
    jobs: dict[Any, Callable[[], Any]] = {
        index: lambda index=index: _chunk(
            fakes[index * cut.fakes : (index + 1) * cut.fakes], reals[index * cut.reals : (index + 1) * cut.reals]
        )
        for index in range(cut.chunks)
    }
    jobs["kid"] = lambda: _kid(fakes, reals)
    jobs["inception_score"] = lambda: _inception_score(logits, cut.chunks)
    rank, world = place()
    own = {key: jobs[key]() for key in list(jobs)[rank::world]}
    found = {key: value for share in everywhere(own, long=True) for key, value in share.items()}
    by_chunk = {
        metric: Spread(
            float(np.mean([found[index][metric] for index in range(cut.chunks)])),
            float(np.std([found[index][metric] for index in range(cut.chunks)])) if cut.chunks > 1 else None,
        )
        for metric in ("fid", "precision", "recall")
    }
    return {**by_chunk, "kid": found["kid"], "inception_score": found["inception_score"]}


def _chunk(fakes: Tensor, reals: Tensor) -> dict[str, float]:
    statistics = [_statistics(features) for features in (fakes, reals)]
    fid = fid_statistics_to_metric(*statistics, verbose=False)
    neighbours = prc_features_to_metric(
        fakes, reals, prc_batch_size=_NEIGHBOURS_AT_A_TIME, save_cpu_ram=True, verbose=False
    )
    return {
        "fid": fid[KEY_METRIC_FID],
        "precision": neighbours[KEY_METRIC_PRECISION],
        "recall": neighbours[KEY_METRIC_RECALL],
    }


def _statistics(features: Tensor) -> dict[str, np.ndarray]:
    """Mean and covariance of features, of many by parts: torch-fidelity's but for rounding, without a copy of all."""
    if features.numel() <= _AT_ONCE:
        return fid_features_to_statistics(features)
    found = ActivationMoments.none(1, features.shape[1])
    for part in features.split(_PART):
        found = found.add(part, torch.zeros(len(part), dtype=torch.long))
    mean = found.mean[0].to(features.dtype)
    return {"mu": mean.numpy(), "sigma": (found.scatter / (len(features) - 1)).numpy()}


def _kid(fakes: Tensor, reals: Tensor) -> Spread:
    size = min(KID_SUBSET, len(fakes), len(reals))
    found = kid_features_to_metric(fakes, reals, kid_subset_size=size, verbose=False)
    varies = min(len(fakes), len(reals)) >= 2 * size
    return Spread(found[KEY_METRIC_KID_MEAN], found[KEY_METRIC_KID_STD] if varies else None)


def _inception_score(logits: Tensor, chunks: int) -> Spread | None:
    if not logits.shape[1] or (chunks == 1 and len(logits) < 2 * IS_SPLITS):
        return None
    splits = {"splits": chunks, "shuffle": False} if chunks > 1 else {}
    found = isc_features_to_metric(logits, **splits)
    return Spread(found[KEY_METRIC_ISC_MEAN], found[KEY_METRIC_ISC_STD])
