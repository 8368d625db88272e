"""CUB-200-2011 in small: its folder, as Caltech lays it out, with pictures whose colours say where the bird is."""

from pathlib import Path

import numpy as np
from PIL import Image

CLASSES = ("001.Red_bird", "002.Blue_bird", "003.Long_bird")
COLOURS = ((220, 30, 30), (30, 30, 220), (30, 200, 40))
GROUND = (128, 128, 128)
BOXES = ((8, 6, 24, 16), (0, 4, 20, 30), (10, 12, 30, 12))
"""x, y, width and height, by class; the second one begins at the picture's edge."""
SIZES = ((48, 40), (40, 56), (60, 36))
"""Width and height, by class."""
EACH = (3, 2)
"""Training and test images of a class."""


def picture(label: int, number: int = 0, mode: str = "RGB") -> Image.Image:
    """A block of the class's colour in the box, with a white stripe down its left side, on grey."""
    (width, height), (x, y, wide, high) = SIZES[label], BOXES[label]
    pixels = np.full((height, width, 3), GROUND, np.uint8)
    pixels[y : y + high, x : x + wide] = np.minimum(np.array(COLOURS[label]) + 2 * number, 255)
    pixels[y : y + high, x : x + wide // 4] = 255
    return Image.fromarray(pixels).convert(mode)


def write_birds(folder: Path, masks: Path | None = None) -> Path:
    """The folder; the last class's pictures are grey files, of which one may be told by its level.

    Args:
        folder: of the set.
        masks: folder of segmentations; each is the upper half of its box.
    """
    lines: dict[str, list[str]] = {name: [] for name in ("images", "labels", "split", "boxes")}
    number = 0
    for label, name in enumerate(CLASSES):
        (folder / "images" / name).mkdir(parents=True)
        for at in range(sum(EACH)):
            number += 1
            path = f"{name}/bird_{number:04d}.jpg"
            picture(label, at, "L" if label == 2 else "RGB").save(folder / "images" / path, quality=100, subsampling=0)
            lines["images"].append(f"{number} {path}")
            lines["labels"].append(f"{number} {label + 1}")
            lines["split"].append(f"{number} {int(at < EACH[0])}")
            lines["boxes"].append(f"{number} {' '.join(f'{side:.1f}' for side in BOXES[label])}")
            if masks is not None:
                x, y, wide, high = BOXES[label]
                levels = np.zeros(SIZES[label][::-1], np.uint8)
                levels[y : y + high // 2, x : x + wide] = 204
                levels[y + high // 2 : y + high, x : x + wide] = 51  # one of five people saw a bird there
                (masks / name).mkdir(parents=True, exist_ok=True)
                Image.fromarray(levels).save(masks / path.replace(".jpg", ".png"))
    lines["classes"] = [f"{at} {name}" for at, name in enumerate(CLASSES, 1)]
    for what, name in FILES.items():
        (folder / name).write_text("\n".join(lines[what]) + "\n")
    return folder


FILES = {
    "images": "images.txt",
    "classes": "classes.txt",
    "labels": "image_class_labels.txt",
    "split": "train_test_split.txt",
    "boxes": "bounding_boxes.txt",
}


def lines_of(folder: Path, name: str) -> dict[int, list[str]]:
    """A file as anyone would read it: fields by number."""
    return {int(line.split()[0]): line.split()[1:] for line in (folder / name).read_text().splitlines()}
