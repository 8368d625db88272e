"""Pack data sets and wheels into a folder that a machine without a network is given, and unpack them there.

    python tests/gpu/pack.py pack .gpu --data data     # needs penult's own packages and pip
    python3 tests/gpu/pack.py unpack .gpu --into /tmp/gpu     # needs NumPy, Pillow and pip

Images are packed as mosaics, in WebP without loss: so MNIST whole and a part of CIFAR-10 and CIFAR-100 take about
40 MiB. Unpacked, `data` holds an .npz a set, as $PENULT_DATA has them, and `site` the packages, for $PYTHONPATH.
"""

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from PIL import Image

SETS = {"mnist": (60_000, 10_000), "cifar10": (10_000, 2_000), "cifar100": (5_000, 1_000)}
"""By name, how many images are taken for training and for testing, the first ones."""
WHEELS = ("tyro", "docstring-parser", "typeguard", "beartype", "torch-fidelity")
"""Packages in Python alone that a machine with PyTorch often lacks."""
MOST = 60 * 2**20
"""Bytes that may be packed."""
_COLUMNS, _IN_ONE = 100, 10_000
"""Images a row of a mosaic, and in all of one: WebP takes 16,383 pixels a side."""


def mosaic(images: np.ndarray) -> Image.Image:
    """Images (n, channels, height, width) beside and below one another; what is left of the last row is black."""
    count, channels, height, width = images.shape
    rows = -(-count // _COLUMNS)
    cells = np.zeros((rows * _COLUMNS, height, width, channels), np.uint8)
    cells[:count] = images.transpose(0, 2, 3, 1)
    picture = cells.reshape(rows, _COLUMNS, height, width, channels).swapaxes(1, 2)
    picture = picture.reshape(rows * height, _COLUMNS * width, channels)
    return Image.fromarray(picture if channels == 3 else picture.repeat(3, 2))


def cut(picture: Image.Image, count: int, shape: tuple[int, int, int]) -> np.ndarray:
    """What `mosaic` was given, of a shape (channels, height, width)."""
    channels, height, width = shape
    pixels = np.asarray(picture.convert("RGB"))[..., :channels]
    cells = pixels.reshape(-1, height, _COLUMNS, width, channels).swapaxes(1, 2)
    return cells.reshape(-1, height, width, channels)[:count].transpose(0, 3, 1, 2)


def pack(into: Path, root: Path, sets: dict[str, tuple[int, int]] = SETS, wheels: tuple[str, ...] = WHEELS) -> int:
    """Write images, labels, wheels and the commit into a folder; how many bytes they take.

    Args:
        into: the folder, which is made.
        root: of the data sets; what is not there is downloaded.
        sets: see `SETS`.
        wheels: see `WHEELS`.
    """
    from apps.data.sources import load

    into.mkdir(parents=True, exist_ok=True)
    told, labels = {}, {}
    for name, counts in sets.items():
        for split, count in zip(("train", "test"), counts, strict=True):
            found = load(name, split, root=root)
            images = found.images[:count].numpy()
            for number, start in enumerate(range(0, len(images), _IN_ONE)):
                place = into / f"{name}-{split}-{number}.webp"
                mosaic(images[start : start + _IN_ONE]).save(place, "webp", lossless=True, quality=50, method=3)
            labels[f"{name}-{split}"] = found.labels[:count].numpy().astype(np.uint8)
            told.setdefault(name, {"shape": found.image_shape})[split] = len(images)
    np.savez_compressed(into / "labels.npz", **labels)
    (into / "pack.json").write_text(json.dumps({"commit": commit(), "sets": told}, indent=1) + "\n")
    if wheels:
        command = ("-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:", "--dest", into / "wheels")
        subprocess.run([sys.executable, *map(str, command), *wheels], check=True)
    return sum(path.stat().st_size for path in into.rglob("*") if path.is_file())


def unpack(packed: Path, into: Path) -> dict:
    """Write each set as `into`/data/NAME.npz, and install the wheels into `into`/site.

    Returns:
        What was packed: `commit`, and of the `sets` their shape and counts.
    """
    told = json.loads((packed / "pack.json").read_text())
    (into / "data").mkdir(parents=True, exist_ok=True)
    with np.load(packed / "labels.npz") as labels:
        for name, one in told["sets"].items():
            arrays = {}
            for split in ("train", "test"):
                arrays[f"x_{split}"] = _images(packed, f"{name}-{split}", one[split], one["shape"])
                arrays[f"y_{split}"] = labels[f"{name}-{split}"]
            np.savez(into / "data" / f"{name}.npz", **arrays)
    wheels = sorted(map(str, (packed / "wheels").glob("*.whl")))
    if wheels:
        command = ("-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--upgrade", "--target", into / "site")
        subprocess.run([sys.executable, *map(str, command), *wheels], check=True)
    return told


def _images(packed: Path, name: str, count: int, shape: tuple[int, int, int]) -> np.ndarray:
    """The images of a split, out of its mosaics."""
    counts = [min(_IN_ONE, count - start) for start in range(0, count, _IN_ONE)]
    pictures = (Image.open(packed / f"{name}-{number}.webp") for number in range(len(counts)))
    return np.concatenate([cut(picture, some, shape) for picture, some in zip(pictures, counts, strict=True)])


def commit() -> str:
    """Of the sources, with a + where files are changed; "unknown" where git does not say."""
    here = Path(__file__).parent
    said = []
    for words in (("rev-parse", "--short", "HEAD"), ("status", "--porcelain", "--untracked-files=no")):
        try:
            done = subprocess.run(["git", "-C", str(here), *words], capture_output=True, text=True, check=True)
        except (OSError, subprocess.CalledProcessError):
            return "unknown"
        said.append(done.stdout.strip())
    return said[0] + ("+" if said[1] else "")


def main() -> None:
    """Pack or unpack, and say what it came to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("pack", "unpack"))
    parser.add_argument("folder", type=Path, help="of what is packed")
    parser.add_argument("--data", type=Path, default=Path("data"), help="where the data sets are, to be packed")
    parser.add_argument("--into", type=Path, default=Path("/tmp/gpu"), help="where to unpack")
    parser.add_argument("--no-wheels", action="store_true", help="pack the images alone")
    given = parser.parse_args()
    began = time.perf_counter()
    if given.what == "unpack":
        unpack(given.folder, given.into)
        print(f"unpacked into {given.into} in {time.perf_counter() - began:.1f} s")
        return
    sys.path.insert(0, str(Path(__file__).parents[2]))
    size = pack(given.folder, given.data, wheels=() if given.no_wheels else WHEELS)
    print(f"{given.folder} has {size / 2**20:.1f} MiB, packed in {time.perf_counter() - began:.1f} s")
    if size > MOST:
        sys.exit(f"that is more than {MOST // 2**20} MiB: pack fewer images")


if __name__ == "__main__":
    main()
