"""Figure 1 and appendix B: a scale that moves from a layer to the next, and filters that are halved."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from apps.recipes.discarding.protocol import BIRDS, MAPS, SHORT, VGG_16, Protocol
from apps.recipes.table import Table

_BASELINES = {"gradient": "gradient", "CAM": "cam", "Grad-CAM": "grad-cam"}
_RETRAINED = "RU retrained"
_UNCERTAIN = ("RU", _RETRAINED)


@dataclass(frozen=True)
class Coherency:
    """One network, each of whose layers is revised in turn."""

    how: Protocol
    """Of its training."""
    arch: str
    """Its architecture."""
    features: Mapping[str, str]
    """By row, what a convolution hands on to the next one, behind its ReLU: "every pair of neighbouring convolutional
    layers" (section 4)."""
    images: int
    """Test images, the first ones. Each pixel is compared with itself: few say as much as many."""
    uncertain: tuple[str, ...]
    """Rows of which RU is measured, each by a decoder."""
    averaged: str = ""
    """The row of features that are averaged over places before the final layer: CAM (Zhou et al. 2015) takes no others.
    Empty: there are none, as of VGG-16 with its three linear layers; the paper does not say what it took for it."""
    factor: float = 4
    """By which weights and biases of a layer are divided, and weights of the next multiplied (section 4)."""
    tolerance: float = 1e-3
    """Nats by which the entropy of a pixel may change; the paper draws none, and computes in single precision too."""
    halved: str = "even"
    """Filters that are halved: "50% filters" (appendix B), without which."""

    @property
    def columns(self) -> tuple[str, ...]:
        """Measures of which there are cells."""
        every = ("SID", *_UNCERTAIN, *_BASELINES)
        return tuple(name for name in every if any(self._there(row, name) for row in self.features))

    @property
    def gaps(self) -> frozenset[tuple[str, str]]:
        """Cells that there are none of."""
        pairs = ((row, column) for row in self.features for column in self.columns)
        return frozenset(pair for pair in pairs if not self._there(*pair))

    def _there(self, row: str, column: str) -> bool:
        """Whether a measure is taken of a layer."""
        if column in _UNCERTAIN:
            return row in self.uncertain
        return column != "CAM" or row == self.averaged

    def run(self, row: str, column: str, seed: int) -> str:
        """The name of the folder of scores."""
        return self.how.name(self.arch, "coherency", *(("ru",) if column in _UNCERTAIN else ()), f"seed{seed}")

    def commands(self, row: str, column: str, seed: int) -> tuple[str, ...]:
        """The training, then SID and what is set beside it, or RU by a decoder and by one that is trained anew."""
        uncertain, measuring = column in _UNCERTAIN, replace(self.how.measuring, images=self.images)
        layers = [self.features[name] for name in (self.uncertain if uncertain else self.features)]
        baselines = " ".join(flag for name, flag in _BASELINES.items() if name in self.columns)
        own = (
            "--baselines none --halved none --retrained"
            if uncertain
            else f"--baselines {baselines} --halved {self.halved}"
        )
        return self.how.training(self.arch, seed), (
            f"analyse coherency {{runs}}/{self.how.network(self.arch, seed)} --taps {','.join(layers)} "
            f"{measuring.flags('ru' if uncertain else 'sid')} --factor {self.factor:g} --tolerance {self.tolerance:g} "
            f"{own} --seed {seed} --name {self.run(row, column, seed)}"
        )


def _moved(how: Coherency, title: str, note: str) -> Table:
    return _by_layer(
        how,
        title,
        f"before and after weights and biases of a layer are divided by {how.factor:g} and weights of the next "
        f"multiplied. SID and RU: nats a value of the image, over {how.images} test images; others: the root of "
        "the sum of squares over a map. change: the largest at a pixel of an image, in nats; of others in parts "
        f"of the map's largest value. The command asks SID and RU to change by {how.tolerance:g} at most; of a "
        f"decoder that is trained anew it asks nothing. {note} Pictures are in the folders of scores.",
        columns=how.columns,
        score=lambda row, column, metric: f"{how.features[row]} {column} {metric}",
        gaps=how.gaps,
    )


def _halved(how: Coherency, title: str, note: str) -> Table:
    return _by_layer(
        how,
        title,
        "SID in nats a value of the image, before and after every second filter of the layer is halved, over "
        f"{how.images} test images; change: the largest at a pixel of an image. Nothing is lost that could not be "
        f"doubled again, and SID changes: the command asks for more than {how.tolerance:g}. {note}",
        columns=("SID",),
        score=lambda row, column, metric: f"{how.features[row]} SID halved {metric}",
    )


def _by_layer(how: Coherency, title: str, convention: str, **more: Any) -> Table:
    return Table(
        title=f"{title}; nothing of it is published",
        convention=convention,
        rows=tuple(how.features),
        seeds=1,
        axes=("layer", "measure"),
        metrics=("before", "after", "change"),
        published={},
        commands=how.commands,
        run=how.run,
        places=".4g",
        **more,
    )


_PLACES = (1, 3, 6, 8, 11, 13, 15, 18, 20, 22, 25, 27)
_CONVOLUTIONS = [f"conv{block}_{number}" for block in range(1, 6) for number in range(1, 3 if block < 3 else 4)]
"""Of VGG-16; the last has no convolution behind it."""
_FEATURES = {name: f"features.{place}" for name, place in zip(_CONVOLUTIONS[:-1], _PLACES, strict=True)}
_LONG = Coherency(BIRDS, VGG_16, _FEATURES, images=64, uncertain=tuple(_FEATURES))
_SHORT = Coherency(SHORT, "vgg-8", MAPS["vgg-8"], images=16, uncertain=("3",), averaged="5")
_SAID = "Five epochs. Layer 5 hands on to the final one, and batch norms take the scale."

TABLES = {
    "coherency": _moved(_LONG, "Figure 1: coherency of VGG-16 on CUB-200-2011", "CAM has no layer in this network."),
    "coherency-short": _moved(_SHORT, "Figure 1 at a size for a CPU: coherency of VGG-8 on CIFAR-10", _SAID),
    "halving": _halved(_LONG, "Appendix B: SID of VGG-16 on CUB-200-2011 with halved filters", ""),
    "halving-short": _halved(
        _SHORT, "Appendix B at a size for a CPU: SID of VGG-8 on CIFAR-10 with halved filters", "Five epochs."
    ),
}
