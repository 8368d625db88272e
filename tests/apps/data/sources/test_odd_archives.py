"""Archives that are encrypted, packed in an unknown way or damaged inside, and what is none: one line each."""

import os
import zipfile

import numpy as np
import pytest

from apps.data.sources.npz import has_splits, read_npz, read_samples
from priors.errors import InputError


def archive(path, compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", compression) as file, file.open("x.npy", "w") as member:
        np.lib.format.write_array(member, np.zeros((64, 8, 8), np.uint8))
    return bytearray(path.read_bytes())


def encrypted(path):
    content = archive(path)
    content[6] |= 1
    content[content.rindex(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(content)


def unknown(path):
    content = archive(path)
    content[8] = content[content.rindex(b"PK\x01\x02") + 10] = 99
    path.write_bytes(content)


def damaged(compression):
    def damage(path):
        content = archive(path, compression)
        start = 30 + len("x.npy") + 20
        content[start : start + 12] = bytes(255 - byte for byte in content[start : start + 12])
        path.write_bytes(content)

    return damage


@pytest.mark.parametrize(
    "spoil",
    [encrypted, unknown, *(damaged(kind) for kind in (zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2, zipfile.ZIP_DEFLATED))],
    ids=["encrypted", "unknown", "lzma", "bzip2", "deflated"],
)
def test_odd_archives_are_one_line(tmp_path, spoil):
    path = tmp_path / "a.npz"
    spoil(path)
    with pytest.raises(InputError, match="a.npz"):
        read_samples(path)


def test_a_pipe_is_no_archive(tmp_path):
    os.mkfifo(tmp_path / "a.npz")
    for read in (read_samples, lambda path: read_npz(path, "train")):
        with pytest.raises(InputError, match="no data set at"):
            read(tmp_path / "a.npz")
    assert has_splits(tmp_path / "a.npz") is False
