"""Where a prior comes from."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Provenance:
    """Where a prior comes from, in words.

    Attributes:
        network: the classifier's name.
        dataset: what it was trained on; where it does not say, what its concentrations were measured on.
        concentration: how the concentrations were chosen; the prior writes it itself.
        gauge: which space and directions it is in, as in "whitened, fitted"; the prior writes that too.
    """

    network: str = "unknown"
    dataset: str = "unknown"
    concentration: str = "unknown"
    gauge: str = "raw, weights"
