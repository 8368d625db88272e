"""The scores of generated images as a table."""

from apps.command.console import table
from apps.fidelity.protocols import Protocol
from apps.fidelity.scores import Fidelity


def show(name: str, scored: Fidelity, protocol: Protocol) -> None:
    """Print the scores, with all that they depend on below them.

    Args:
        name: of what was scored.
        scored: by `protocol`.
        protocol: of which what is partial is said.
    """
    several = f"{scored.chunks} x " if scored.chunks > 1 else ""
    part = f" ({scored.chunks} of its {protocol.chunks} chunks)" if protocol.partial else ""
    over = {"KID": f"100 subsets of {scored.kid_subset:,}"}
    over["IS"] = f"{scored.chunks} chunks" if scored.chunks > 1 else "10 splits"
    chunks = f"{scored.chunks} chunks" if scored.chunks > 1 else "1 chunk"
    lines = []
    for label, value in scored.named.items():
        # KID is of the order of .01 for Inception's features, but grows with the sixth power of a network's scale.
        digits = 2 if label.startswith(("FID", "IS")) or abs(value.value) >= 10 else 5
        deviation = "-" if value.deviation is None else f"{value.deviation:.{digits}f}"
        lines.append((label, f"{value.value:.{digits}f}", deviation, over.get(label.split(" ")[0], chunks)))
    table(
        f"{name} against {scored.against} ({scored.split}) by {scored.protocol}{part}: "
        f"{several}{scored.fakes:,} fakes against {several}{scored.reals:,} reals, seed {scored.seed}",
        ("score", "mean", "deviation", "over"),
        lines,
        f"extractor {scored.extractor.name}, weights {scored.extractor.digest}, {scored.extractor.features:,} "
        f"features; real images {scored.digest}; "
        + ("precision and recall by the same features, not VGG-16's; " if scored.extractor.standard else "")
        + "scores of other protocols or extractors are not comparable",
    )
