"""The architectures of classifiers as tables. No torch is imported: listing them is instant."""

from apps.command.answer import tell
from apps.command.console import say, table
from priors.zoo.catalogue import Entry, catalogue


def list_classifiers() -> None:
    """Print a table a family, which says what it is above its members."""
    families: dict[str, list[Entry]] = {}
    for entry in catalogue():
        families.setdefault(entry.family, []).append(entry)
        told = {"name": entry.name, "family": entry.family, "paper": entry.paper}
        tell("classifier", told | {"penultimate": entry.penultimate, "parameters": entry.parameters})
    for entries in families.values():
        first = entries[0]
        rows = [
            (entry.name, entry.penultimate or "-", f"{entry.parameters:,}" if entry.parameters else "-")
            for entry in entries
        ]
        table(f"{first.summary} ({first.paper})", ("name", "penultimate", "parameters"), rows)
        say()
    say(
        "penultimate: width without --penultimate; parameters: with that width, and 100 classes of 3 x 32 x 32 images; "
        "-: as the NAME"
    )
