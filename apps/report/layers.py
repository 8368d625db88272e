"""What `penult analyse layers` has kept of a run, as tables: a row a layer and a column a lens, and what agrees."""

from collections.abc import Mapping
from typing import Any

from apps.report.markup import NOTHING, Html, element, html, joined, number, table
from apps.runs.public import public
from priors.errors import InputError

FILE = "layers.json"
"""In a run's folder."""
_ITEMS = {"layers": dict, "scores": dict, "without": dict, "agreement": list, "lens titles": dict}
"""What an entry must hold."""


def layers_of(entries: list[dict[str, Any]]) -> Html:
    """All entries of a run, the newest first; nothing where there is none.

    Raises:
        InputError: one is damaged.
    """
    try:
        return joined(part for entry in reversed(entries) for part in _entry(entry))
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        raise InputError(f"{FILE} is damaged ({error!r}): move it away, and give its command again") from None


def _entry(entry: Mapping[str, Any]) -> list[Html]:
    wrong = next((name for name, kind in _ITEMS.items() if not isinstance(entry.get(name), kind)), None)
    if wrong is not None:
        raise KeyError(wrong)
    made = f"{entry['images']:,} images of {public(entry['data'])}, seed {entry['seed']}"
    titles, parts = entry["lens titles"], [element("p", made, ".", class_="note")]
    for place, (name, layers) in enumerate(entry["layers"].items()):
        scores = entry["scores"][name]
        there = [lens for lens in titles if any(lens in scores[layer] for layer in layers)]
        heads = [f"{titles[lens][0]} ({titles[lens][1]})" if titles[lens][1] else titles[lens][0] for lens in there]
        rows = [(layer, *(_cell(scores[layer].get(lens)) for lens in there)) for layer in layers]
        meanings = [] if place else ["; ".join(f"{titles[lens][0]}: {titles[lens][2]}" for lens in there)]
        gaps = [f"Without {public(reason)}" for reason in entry["without"][name]]
        note = "".join(f"{one}. " for one in (*meanings, *gaps))
        parts.append(table(public(name), ("layer", *heads), rows, note.strip()))
    rows = [_pair(pair) for pair in entry["agreement"] if pair["changes"] is not None]
    if rows:
        heads = ("lenses", "images", "steps", "changes", "interval", "places", "interval ")
        parts.append(table("Do they agree on where information goes?", heads, rows, _MEANING))
    return parts


_MEANING = (
    "Changes: the correlation over images of what two lenses say is lost in a step from a layer to the next, mean over "
    "steps and networks; places: the same after each image's mean over its other steps is taken out. 0: nothing to do "
    "with one another, or noise."
)


def _cell(one: Mapping[str, Any] | None) -> Html:
    if one is None or one["value"] is None:
        return Html(NOTHING)
    return number(one["value"], one["error"])


def _pair(pair: Mapping[str, Any]) -> tuple[object, ...]:
    whole = pair["changes"]
    steps = sum(value is not None for steps in whole["each"] for value in steps)
    both = [cell for of in ("changes", "places") for cell in _interval(pair[of])]
    return " and ".join(pair["lenses"]), number(whole["images"]), number(steps), *both


def _interval(one: Mapping[str, Any] | None) -> tuple[Html, Html]:
    if one is None:
        return Html(NOTHING), Html(NOTHING)
    ends = html(f"{one['lowest']:+.2f} to {one['highest']:+.2f} ({one['level']:.0%})")
    return number(one["correlation"], decimals=2, signed=True), ends
