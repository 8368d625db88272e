"""The curves of a training as SVG inside a page: text stays text, and colours follow the reader's light or dark."""

import io
import re
from collections.abc import Sequence
from html import escape

import matplotlib
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from apps.report.markup import MINUS, Html
from apps.runs.quantities import Panel

_COLOURS = {"train": "#010203", "validation": "#010204", "test": "#010205"}
"""Stand-ins that the page's own colours take the place of."""
_SETTLED = 0.2
"""The fraction of a training after which the curves choose the frame, where the start would flatten them."""
_ROOM = 0.5
"""What the frame then leaves of the start, as a fraction of what comes after it."""


def draw(panel: Panel, frame: tuple[int | float, int | float], prefix: str) -> Html:
    """A panel as an `<svg>` element.

    Args:
        panel: the quantity.
        frame: the least and the largest value that is shown.
        prefix: of the ids inside, so that many fit on one page.
    """
    figure = Figure(figsize=(4.2, 2.5), dpi=72, layout="constrained")
    FigureCanvasSVG(figure)
    axes = figure.add_subplot()
    for curve in panel.curves:
        alone = len(curve.values) == 1
        axes.plot(
            curve.steps, curve.values, color=_COLOURS[curve.kind], linewidth=1.5, marker="o" if alone else None, ms=4
        )
    margin = 0.04 * (frame[1] - frame[0]) or 0.04 * abs(frame[0]) or 0.04
    axes.set_ylim(frame[0] - margin, frame[1] + margin)
    axes.grid(alpha=0.15, linewidth=0.8)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_alpha(0.4)
    axes.tick_params(length=0, labelsize=10, pad=5)
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.yaxis.set_major_locator(MaxNLocator(5))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda step, _: f"{step / 1000:g}k" if step >= 1000 else f"{step:g}"))
    axes.ticklabel_format(axis="y", useOffset=False)
    axes.set_xlabel("step", fontsize=10)
    axes.margins(x=0.02)
    buffer = io.BytesIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "penult"}):
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    return _inline(buffer.getvalue().decode(), prefix, _described(panel))


def frame_of(same: Sequence[Panel]) -> tuple[float, float]:
    """The values to show of one quantity, the same for all runs: what comes after the start chooses them.

    Where the start would take more than half of the frame, it runs out of it.
    """
    every, later = [], []
    for panel in same:
        end = max(curve.steps[-1] for curve in panel.curves)
        for curve in panel.curves:
            every += curve.values
            later += [value for step, value in zip(curve.steps, curve.values, strict=True) if step >= _SETTLED * end]
    room = _ROOM * (max(later) - min(later))
    low, high = max(min(every), min(later) - room), min(max(every), max(later) + room)
    if low == high or 2 * (high - low) > max(every) - min(every):
        return min(every), max(every)
    return low, high


def leaves(panel: Panel, frame: tuple[int | float, int | float]) -> bool:
    """Whether a part of a panel is outside its frame."""
    return any(not frame[0] <= value <= frame[1] for curve in panel.curves for value in curve.values)


def _described(panel: Panel) -> str:
    """What the drawing says, for who does not see it."""
    ends = ", ".join(f"{curve.kind} ends at {curve.values[-1]:.4g}".replace("-", MINUS) for curve in panel.curves)
    return f"{panel.name} by step: {ends}"


def _inline(svg: str, prefix: str, label: str) -> Html:
    """An SVG file as an element of a page: no prologue, no addresses, ids of its own, colours of the page."""
    viewbox = re.search(r'viewBox="([^"]*)"', svg)[1]
    body = re.sub(r"<(metadata|style)\b.*?</\1>", "", svg[svg.index("<svg") :], flags=re.DOTALL)
    body = re.sub(r"<!--.*?-->", "", body, flags=re.DOTALL)
    body = body[body.index(">") + 1 : body.rindex("</svg>")]
    body = body.replace("xlink:href=", "href=")
    used = {
        name: f"{prefix}-{number}" for number, name in enumerate(dict.fromkeys(re.findall(r"#([pm]\w{10})\b", body)))
    }
    body = re.sub(r' id="([^"]*)"', lambda found: f' id="{used[found[1]]}"' if found[1] in used else "", body)
    for name, new in used.items():
        body = re.sub(rf"#{name}\b", f"#{new}", body)
    for kind, colour in _COLOURS.items():
        body = body.replace(colour, f"var(--{kind})")
    body = body.replace("#000000", "currentColor")
    body = re.sub(r"font-family: [^;\"]*;? ?", "", body)
    body = re.sub(r' d="([^"]*)"', lambda found: f' d="{_rounded(found[1])}"', body)
    body = re.sub(r">\s+<", "><", body).strip()
    return Html(f'<svg viewBox="{viewbox}" role="img" aria-label="{escape(label)}" fill="currentColor">{body}</svg>')


def _rounded(path: str) -> str:
    """A path to a hundredth of a point."""
    return " ".join(re.sub(r"-?\d+\.\d+", lambda found: f"{float(found[0]):.2f}".rstrip("0").rstrip("."), path).split())
