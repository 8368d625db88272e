"""Cached logits are the teacher's own, within rounding, and are asked for once."""

import errno
import fcntl
import hashlib
import json
import os

import numpy as np
import pytest
import torch
from torch import nn

from apps.data.augment import Augmentation
from apps.data.batches import Batches
from apps.data.image_set import ImageSet
from apps.distilling.teacher_logits import TeacherLogits
from priors.errors import InputError

COUNT, CLASSES = 20, 7
AUGMENTATION = Augmentation(flip=True, padding=2)


class Teacher(nn.Module):
    """Counts the images it is shown."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.Linear(3 * 6 * 6, CLASSES)
        self.seen = 0

    def forward(self, images):
        self.seen += len(images)
        return 10 * self.layer(images.flatten(1))


def batches(seed=0):
    pixels = torch.randint(256, (COUNT, 3, 6, 6), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    images = ImageSet("made-up", "train", pixels, torch.arange(COUNT) % CLASSES, tuple("abcdefg"))
    return Batches(images, 8, seed, augmentation=AUGMENTATION)


def cache(folder, **key):
    return TeacherLogits(folder, {"teacher": "a"} | key, COUNT, AUGMENTATION.views, CLASSES)


def test_logits_are_the_teachers_and_each_view_is_asked_for_once(tmp_path):
    teacher, logits, seen = Teacher(), cache(tmp_path), set()
    for number in range(60):
        batch = batches().at(number)
        with torch.no_grad():
            found, exact = logits(teacher, batch), 10 * teacher.layer(batch.images.flatten(1))
        assert found.dtype == torch.float32
        torch.testing.assert_close(found, exact, rtol=2**-10, atol=1e-3)
        seen |= {(int(i), int(v)) for i, v in zip(batch.index, batch.view, strict=True)}
        assert teacher.seen == len(seen)
    assert logits.filled() == pytest.approx(len(seen) / (COUNT * AUGMENTATION.views))


def test_another_run_goes_on_with_them_and_another_teacher_does_not(tmp_path):
    first, second, other = Teacher(), Teacher(), Teacher()
    batch = batches().at(3)
    with torch.no_grad():
        before = cache(tmp_path)(first, batch)
        after = cache(tmp_path)(second, batch)
        cache(tmp_path, teacher="b")(other, batch)
    assert torch.equal(before, after) and (first.seen, second.seen, other.seen) == (8, 0, 8)


def test_its_size_is_what_it_says(tmp_path):
    logits = cache(tmp_path)
    assert logits.path.stat().st_size == logits.size == COUNT * 50 * (4 + 2 * CLASSES)
    # CIFAR-100: 50,000 images, 162 views, 100 classes
    assert 50_000 * 162 * (4 + 2 * 100) == 1_652_400_000


def flip(path, offset):
    """The exponent's highest bit, which a number below 2 has not set."""
    with open(path, "r+b") as file:
        file.seek(offset)
        byte = file.read(1)[0]
        file.seek(offset)
        file.write(bytes([byte ^ 64]))


@pytest.mark.parametrize("what", ["logit", "checksum", "row that was never filled in"])
def test_a_damaged_row_is_asked_for_again(tmp_path, capsys, what):
    """One exponent bit changed the student's training without a word."""
    teacher, batch = Teacher(), batches().at(3)
    with torch.no_grad():
        expected = cache(tmp_path)(teacher, batch)
    logits = cache(tmp_path)
    row = int(batch.index[2] * AUGMENTATION.views + batch.view[2])
    rows = COUNT * AUGMENTATION.views
    if what.startswith("row"):
        logits._logits[row], logits._checksums[row] = 0, 0
        flip(logits.path, 4 * row)
    else:
        flip(logits.path, 4 * row if what == "checksum" else 4 * rows + row * 2 * CLASSES + 5)
    capsys.readouterr()
    with torch.no_grad():
        assert torch.equal(cache(tmp_path)(teacher, batch), expected)
        said = capsys.readouterr().out
        assert teacher.seen == len(batch) + 1 and torch.equal(cache(tmp_path)(teacher, batch), expected)
    assert teacher.seen == len(batch) + 1, "it was mended"
    assert f"{logits.path} is damaged: 1 row of a batch is asked" in said and said.count("\n") == 1
    assert capsys.readouterr().out == ""


def test_rows_that_another_process_fills_in_meanwhile_are_not_damaged(tmp_path, capsys, monkeypatch):
    """Between the two looks of one process at a row, its logits and its checksum, another writes both."""
    teacher, batch, logits = Teacher(), batches().at(3), cache(tmp_path)
    other, looks = cache(tmp_path), []

    class Watched(np.ndarray):
        def __getitem__(self, rows):
            found = super().__getitem__(rows)
            looks.append(rows)
            if len(looks) == 1:
                other(Teacher(), batch)
            return found

    for name in ("_checksums", "_logits"):
        monkeypatch.setattr(logits, name, getattr(logits, name).view(Watched))
    with torch.no_grad():
        found = logits(teacher, batch)
    assert len(looks) > 1 and capsys.readouterr().out == ""
    with torch.no_grad():
        assert torch.equal(found, cache(tmp_path)(Teacher(), batch))


