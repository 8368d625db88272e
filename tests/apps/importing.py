"""What other processes import from: places of a test's own before those that the tests were started with."""

import os
from pathlib import Path


def imports_from(*places: Path | str, but: Path | None = None) -> dict[str, str]:
    """The part of an environment that puts places first; one that was given is left out."""
    given = [place for place in os.environ.get("PYTHONPATH", "").split(os.pathsep) if place]
    kept = [place for place in given if but is None or Path(place).resolve() != but.resolve()]
    return {"PYTHONPATH": os.pathsep.join([*map(str, places), *kept])}
