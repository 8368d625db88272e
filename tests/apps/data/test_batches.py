"""The training stream: what it visits, that it can be entered anywhere, and that processes cut it into slices."""

import pytest
import torch

from apps.data.augment import Augmentation
from apps.data.batches import Batches, ordered
from apps.data.image_set import ImageSet
from apps.seeds import generator
from priors.errors import InputError

AUGMENTATION = Augmentation(flip=True, padding=1)


def images(count=10):
    """Every pixel of image i is i, its label i % 3."""
    pixels = torch.arange(count, dtype=torch.uint8)[:, None, None, None].expand(count, 1, 3, 3).clone()
    return ImageSet("numbers", "train", pixels, torch.arange(count) % 3, tuple("abc"))


def same(a, b):
    return a.number == b.number and all(
        torch.equal(getattr(a, name), getattr(b, name)) for name in ("images", "labels", "index", "view")
    )


def test_an_epoch_visits_each_image_once():
    batches = Batches(images(), 4, seed=0)
    visited = torch.cat([batches.at(i).index for i in range(10)])  # 40 places, 4 epochs; batches 2 and 7 straddle two
    assert all(len(batches.at(i)) == 4 for i in range(10))
    epochs = visited.reshape(4, 10)
    assert all(sorted(epoch.tolist()) == list(range(10)) for epoch in epochs)
    assert len({tuple(epoch.tolist()) for epoch in epochs}) == 4


def test_orders_are_the_streams_that_the_seed_names():
    visited = torch.cat([Batches(images(), 5, seed=7).at(i).index for i in range(4)])
    expected = [torch.randperm(10, generator=generator("cpu", 7, "order", epoch)) for epoch in (0, 1)]
    assert torch.equal(visited, torch.cat(expected))


def test_a_batch_holds_what_its_index_says():
    found = images()
    for batch in (Batches(found, 4, seed=1).at(2), *ordered(found, 4)):
        assert batch.images.dtype == torch.float32 and batch.images.shape == (len(batch), 1, 3, 3)
        assert torch.equal(batch.images[:, 0, 0, 0], batch.index.float() / 255)
        assert torch.equal(batch.labels, batch.index % 3) and batch.labels.dtype == torch.int64
        assert batch.view.tolist() == [0] * len(batch)


def test_views_are_applied_and_told():
    found = images()
    found = ImageSet(
        "noise", "train", torch.randint(0, 256, (10, 3, 6, 6), dtype=torch.uint8), found.labels, tuple("abc")
    )
    batches = Batches(found, 4, seed=0, augmentation=AUGMENTATION)
    views = set()
    for i in range(30):
        batch = batches.at(i)
        assert torch.equal(batch.images, AUGMENTATION.apply(found.images[batch.index], batch.view))
        views |= set(batch.view.tolist())
    assert views == set(range(18))


@pytest.mark.parametrize("augmentation", [None, AUGMENTATION])
def test_any_batch_at_any_time(augmentation):
    straight = Batches(images(), 4, seed=3, augmentation=augmentation)
    stream = [straight.at(i) for i in range(25)]
    jumping = Batches(images(), 4, seed=3, augmentation=augmentation)
    for i in (24, 3, 3, 17, 0, 9):
        assert same(jumping.at(i), stream[i])
        assert len(jumping.order._epochs) <= 2
    other = Batches(images(), 4, seed=4, augmentation=augmentation)
    assert not all(torch.equal(other.at(i).index, stream[i].index) for i in range(5))


def test_a_batch_larger_than_the_set():
    batches = Batches(images(), 24, seed=0)
    visited = torch.cat([batches.at(i).index for i in range(5)]).reshape(12, 10)
    assert all(sorted(epoch.tolist()) == list(range(10)) for epoch in visited)


