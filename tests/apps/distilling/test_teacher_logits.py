"""Cached logits are the teacher's own, within rounding, and are asked for once."""

import errno
import os

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
    assert logits.path.stat().st_size == logits.size == COUNT * 50 * (1 + 2 * CLASSES)
    # CIFAR-100: 50,000 images, 162 views, 100 classes
    assert 50_000 * 162 * (1 + 2 * 100) == 1_628_100_000


def test_damaged_files_and_full_disks_are_one_line(tmp_path, monkeypatch):
    logits = cache(tmp_path)
    with open(logits.path, "ab") as handle:
        handle.write(b"x")
    with pytest.raises(InputError, match=r"bytes, expected 15,000: remove it"):
        cache(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="is a file: expected a folder"):
        cache(tmp_path / "file")

    def full(*words):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(OSError, match="No space"):
        cache(tmp_path / "new")
