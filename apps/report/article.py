"""The part of a page on one run."""

import shlex
from collections.abc import Sequence

from apps.command.console import counted
from apps.report.cells import duration, entries, score, setting
from apps.report.contents import Contents, Picture
from apps.report.curves import draw, leaves
from apps.report.layers import layers_of
from apps.report.markup import NOTHING, Html, element, html, joined, number, picture, table
from apps.report.scores import headline, note, outcome, plain_scores, protocol
from apps.runs.public import public

_WIDE = 900
"""Pixels beyond which a picture is wide."""
_LONG = 30
"""Rows beyond which a table is folded away."""


def article(run: Contents, name: str, number: int, level: int, frames: dict[str, tuple[float, float]]) -> Html:
    """All on one run.

    Args:
        run: what there is.
        name: what the run is called.
        number: its place on the page, for ids.
        level: of its heading.
        frames: by quantity, the values that curves show.
    """
    sections = (
        ("Scores", _scores(run)),
        ("Beside the published", _published(run)),
        ("Training", _curves(run, number, frames)),
        ("Samples", _samples(run)),
        ("Classes", _classes(run)),
        ("Analyses", _analyses(run, level)),
        ("Layers", layers_of(run.layers)),
        ("Pictures", _pictures(run, name)),
        ("Configuration", _configuration(run)),
    )
    # A part that is missing keeps its row, so that the parts of runs side by side stand beside one another.
    parts = [
        element("section", element(f"h{level + 1}", title), inside, style=f"grid-row: {row}")
        for row, (title, inside) in enumerate(sections, start=2)
        if inside
    ]
    return element("article", _header(run, name, number, level), *parts, aria_labelledby=f"run-{number}")


def _header(run: Contents, name: str, number: int, level: int) -> Html:
    result = run.result
    facts = (
        [f"finished after {counted(result['steps'], 'step')}"] if isinstance(result.get("steps"), int) else ["finished"]
    )
    if isinstance(epochs := result.get("epochs"), int | float):
        facts[0] += f" ({counted(f'{epochs:.4g}', 'epoch')})"
    if isinstance(result.get("seconds"), int | float):
        facts[0] += f" in {duration(result['seconds'])}"
    if result.get("stopped early"):
        facts.append("stopped early")
    if isinstance(result.get("best step"), int):
        facts.append(f"weights kept of step {result['best step']:,}")
    return element(
        "header",
        element(f"h{level}", name, id=f"run-{number}"),
        element("p", run.title, class_="lead"),
        element("p", "; ".join(facts), ".", class_="facts"),
    )


def _scores(run: Contents) -> Html:
    parts = []
    for entry in run.evaluations:
        rows = [(name, score(name, value)) for name, value in plain_scores(entry["scores"]).items()]
        parts.append(table(f"On the {protocol(run, entry)}", ("quantity", "value"), rows, note(run, entry)))
    kept, last = outcome(run)
    if kept:
        both = any(value != last[name] for name, value in kept.items() if name in last)
        which = "of the weights that were kept; last: at the end of the training" if both else ""
        rows = [
            (name, score(name, value), *([score(name, last[name]) if name in last else ""] if both else []))
            for name, value in kept.items()
        ]
        heads = ("quantity", "value", "last") if both else ("quantity", "value")
        parts.append(table("When it was trained", heads, rows, which))
    return element("div", *(element("div", part) for part in parts), class_="columns") if parts else Html("")


def _published(run: Contents) -> Html:
    if run.published is None:
        return Html("")
    cell, entry = run.published, headline(run)
    rows = []
    for metric, value in cell.values.items():
        name, ours = cell.ours(metric, entry["scores"] if entry else {})
        shown = score(name, ours) if ours is not None else Html(NOTHING)
        ours = ours.get("value") if isinstance(ours, dict) else ours
        gap = number(ours - value, decimals=2, signed=True) if isinstance(ours, int | float) else Html(NOTHING)
        rows.append((name, number(value, decimals=1), shown, gap))
    where = f"{cell.recipe.axes[0]} {cell.row}, {cell.recipe.axes[1]} {cell.column}"
    likeness = (
        "This run is a repetition of that cell."
        if cell.own
        else "This run is like that cell in model and dimension; how it was trained is its own (see its configuration)."
    )
    measured = f"Ours: {'; '.join(filter(None, (run.protocol, entry and protocol(run, entry))))}."
    missing = f"Ours is not scored yet: penult evaluate {shlex.quote(str(run.folder))}."
    return joined(
        (
            table(where, ("quantity", "published", "ours", "difference"), rows),
            element("p", f"{cell.source} {cell.recipe.title}. {likeness}", class_="note"),
            element("p", measured if entry else missing, class_="note"),
            element("p", f"The table's convention: {cell.recipe.convention}", class_="note"),
        )
    )


