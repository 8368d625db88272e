"""Where a prior comes from."""

from dataclasses import dataclass, fields

from priors.errors import shown


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

    def __post_init__(self):
        """Refuse, by a TypeError, what is no text: a file may be damaged."""
        for field in fields(self):
            value = getattr(self, field.name)
            if not isinstance(value, str):
                raise TypeError(f"the {field.name} of a prior's provenance is {shown(value)}: a text was expected")
