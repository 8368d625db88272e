"""Where a prior comes from."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from priors.files.typed import check_types

PAPERS = "raw, weights"
"""The gauge that takes what training left."""


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
    gauge: str = PAPERS

    @classmethod
    def stored(cls, told: Mapping[str, Any]) -> "Provenance":
        """What a file says of it.

        Raises:
            TypeError: it is no text, or there is more than is known here.
        """
        check_types(cls, told)
        return cls(**told)