def _curves(run: Contents, number: int, frames: dict[str, tuple[float, float]]) -> Html:
    figures = []
    for index, panel in enumerate(run.panels):
        frame = frames[panel.name]
        svg = draw(panel, frame, f"run-{number}-curve-{index}")
        notes = [*panel.notes, *(["its start is out of the frame"] if leaves(panel, frame) else [])]
        unit = f", {panel.unit}" if panel.unit else ""
        caption = element("figcaption", element("strong", panel.name), unit)
        note = element("p", "; ".join(notes), class_="note") if notes else ""
        figures.append(element("figure", caption, svg, note))
    kinds = dict.fromkeys(curve.kind for panel in run.panels for curve in panel.curves)
    key = element("p", *(element("span", kind, class_=f"key {kind}") for kind in kinds))
    return joined((key, element("div", *figures, class_="curves"))) if figures else Html("")


def _samples(run: Contents) -> Html:
    if run.samples is None:
        return Html("")
    drawn = run.samples
    what = "Mean images" if drawn.means else "Images"
    text = f"{what} of z from the prior, {drawn.count} {'a class' if drawn.classes else 'in all'}, seed {drawn.seed}"
    if drawn.classes and len(drawn.rows) < drawn.classes:
        text += f"; the first {len(drawn.rows)} of {drawn.classes} classes"
    note = element("p", text, ".", class_="note")
    way = element("p", drawn.way, ".", class_="note")
    if drawn.classes is None:
        sheet = drawn.rows[0]
        image = element("figure", picture(sheet.png, sheet.width, sheet.height, sheet.caption, class_="sheet"))
        parts = (image, note), (_strips("From draw to draw", "draws", drawn.interpolations), way)
    else:
        between = _strips("From class to class", "classes", drawn.interpolations)
        parts = (
            (_strips("Samples by class", "class", drawn.rows), note),
            *(((between, way),) if drawn.interpolations else ()),
        )
    return element("div", *(element("div", *part) for part in parts), class_="columns")


def _strips(caption: str, head: str, strips: Sequence[Picture]) -> Html:
    """Rows of images with their names."""
    rows = [
        element(
            "tr",
            element("th", row.name, scope="row"),
            element("td", picture(row.png, row.width, row.height, row.caption)),
        )
        for row in strips
    ]
    heads = element("tr", element("th", head, scope="col"), element("th", "images", scope="col"))
    return element(
        "table", element("caption", caption), element("thead", heads), element("tbody", *rows), class_="strips"
    )


def _classes(run: Contents) -> Html:
    entry = headline(run)
    accuracy = entry["scores"].get("accuracy by class") if entry else None
    accuracy = accuracy if isinstance(accuracy, dict) else {}
    names = [row.name for row in run.classes] or list(accuracy)
    if not names:
        return element("p", run.class_note, class_="note") if run.class_note else Html("")
    columns: dict[str, list[Html]] = {}
    if accuracy:
        columns["accuracy"] = [score("accuracy", accuracy.get(name)) for name in names]
    if run.classes:
        columns["|w|"] = [number(row.norm) for row in run.classes]
        if run.stored_prior:
            columns["concentration"] = [number(row.concentration) for row in run.classes]
            columns["mean resultant length"] = [number(row.mean_resultant_length) for row in run.classes]
        columns["nearest class"] = [html(row.nearest) for row in run.classes]
        columns["cosine"] = [number(row.cosine) for row in run.classes]
    rows = [(name, *(column[index] for column in columns.values())) for index, name in enumerate(names)]
    scored = f"Accuracy: on the {protocol(run, entry)}. " if accuracy else ""
    whole = table(
        "The prior of each class" if run.classes else "Accuracy by class",
        ("class", *columns),
        rows,
        f"{scored}{run.class_note}",
    )
    return element("details", element("summary", counted(len(names), "class")), whole) if len(rows) > _LONG else whole


def _analyses(run: Contents, level: int) -> Html:
    parts = []
    for title, found in run.analyses.items():
        parts.append(element(f"h{level + 2}", title))
        for words, inside in entries(found):
            parts += [element("p", words, class_="note") if words else "", element("div", inside, class_="columns")]
    return joined(parts)


def _pictures(run: Contents, name: str) -> Html:
    figures = []
    for found in run.pictures:
        # Wide pictures hold small print: on a phone they scroll rather than shrink.
        wide = "wide" if found.width > _WIDE else None
        image = picture(found.png, found.width, found.height, f"{found.caption} ({name})", class_=wide)
        box = element("div", image, class_="scroll", tabindex=0, role="region", aria_label=found.caption)
        figures.append(element("figure", element("figcaption", found.caption), box))
    return element("div", *figures, class_="pictures") if figures else Html("")


def _configuration(run: Contents) -> Html:
    settings = [(name.replace("_", "-"), setting(value)) for name, value in public(run.config).items()]
    environment = [(name, setting(value)) for name, value in public(run.environment).items()]
    command = element("pre", element("code", _command(run.command))) if run.command else ""
    parts = [element("div", table("Settings", ("name", "value"), settings), class_="settings")]
    if environment:
        parts.append(element("div", table("Trained with", ("name", "value"), environment), class_="settings"))
    return joined((command, element("div", *parts, class_="columns")))


def _command(words: Sequence[str]) -> Html:
    """A command that is folded between words, and not at the dashes of its flags."""
    spans = [element("span", shlex.quote(word)) for word in ("penult", *words)]
    return joined(part for span in spans for part in (span, " "))