@pytest.mark.parametrize(("world", "accumulate"), [(1, 1), (2, 1), (1, 3), (2, 2), (3, 4)])
def test_slices_make_up_the_global_batch(world, accumulate):
    found = images(31)
    whole = Batches(found, 24, seed=5, augmentation=AUGMENTATION)
    ranks = [
        Batches(found, 24, seed=5, augmentation=AUGMENTATION, rank=rank, world_size=world) for rank in range(world)
    ]
    for i in (0, 1, 2, 7):
        parts = [ranks[rank].at(i, micro, accumulate) for micro in range(accumulate) for rank in range(world)]
        assert all(len(part) == 24 // (world * accumulate) for part in parts)
        batch = whole.at(i)
        for name in ("images", "labels", "index", "view"):
            assert torch.equal(torch.cat([getattr(part, name) for part in parts]), getattr(batch, name))


def test_channels_last():
    found = ImageSet("noise", "train", torch.zeros(8, 3, 6, 6, dtype=torch.uint8), torch.zeros(8).long(), ("a",))
    for augmentation in (None, AUGMENTATION):
        batch = Batches(found, 4, seed=0, augmentation=augmentation, channels_last=True).at(0)
        assert batch.images.is_contiguous(memory_format=torch.channels_last) and not batch.images.is_contiguous()
    assert next(ordered(found, 4, channels_last=True)).images.is_contiguous(memory_format=torch.channels_last)


def test_in_order():
    found = images()
    batches = list(ordered(found, 4))
    assert [len(batch) for batch in batches] == [4, 4, 2] and [batch.number for batch in batches] == [0, 1, 2]
    assert torch.cat([batch.index for batch in batches]).tolist() == list(range(10))
    assert [batch.index.tolist() for batch in ordered(found, 4, numbers=[2, 0])] == [[8, 9], [0, 1, 2, 3]]
    batches[0].images.fill_(9)
    assert found.images.max() == 9  # the set itself is not written to: its largest pixel is still that of image 9


def test_batch_sizes_that_cannot_be():
    with pytest.raises(InputError, match="batch size 9 given for 2 process.* multiple of 2"):
        Batches(images(), 9, seed=0, world_size=2)
    with pytest.raises(InputError, match="batch size 0 .* positive multiple of 1"):
        Batches(images(), 0, seed=0)
    batches = Batches(images(), 8, seed=0, world_size=2)
    with pytest.raises(InputError, match="and 3 accumulated .* multiple of 6"):
        batches.at(0, 0, 3)
    for place in ((0, 2, 2), (-1,), (0, -1, 2)):
        with pytest.raises(InputError, match="no such batch"):
            batches.at(*place)
    with pytest.raises(InputError, match="rank 2 of 2 processes"):
        Batches(images(), 8, seed=0, rank=2, world_size=2)
    with pytest.raises(InputError, match="holds no images"):
        Batches(images().subset([]), 8, seed=0)
    with pytest.raises(InputError, match="batch size -1"):
        ordered(images(), -1)


@pytest.mark.gpu
@pytest.mark.parametrize("fill", [(0.0,), (0.2, 0.5, 0.8)])
def test_on_a_gpu_nothing_waits_and_nothing_differs(fill, no_waits):
    pixels = torch.randint(0, 256, (100, 3, 32, 32), generator=torch.manual_seed(0), dtype=torch.uint8)
    found = ImageSet("noise", "train", pixels, torch.arange(100) % 3, tuple("abc"))
    augmentation = Augmentation(flip=True, padding=4, fill=fill)
    here = Batches(found, 16, seed=0, augmentation=augmentation)
    there = Batches(found, 16, seed=0, augmentation=augmentation, device="cuda", channels_last=True)
    there.at(0)
    with no_waits():
        batches = [there.at(i) for i in range(1, 20)]  # three epochs begin among these
    for i, batch in enumerate(batches, 1):
        expected = here.at(i)
        for name in ("images", "labels", "index", "view"):
            assert torch.equal(getattr(batch, name).cpu(), getattr(expected, name))
        assert all(map(torch.equal, batch.on_cpu(), (expected.index, expected.view)))
