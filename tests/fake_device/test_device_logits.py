"""Cached logits on a GPU are the teacher's own, within rounding; no step waits for one or for the file."""

import fake_cuda
import numpy as np
import pytest
import torch
from device_log import AHEAD, BEHIND
from torch import nn

from apps.data.augment import Augmentation
from apps.data.batches import Batches
from apps.data.image_set import ImageSet
from apps.distilling.device_logits import DeviceLogits
from apps.distilling.teacher_logits import TeacherLogits
from priors.errors import InputError

COUNT, CLASSES, BATCH = 20, 7, 8
AUGMENTATION = Augmentation(flip=True, padding=0)
SEEN_ALL = 40
"""Batches after which, with this seed, each image has been in both its views."""


class Teacher(nn.Module):
    """Keeps the sizes of the batches that it is shown."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.Linear(3 * 6 * 6, CLASSES)
        self.sizes = []

    def forward(self, images):
        self.sizes.append(len(images))
        return 10 * self.layer(images.flatten(1))


def batches(device):
    pixels = torch.randint(256, (COUNT, 3, 6, 6), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    images = ImageSet("made-up", "train", pixels, torch.arange(COUNT) % CLASSES, tuple("abcdefg"))
    return Batches(images, BATCH, 0, augmentation=AUGMENTATION, device=device)


def file(folder):
    return TeacherLogits(folder, {"teacher": "a"}, COUNT, AUGMENTATION.views, CLASSES)


def agree_on(device, folder):
    """Whether all batches get the teacher's logits; what is kept of them, and the sizes that the teacher was shown."""
    stream, teacher = batches(device), Teacher().to(device)
    kept = file(folder)
    logits = DeviceLogits(kept, torch.device(device))
    for number in range(SEEN_ALL):
        batch = stream.at(number)
        found, exact = logits(teacher, batch), 10 * teacher.layer(batch.images.flatten(1))
        assert found.dtype == torch.float32 and found.device == exact.device
        np.testing.assert_allclose(found.tolist(), exact.tolist(), rtol=2**-10, atol=1e-3)
    logits.settle()
    assert kept.filled() == 1
    return logits, stream, teacher


@pytest.mark.gpu
@torch.no_grad()
def test_logits_on_a_gpu_are_the_teachers(tmp_path, no_waits):
    logits, stream, teacher = agree_on("cuda", tmp_path)
    batch, before = stream.at(3), len(teacher.sizes)
    logits(teacher, batch)
    torch.cuda.synchronize()
    with no_waits():
        found = logits(teacher, stream.at(4))
    assert len(teacher.sizes) == before
    here = batches("cpu").at(4)
    assert torch.equal(found.cpu(), file(tmp_path)(None, here))


@pytest.fixture(params=["held on the device", "brought in each batch"])
def room(request, monkeypatch):
    """How much memory is free on the device: enough for the table, or not."""
    held = request.param.startswith("held")
    table = 2 * COUNT * AUGMENTATION.views * CLASSES
    # a fake device has its own answer, which it puts in place when it begins
    monkeypatch.setattr("apps.distilling.device_logits.available_bytes", lambda device: 4 * table - (not held))
    return held


@torch.no_grad()
def test_logits_are_the_teachers_and_the_file_has_them_in_the_end(fake, room, tmp_path):
    with fake as log:
        logits, stream, teacher = agree_on("cuda", tmp_path)
        assert logits.held == room
        sizes, log.found = list(teacher.sizes), log.found.__class__()
        for number in range(SEEN_ALL):
            logits(teacher, stream.at(number))
        assert teacher.sizes == sizes, "all were asked for before"
        steps = [line for line in log.kinds(AHEAD) if "device_logits" in line]
        assert (steps == []) == room, "nothing is brought but where there is no table"
    assert set(sizes) <= {BATCH // 4, BATCH // 2, 3 * BATCH // 4, BATCH}
    kept = file(tmp_path)
    for number in range(SEEN_ALL):
        batch = batches("cpu").at(number)
        exact = 10 * Teacher().layer(batch.images.flatten(1))
        torch.testing.assert_close(kept(None, batch), exact, rtol=2**-10, atol=1e-3)


@torch.no_grad()
def test_no_step_waits_or_copies_but_for_what_nobody_waits_for(fake, room, tmp_path):
    with fake as log:
        stream, teacher = batches("cuda"), Teacher().to("cuda")
        logits = DeviceLogits(file(tmp_path), fake_cuda.DEVICE)
        asked = []
        for number in range(SEEN_ALL):
            batch, before = stream.at(number), len(teacher.sizes)
            assert all(map(torch.equal, batch.on_cpu(), (batch.index.cpu(), batch.view.cpu())))
            log.clear()
            logits(teacher, batch)
            asked.append(len(teacher.sizes) - before)
            assert log.offences == [], "an event that has arrived is no wait"
            assert len(log.kinds(BEHIND)) == asked[-1]
        assert asked[0] == 1 and 0 in asked and sum(asked) < SEEN_ALL


@torch.no_grad()
def test_what_the_file_has_is_not_asked_for_again(fake, room, tmp_path):
    with torch.no_grad():
        expected = [file(tmp_path)(Teacher(), batches("cpu").at(number)) for number in range(3)]
    with fake:
        stream, logits = batches("cuda"), DeviceLogits(file(tmp_path), fake_cuda.DEVICE)
        found = [logits(None, stream.at(number)).cpu() for number in range(3)]
    assert all(map(torch.equal, found, expected))


@torch.no_grad()
def test_logits_that_are_not_finite_end_the_training_when_they_arrive(fake, tmp_path):
    with fake:
        stream, logits = batches("cuda"), DeviceLogits(file(tmp_path), fake_cuda.DEVICE)
        logits(lambda images: torch.full((len(images), CLASSES), 7e4, device="cuda"), stream.at(0))
        with pytest.raises(InputError, match="65,504"):
            logits.settle()
    assert file(tmp_path).filled() == 0
