"""Curves of the trainings that tests run: left blank, since drawing them takes longer than most of these trainings.

What they look like, and that a run draws them, is for test_curves.py.
"""

from pathlib import Path

import numpy as np
from PIL import Image

from apps.training import curves

save = curves.save
"""What draws."""


def leave_blank(figure, path) -> None:
    """In place of `save`: a run's curves become one white pixel, every other picture is drawn."""
    path = Path(path)
    if path.name == "curves.png" and (path.parent / "config.json").exists():
        Image.fromarray(np.full((1, 1), 255, np.uint8)).save(path)
    else:
        save(figure, path)
