"""Exponents of power spectra: `penult analyse spectrum`, in spectrum.json."""

from collections.abc import Mapping
from typing import Any

from apps.scores.kind import Command, Kind


class Spectrum(Kind):
    """By what they are of and how they were fitted, such as "images regression"."""

    verbs = ("analyse spectrum",)

    def found(self, command: Command) -> Mapping[str, Any] | None:
        """By all that the command says."""
        from apps.spectra.results import scored

        return scored(command.config, command.config.out or command.folder)


KIND = Spectrum()
