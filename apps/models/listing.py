"""The architectures of classifiers as a table. No torch is imported: listing them is instant."""

from apps.command.console import table
from priors.zoo.catalogue import catalogue


def list_classifiers() -> None:
    """Print a row an architecture: its sizes and what it is."""
    rows, said = [], ""
    for entry in catalogue():
        about = f"{entry.summary} ({entry.paper})"
        size = f"{entry.parameters:,}" if entry.parameters else "-"
        # A family says what it is once, at its first member.
        rows.append((entry.name, entry.penultimate or "-", size, "" if about == said else about))
        said = about
    table(
        "classifiers",
        ("name", "penultimate", "parameters", "what it is"),
        rows,
        "parameters: as published, with 100 classes of 3 x 32 x 32 images; penultimate: width without --penultimate",
    )