def test_what_another_process_fills_in_first_stays(tmp_path, capsys):
    """Networks differ in their last digits by the size of a batch: two writers left logits with others' checksums."""
    first, second, batch = cache(tmp_path), cache(tmp_path), batches().at(3)

    def slow(images):
        with torch.no_grad():
            second(Teacher(), batch)
        return torch.ones(len(images), CLASSES)

    found = first(slow, batch)
    with torch.no_grad():
        assert torch.equal(found, second(Teacher(), batch)) and not torch.equal(found, torch.ones_like(found))
    assert capsys.readouterr().out == ""


def test_one_process_writes_rows_at_a_time(tmp_path, monkeypatch):
    logits, tried = cache(tmp_path), []

    class Watched(np.ndarray):
        def __setitem__(self, rows, values):
            if self is logits._logits or self is logits._checksums:  # and no copy of theirs
                tried.append(rows)
                with open(logits.path, "rb") as other, pytest.raises(BlockingIOError):
                    fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
            super().__setitem__(rows, values)

    for name in ("_checksums", "_logits"):
        monkeypatch.setattr(logits, name, getattr(logits, name).view(Watched))
    with torch.no_grad():
        logits(Teacher(), batches().at(3))
    assert len(tried) == 2
    with open(logits.path, "rb") as other:
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)  # and gives the lock back


def test_rows_that_changed_places_are_asked_for_again(tmp_path):
    teacher, batch = Teacher(), batches().at(3)
    with torch.no_grad():
        expected, logits = cache(tmp_path)(teacher, batch), cache(tmp_path)
        rows = (batch.index * AUGMENTATION.views + batch.view)[:2].numpy()
        logits._logits[rows], logits._checksums[rows] = logits._logits[rows[::-1]], logits._checksums[rows[::-1]]
        assert torch.equal(logits(teacher, batch), expected) and teacher.seen == len(batch) + 2


def test_a_file_of_before_is_taken_over_once(tmp_path, capsys):
    """Its first bytes are 1 where a row is filled in, and there are no checksums; a row of infinities is left out."""
    teacher, batch, rows = Teacher(), batches().at(3), COUNT * AUGMENTATION.views
    key = {"teacher": "a", "images": COUNT, "views": AUGMENTATION.views, "classes": CLASSES}
    name = hashlib.blake2b(json.dumps(key, sort_keys=True).encode(), digest_size=8).hexdigest()
    own = (batch.index * AUGMENTATION.views + batch.view).numpy()
    filled, logits = np.zeros(rows, np.uint8), np.zeros((rows, CLASSES), np.float16)
    logits[own], filled[own] = np.arange(8 * CLASSES).reshape(8, CLASSES), 1
    logits[own[5], 2] = np.inf
    (tmp_path / f"logits-{name}.bin").write_bytes(filled.tobytes() + logits.tobytes())
    (tmp_path / f"logits-{name}.json").write_text(json.dumps(key))
    with torch.no_grad():
        found = cache(tmp_path)(teacher, batch)
    assert teacher.seen == 1 and found.isfinite().all()
    whole = torch.arange(8) != 5
    assert torch.equal(found[whole], torch.arange(8.0 * CLASSES).reshape(8, CLASSES)[whole])
    assert f"logits-{name}.bin has no checksums" in capsys.readouterr().out
    assert not list(tmp_path.glob(f"*{name}*"))
    cache(tmp_path)
    assert capsys.readouterr().out == ""


def test_logits_that_float16_cannot_hold_are_refused(tmp_path):
    def beyond(images):
        return torch.full((len(images), CLASSES), 7e4)

    with pytest.raises(InputError, match="beyond 65,504, which float16 cannot keep"):
        cache(tmp_path)(beyond, batches().at(0))


def test_damaged_files_and_full_disks_are_one_line(tmp_path, monkeypatch):
    logits = cache(tmp_path)
    with open(logits.path, "ab") as handle:
        handle.write(b"x")
    with pytest.raises(InputError, match=r"bytes, expected 18,000: remove it"):
        cache(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="is a file: expected a folder"):
        cache(tmp_path / "file")

    def full(*words):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(OSError, match="No space"):
        cache(tmp_path / "new")


@pytest.mark.parametrize(
    ("put", "said"),
    [
        (os.mkfifo, "not a named pipe"),
        (lambda path: path.symlink_to("/dev/zero"), "not a device"),
    ],
    ids=["a pipe", "a device"],
)
def test_what_is_no_file_is_refused_in_its_place(tmp_path, put, said):
    path = cache(tmp_path).path
    path.unlink()
    put(path)
    with pytest.raises(InputError, match=said):
        cache(tmp_path)
