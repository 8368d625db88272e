"""Pictures of two penultimate units on their circle: figures 2 and 3 of Seo, Lee and Kwak (2021)."""

import math
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Circle, Patch
from torch import Tensor

from apps.data.image_set import ImageSet
from apps.figures import legend, save
from apps.models.activations import Activations
from apps.seeds import generator
from priors.errors import InputError
from priors.model.classifier_prior import ClassifierPrior
from priors.model.concentration import Concentration
from priors.vmf.distribution import VonMisesFisher

PALETTE = (
    "#850175", "#56cc01", "#4e7cf3", "#dc9167", "#2e3e22", "#a685c4", "#da226e", "#825e00", "#6400f3", "#afc8ca"
)  # fmt: skip
"""Ten colours a step of 6 in CIELAB lightness apart, and at least 28 from each other (CIE76) also as seen without the
long-, middle- or short-wave cones (Machado, Oliveira and Fernandes 2009), found by a random search; tab10 has 4.6."""

_DPI = 150
_PANEL = 2.75
"""Inches."""
_WIDEST = 4
"""Panels in a row."""
_TALLEST = 0.5
"""How far the highest curve rises above the circle, whose radius is 1."""
_DOTS = (0.8, 0.97)
"""Radii between which dots lie: inside the circle, so that the curves stand alone outside."""
_MARGIN = 0.16
"""Between the highest curve and the class names, and again to the edge."""
_APART = math.radians(15)
"""Least angle between two class names."""


@dataclass(frozen=True)
class Panel:
    """One network's circle."""

    title: str
    prior: ClassifierPrior
    """On the circle, in float64."""
    angles: Float[Tensor, " n"]
    """Directions of the activations, in radians."""
    labels: Int[Tensor, " n"]
    accuracy: float
    """Of the network on these images, 0 to 1."""
    without: int
    """Activations that are zero, and so have no direction."""

    @property
    def mean_cosine(self) -> float:
        """Of the activations with their class's direction."""
        x, y = self.prior.unit_rows()[self.labels].unbind(1)
        return float((self.angles - torch.atan2(y, x)).cos().mean())


def panel(title: str, prior: ClassifierPrior, found: Activations, concentration: Concentration) -> Panel:
    """A panel from what a network makes of a set of images.

    Args:
        title: over it.
        prior: of the network, with any concentration; its m is 2.
        found: penultimate activations, logits and labels.
        concentration: a number, one a class, or a strategy that looks at these very activations.

    Raises:
        InputError: all activations are zero, or a concentration that cannot be.
    """
    there = prior.cpu().space.bring(found.penultimate.to(prior.loc.dtype))
    some = there.norm(dim=1) > 0
    if not bool(some.any()):
        raise InputError(f"the penultimate activations of {title} are zero for all images: they have no direction")
    x, y = there[some].double().unbind(1)
    return Panel(
        title,
        prior.with_concentration(concentration, activations=found.penultimate, labels=found.labels).double(),
        torch.atan2(y, x),
        found.labels[some],
        float((found.logits.argmax(1) == found.labels).double().mean()),
        int((~some).sum()),
    )


def densities(
    prior: ClassifierPrior, points: int = 721
) -> tuple[Float[Tensor, "classes points"], Float[Tensor, "classes points"]]:
    """Each class's density q(a|i) once around the circle, as angles and values, closest together at its peak.

    At mu + pi sinh(c s) / sinh(c) for s even on [-1, 1], with c so large that a peak has ten points or more within a
    standard deviation, up to concentrations of 1e6.
    """
    s = torch.linspace(-1, 1, points, dtype=torch.float64)
    c = torch.log(2 + prior.concentration.double().sqrt())[:, None]
    away = math.pi * torch.sinh(c * s) / torch.sinh(c)
    mu = prior.unit_rows()
    angles = torch.atan2(mu[:, 1], mu[:, 0])[:, None] + away
    around = torch.stack([angles.cos(), angles.sin()], -1)
    vmf = VonMisesFisher(mu, prior.concentration.double()).expand((points, len(mu)))
    return angles, vmf.log_prob(around.transpose(0, 1)).exp().T


