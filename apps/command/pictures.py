"""What verbs that look at pictures are told of them: to which size they are brought, and where their objects are."""

from dataclasses import dataclass
from pathlib import Path

from apps.command.ranges import Pixels
from priors.errors import InputError

OWN = Path("auto")
"""In the place of a folder or a file: the data set's own."""


@dataclass(frozen=True)
class PictureSizes:
    """To which size pictures are brought, and of which classes of a data set they are."""

    image_size: Pixels | None = None
    """Height and width to bring pictures to, in pixels; unset: as trained, or the network's own."""
    resize: Pixels | None = None
    """Shorter side of a picture before the centre is cut out, 256 on ImageNet; unset: the image size."""
    classes: str | None = None
    """Only these of a data set's classes, in this order: names or numbers joined by commas; unset: as trained, or
    all."""


@dataclass(frozen=True)
class PictureObjects:
    """Where the objects in pictures are."""

    masks: Path | None = None
    """Folder of masks, one for each picture, of its size and name, black where the object is not; auto: those that the
    data set brings."""
    boxes: Path | None = None
    """Likewise a JSON file of boxes, {"NAME": [x0, y0, x1, y1], ...} in pixels of the pictures, or auto."""

    @property
    def given(self) -> dict[str, Path]:
        """What is given by its flag."""
        both = {"--masks": self.masks, "--boxes": self.boxes}
        return {flag: path for flag, path in both.items() if path is not None}

    @property
    def by_name(self) -> str | None:
        """The first flag of what is found by the names of picture files; None where there is none."""
        return next((flag for flag, path in self.given.items() if path != OWN), None)

    def check_one(self) -> None:
        """Refuse both."""
        if len(self.given) > 1:
            raise InputError("--masks and --boxes: objects are where the one or the other says; leave one out")
