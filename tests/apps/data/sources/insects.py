"""Noise in three classes of insects, in two splits, and shards of it."""

import io
import tarfile
from pathlib import Path

import numpy as np
from PIL import Image

NAMES = ("ant", "bee", "cat")
COUNTS = {"train": 14, "test": 5}


def pixels(split: str, channels: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Noise of 6x5 pixels in three classes."""
    rng = np.random.default_rng(COUNTS[split])
    shape = (COUNTS[split], 6, 5, 3) if channels == 3 else (COUNTS[split], 6, 5)
    return rng.integers(0, 256, shape, np.uint8), np.arange(COUNTS[split]) % 3


def encoded(array: np.ndarray, kind: str = "PNG") -> bytes:
    file = io.BytesIO()
    Image.fromarray(array).save(file, kind)
    return file.getvalue()


def write_shards(folder: Path, each: int = 4, names: bool = True, places: str = "{split}-{number:03d}.tar") -> Path:
    for split in COUNTS:
        images, labels = pixels(split)
        for start in range(0, len(labels), each):
            path = folder / places.format(split=split, number=start // each)
            path.parent.mkdir(parents=True, exist_ok=True)
            with tarfile.open(path, "w") as shard:
                for number in range(start, min(start + each, len(labels))):
                    add(shard, f"{number:05d}.png", encoded(images[number]))
                    add(shard, f"{number:05d}.cls", str(labels[number]).encode())
    if names:
        (folder / "classes.txt").write_text("\n".join(NAMES))
    return folder


def add(shard: tarfile.TarFile, name: str, data: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    shard.addfile(info, io.BytesIO(data))
