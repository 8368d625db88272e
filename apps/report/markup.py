"""HTML in small pieces: everything is escaped but what was made here."""

import math
import re
from base64 import b64encode
from collections.abc import Iterable, Sequence
from html import escape, unescape

from apps.command.console import printable

_VOID = {"br", "col", "img", "meta"}
MINUS = "\N{MINUS SIGN}"
NOTHING = "\N{EN DASH}"


class Html(str):
    """Text that is markup already. Final."""


def html(value: object) -> Html:
    """A value as markup: what is markup stays, all else is escaped."""
    return value if isinstance(value, Html) else Html(escape(shown(value)))


def shown(value: object) -> str:
    """A value as text, line by line as `printable`: an escape has no place in a page."""
    return "\n".join(map(printable, str(value).split("\n")))


def joined(parts: Iterable[object]) -> Html:
    """Pieces one after the other, each escaped unless it is markup."""
    return Html("".join(html(part) for part in parts))


def element(name: str, /, *children: object, **attributes: object) -> Html:
    """An element with its children; an attribute that is None is left out, and `class_` is written `class`.

    Example:
        >>> print(element("p", "a < b", element("br"), class_="note", id=None))
        <p class="note">a &lt; b<br></p>
    """
    given = {key.rstrip("_").replace("_", "-"): value for key, value in attributes.items() if value is not None}
    start = "".join(f' {key}="{escape(shown(value))}"' for key, value in given.items())
    if name in _VOID:
        return Html(f"<{name}{start}>")
    return Html(f"<{name}{start}>{joined(children)}</{name}>")


def number(
    value: int | float,
    error: int | float | None = None,
    *,
    share: bool = False,
    decimals: int | None = None,
    signed: bool = False,
) -> Html:
    """A number as it is read, with the whole of it kept in `<data>`.

    Args:
        value: shown with two decimals from 10 on, else with four, unless the following say otherwise.
        error: its standard error; both then have two decimals, or four where it is below 0.01.
        share: whether it is shown in per cent.
        decimals: how many.
        signed: whether a positive one has its sign.

    Example:
        >>> print(number(-96.9069096775055, 0.981))
        <data value="-96.9069096775055">−96.91</data> ± 0.98
        >>> print(number(0.98280, share=True))
        <data value="0.9828">98.28 %</data>
    """
    whole = error is None and decimals is None
    if decimals is None:
        small = abs(value) < 10 if error is None else error < 0.01
        decimals = 4 if small else 2
    if not math.isfinite(value):
        text = "not finite"
    elif share:
        text = f"{100 * value:.2f} %"
    elif whole and value == math.trunc(value):
        text = f"{value:,.0f}"
    else:
        text = f"{value:,.{decimals}f}" if abs(value) >= 1e-3 or value == 0 else f"{value:.3g}"
    text = f"+{text}" if signed and value > 0 else text
    shown = element("data", text.replace("-", MINUS), value=repr(value))
    return shown if error is None else joined((shown, f" \N{PLUS-MINUS SIGN} {error:.{decimals}f}"))


def table(caption: object, heads: Sequence[object], rows: Iterable[Sequence[object]], note: object = "") -> Html:
    """A table that scrolls in a box of its own; the first cell of a row names it, and numbers are flushed right.

    Args:
        caption: above it.
        heads: of the columns.
        rows: cells; columns that are mostly made by `number` count as numbers.
        note: below it, for conventions and units; or nothing.
    """
    rows = [[html(cell) for cell in row] for row in rows]
    numeric = [_mostly_numbers([row[index] for row in rows]) for index in range(len(heads))]
    kinds = ["number" if right else None for right in numeric]
    head = element("tr", *(element("th", h, scope="col", class_=kind) for h, kind in zip(heads, kinds, strict=True)))
    body = [
        element(
            "tr",
            element("th", row[0], scope="row", class_=kinds[0]),
            *(element("td", cell, class_=_kind(cell, kind)) for cell, kind in zip(row[1:], kinds[1:], strict=True)),
        )
        for row in rows
    ]
    whole = element("table", element("caption", caption), element("thead", head), element("tbody", *body))
    # A box that scrolls must be reachable by keyboard, and so has a name.
    box = element("div", whole, class_="scroll", tabindex=0, role="region", aria_label=plain(caption))
    return joined((box, element("p", note, class_="note") if note else ""))


def _kind(cell: Html, column: str | None) -> str | None:
    """Of a cell: words among numbers stand as they do, but may be broken into lines."""
    return "words" if column and cell not in ("", NOTHING) and not cell.startswith("<data") else column


def _mostly_numbers(column: Sequence[Html]) -> bool:
    filled = [cell for cell in column if cell not in ("", NOTHING)]
    return 2 * sum(cell.startswith("<data") for cell in filled) > len(filled)


def plain(value: object) -> str:
    """The text of a caption, without its markup."""
    return unescape(re.sub(r"<[^>]*>", "", value)) if isinstance(value, Html) else str(value)


def picture(png: bytes, width: int, height: int, alt: str, **attributes: object) -> Html:
    """A PNG inside the page."""
    source = f"data:image/png;base64,{b64encode(png).decode()}"
    return element("img", src=source, width=width, height=height, alt=alt, **attributes)
