"""Training batches of another domain: shifted before they are cropped, the same however a batch is shared."""

import pytest
import torch

from apps.data.augment import Augmentation
from apps.data.batches import Batches
from apps.data.image_set import ImageSet
from apps.data.shift import parse_shift

AUGMENTATION = Augmentation(flip=True, padding=2)


def batches(shift, rank=0, world_size=1, seed=3):
    pixels = torch.randint(256, (30, 3, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    images = ImageSet("made-up", "train", pixels, torch.arange(30) % 3, tuple("abc"))
    shift = parse_shift(shift)
    return Batches(images, 8, seed, augmentation=AUGMENTATION, rank=rank, world_size=world_size, shift=shift)


@pytest.mark.parametrize("shift", ["photometric:0.6", "downsample:0.5", "downsample:0.5:small"])
def test_processes_and_parts_make_up_the_whole_batch(shift):
    for number in (0, 5):  # the latter reaches into the next epoch
        whole = batches(shift).at(number)
        parts = [batches(shift, rank, 2).at(number, micro, 2) for micro in range(2) for rank in range(2)]
        for name in ("images", "labels", "index", "view"):
            assert torch.equal(torch.cat([getattr(part, name) for part in parts]), getattr(whole, name)), name


def test_the_shift_comes_before_the_crop():
    """At half the pixels: repeated twice over, then moved, so the borders of pairs move as well."""
    found, plain = batches("downsample:0.5").at(2), batches("downsample:1").at(2)
    assert torch.equal(found.view, plain.view)
    images = batches("downsample:1").images.images[found.index]
    half = images[:, :, ::2, ::2].repeat_interleave(2, 2).repeat_interleave(2, 3)
    assert torch.equal(found.images, AUGMENTATION.apply(half, found.view))


def test_colours_are_drawn_anew_for_each_batch_and_by_the_seed():
    first = batches("photometric:0.6").at(0)
    assert torch.equal(first.images, batches("photometric:0.6").at(0).images)
    assert not torch.equal(first.images, batches("photometric:0").at(0).images)
    # the same image in another epoch: its colours are others
    place = {int(index): row for row, index in enumerate(first.index)}
    for number in range(4, 12):
        later = batches("photometric:0.6").at(number)
        for row, index in enumerate(later.index):
            if int(index) in place:
                one, other = first.images[place[int(index)]], later.images[row]
                assert not torch.equal(one.flatten().sort().values, other.flatten().sort().values)