def cyclic_order(weight: Float[Tensor, "classes 2"]) -> tuple[int, ...]:
    """The classes as their weights' directions follow each other around the circle.

    A network may as well be turned or mirrored, so it begins with class 0 and goes the way round on which the second
    is smaller than the last.

    Example:
        >>> cyclic_order(torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, -1.0], [0.0, 1.0]]))
        (0, 2, 1, 3)
    """
    x, y = weight.double().unbind(1)
    order = torch.atan2(y, x).argsort(stable=True).tolist()
    start = order.index(0)
    first, *others = order[start:] + order[:start]
    if others and others[0] > others[-1]:
        others.reverse()
    return first, *others


def said_dots(shown: int, images: ImageSet) -> str:
    """A sentence on what the dots of a picture are.

    Args:
        shown: dots in a panel.
        images: which were run through the networks.
    """
    count = min(shown, len(images))
    some = f"{count:,} of the {len(images):,}" if count < len(images) else f"the {count:,}"
    return f"Dots: directions of the penultimate activations of {some} test images of {images.name}, scattered inwards."


def _accuracy(one: Panel) -> str:
    return f"accuracy {one.accuracy:.2%}"


def draw(
    path: str | Path,
    panels: Sequence[Panel | None],
    caption: str,
    shown: int,
    seed: int = 0,
    *,
    columns: int | None = None,
    heading: Callable[[Panel], str] = _accuracy,
) -> None:
    """Draw the circles, a panel each: dots within, densities without, directions as arrows, classes by colour and name.

    Args:
        path: where to; the ending says which format.
        panels: of networks with the same classes, one at least; None leaves a place empty.
        caption: below, before what the drawing itself has to say.
        shown: dots in a panel; the same images in each panel where all have a direction.
        seed: of the choice of dots and of their scatter.
        columns: panels in a row; by default as many as leave few places empty.
        heading: what is said of a panel below its title, before its concentrations.
    """
    rows, columns = (-(-len(panels) // columns), columns) if columns else _layout(len(panels))
    there = [one for one in panels if one is not None]
    names = there[0].prior.class_names
    width = max(columns * _PANEL, 1.6 * _PANEL)
    weights = all(one.prior.gauge.directions == "weights" for one in there)
    arrows = "w_i" if weights else "the classes' directions"
    scaled = "in each panel scaled to its highest, or to 1 where that is lower"
    notes = f"{caption} Curves: q(a|i), {scaled}. Arrows: {arrows}."
    lines = textwrap.wrap(notes, int(width * 15.5))
    figure = Figure(figsize=(width, rows * (_PANEL + 0.3) + 0.3 + 0.15 * len(lines)), dpi=_DPI, layout="constrained")
    figure.get_layout_engine().set(w_pad=0.03, h_pad=0.06, wspace=0, hspace=0.02)
    for index, one in enumerate(panels):
        if one is not None:
            _panel(figure.add_subplot(rows, columns, index + 1), one, shown, seed, heading(one))
    figure.supxlabel("\n".join(lines), fontsize=8, color="0.3", parse_math=False)
    if len(names) <= 2 * len(PALETTE):
        patches = [(Patch(color=_colour(i)), name) for i, name in enumerate(names)]
        legend(
            figure,
            [*patches, (Line2D([], [], color="0.45", marker=">", markersize=4), "weight" if weights else "direction")],
            loc="outside upper center",
            ncols=min(len(patches) + 1, max(3, int(width / (0.42 + 0.07 * max(map(len, names)))))),
            fontsize=8,
            frameon=False,
            handlelength=1,
            handletextpad=0.4,
            columnspacing=1.2,
        )
    save(figure, path)


def _layout(count: int) -> tuple[int, int]:
    """Rows and columns: one row while it fits, then as near a square as leaves few places empty."""
    if count <= _WIDEST:
        return 1, count
    columns = min(range(3, _WIDEST + 1), key=lambda wide: (-count % wide, wide))
    return -(-count // columns), columns


def _colour(label: int) -> str:
    return PALETTE[label % len(PALETTE)]


def _panel(axes: Axes, one: Panel, shown: int, seed: int, heading: str) -> None:
    """One network's circle."""
    axes.set_aspect("equal")
    axes.set_axis_off()
    edge = 1 + _TALLEST + 1.75 * _MARGIN
    axes.set_xlim(-edge, edge)
    axes.set_ylim(-edge, edge)
    axes.add_patch(Circle((0, 0), 1, fill=False, color="0.6", linewidth=0.8))
    _dots(axes, one, shown, seed)
    towards, peaks = _curves(axes, one)
    _weights(axes, one.prior.class_names, towards, peaks)
    _heading(axes, one, heading)


def _curves(axes: Axes, one: Panel) -> tuple[np.ndarray, np.ndarray]:
    """The densities, on the circle as their ground; returns the angle and the radius of each one's peak."""
    angles, values = (tensor.numpy() for tensor in densities(one.prior))
    top = max(1.0, float(values.max()))
    peaks = 1 + _TALLEST * values.max(1) / top
    for label in np.argsort(-peaks).tolist():  # the highest at the back
        radius = 1 + _TALLEST * values[label] / top
        outline = radius * np.cos(angles[label]), radius * np.sin(angles[label])
        inner = np.cos(angles[label]), np.sin(angles[label])
        axes.fill(
            *(np.concatenate([there, back[::-1]]) for there, back in zip(outline, inner, strict=True)),
            color=_colour(label), alpha=0.1, linewidth=0,
        )  # fmt: skip
        axes.plot(*outline, color=_colour(label), linewidth=1.1)
    return angles[:, angles.shape[1] // 2], peaks


def _weights(axes: Axes, names: Sequence[str], towards: np.ndarray, peaks: np.ndarray) -> None:
    """An arrow a class within the circle, and outside its name, which a line joins to the class's peak."""
    out = peaks.max() + _MARGIN
    small = len(names) > 2 * len(PALETTE)
    for label, (mu, at, peak) in enumerate(zip(towards, _spread(towards), peaks, strict=True)):
        tip = 0.72 * np.array([np.cos(mu), np.sin(mu)])
        arrow = {"arrowstyle": "-|>", "color": _colour(label), "linewidth": 1.1, "mutation_scale": 7, "shrinkA": 0}
        axes.annotate("", tip, (0, 0), arrowprops=arrow | {"shrinkB": 0})
        place = out * np.array([np.cos(at), np.sin(at)])
        leader = np.stack([(peak + 0.02) * np.array([np.cos(mu), np.sin(mu)]), place * (1 - 0.09 / out)])
        axes.plot(*leader.T, color=_colour(label), linewidth=0.6, alpha=0.8)
        axes.text(
            *place, names[label], fontsize=5 if small else 8.5, fontweight="bold", color="0.15",
            ha=("left" if np.cos(at) > 0.3 else "right" if np.cos(at) < -0.3 else "center")
            if len(names[label]) > 2 else "center",
            va="center", parse_math=False,
        )  # fmt: skip


def _heading(axes: Axes, one: Panel, said: str) -> None:
    """The title, and below it what is said of the panel, and concentrations."""
    axes.set_title(one.title, fontsize=10, pad=11, parse_math=False)
    low, high = one.prior.concentration.min().item(), one.prior.concentration.max().item()
    kappa = _number(low) if _number(low) == _number(high) else f"{_number(low)} to {_number(high)}"
    axes.text(
        0.5, 1.0, f"{said}   \N{GREEK SMALL LETTER KAPPA} {kappa}", transform=axes.transAxes,
        fontsize=8, color="0.3", ha="center", va="bottom",
    )  # fmt: skip


def _number(value: float) -> str:
    """Two or three digits, without an exponent where that is short."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.2g}"


def _dots(axes: Axes, one: Panel, shown: int, seed: int) -> None:
    """A random choice of the activations, scattered along the radius so that they do not hide each other."""
    stream = generator("cpu", seed, "circle")
    chosen = torch.randperm(len(one.angles), generator=stream)[:shown]
    near, far = _DOTS
    radius = near + (far - near) * torch.rand(len(chosen), generator=stream, dtype=torch.float64)
    angles = one.angles[chosen]
    colours = [_colour(label) for label in one.labels[chosen].tolist()]
    x, y = (radius * angles.cos()).numpy(), (radius * angles.sin()).numpy()
    axes.scatter(x, y, s=2.2, c=colours, alpha=0.6, linewidths=0, rasterized=True)


def _spread(angles: np.ndarray) -> np.ndarray:
    """Angles near the given ones, in their order, that leave room for a name at each."""
    least = min(_APART, 0.9 * 2 * math.pi / len(angles))
    order = np.argsort(angles % (2 * math.pi), kind="stable")
    placed = (angles % (2 * math.pi))[order]
    for _ in range(5000):  # neighbours that are too close push each other apart
        push = np.clip(least - np.diff(placed, append=placed[0] + 2 * math.pi), 0, None) / 2
        if push.max() < 0.01 * least:
            break
        placed += np.roll(push, 1) - push
    spread = np.empty_like(placed)
    spread[order] = placed
    return spread
