"""Sets of images: statistics, parts and their names."""

import numpy as np
import pytest
import torch

from apps.data.image_set import ImageSet, balanced_subset, channel_statistics, split_validation
from priors.errors import InputError


def images(count=50, shape=(3, 4, 5), seed=0):
    rng = np.random.default_rng(seed)
    pixels = torch.from_numpy(rng.integers(0, 256, (count, *shape), np.uint8))
    return ImageSet("noise", "train", pixels, torch.arange(count) % 5, tuple("abcde"))


def test_statistics_are_numpys():
    found = images(9000, (3, 2, 2))
    pixels = found.images.numpy().astype(np.float64) / 255
    mean, deviation = channel_statistics(found)
    np.testing.assert_allclose(mean, pixels.mean((0, 2, 3)), rtol=1e-13)
    np.testing.assert_allclose(deviation, pixels.std((0, 2, 3)), rtol=1e-12)


def test_a_constant_channel_can_be_normalised():
    flat = ImageSet("flat", "train", torch.full((4, 1, 2, 2), 51, dtype=torch.uint8), torch.zeros(4).long(), ("a",))
    assert channel_statistics(flat) == (pytest.approx((0.2,)), (1 / 255,))


def test_the_digest_is_of_the_content():
    found = images()
    assert found.digest == images().digest == found.to("cpu").digest and len(found.digest) == 16
    assert found.digest == ImageSet("other", "test", found.images.clone(), found.labels, found.class_names, "x").digest
    pixels, labels = found.images.clone(), found.labels.clone()
    pixels[30, 1, 2, 3] ^= 1
    labels[7] = 0
    others = [
        ImageSet("noise", "train", pixels, found.labels, found.class_names),
        ImageSet("noise", "train", found.images, labels, found.class_names),
        ImageSet("noise", "train", found.images, found.labels, tuple("abcdf")),
        ImageSet("noise", "train", found.images.reshape(50, 3, 5, 4), found.labels, found.class_names),
        found.subset(range(49)),
        images(seed=1),
    ]
    assert len({found.digest, *(other.digest for other in others)}) == 7


def test_validation_sets_are_parts_of_the_training_set():
    found = images()
    rest, aside = split_validation(found, 10, seed=3)
    again = split_validation(images(), 10, seed=3)
    assert (len(rest), len(aside)) == (40, 10)
    assert torch.equal(aside.images, again[1].images) and torch.equal(rest.labels, again[0].labels)
    assert not torch.equal(aside.images, split_validation(found, 10, seed=4)[1].images)
    both = torch.cat([rest.images, aside.images]).flatten(1).tolist()
    assert sorted(both) == sorted(found.images.flatten(1).tolist())
    # Labels stay with their images, and the order is kept.
    place = {tuple(row): i for i, row in enumerate(found.images.flatten(1).tolist())}
    for part in (rest, aside):
        places = [place[tuple(row)] for row in part.images.flatten(1).tolist()]
        assert places == sorted(places) and torch.equal(part.labels, found.labels[places])
    assert (rest.split, aside.split) == ("train-rest", "train-validation")


@pytest.mark.parametrize("count", [0, 50, -1])
def test_a_validation_set_that_leaves_nothing_is_refused(count):
    with pytest.raises(InputError, match=f"{count} of the 50 images of noise .* from 1 to 49"):
        split_validation(images(), count)


def test_subsets():
    found = images()
    part = found.subset([4, 4, 0], "three")
    assert torch.equal(part.images, found.images[[4, 4, 0]]) and part.labels.tolist() == [4, 4, 0]
    assert part.split == "three" and part.class_names == found.class_names and len(found.subset([])) == 0
    assert torch.equal(found.image(7), found.images[7])
    for wrong in ([50], [-1]):
        with pytest.raises(InputError, match="asked for in 50 images of noise"):
            found.subset(wrong)


@pytest.mark.parametrize(("count", "fewest", "most"), [(5, 1, 1), (13, 2, 3), (40, 8, 8), (50, 10, 10)])
def test_a_balanced_subset_has_as_many_of_each_class(count, fewest, most):
    found = images()
    part = balanced_subset(found, count, seed=3)
    counts = part.labels.bincount(minlength=5)
    assert len(part) == count and (int(counts.min()), int(counts.max())) == (fewest, most)
    assert part.split == f"train-{count}" and part.digest == balanced_subset(images(), count, seed=3).digest
    place = {tuple(row): i for i, row in enumerate(found.images.flatten(1).tolist())}
    places = [place[tuple(row)] for row in part.images.flatten(1).tolist()]
    assert places == sorted(set(places)) and torch.equal(part.labels, found.labels[places])
    if count < 50:
        assert balanced_subset(found, count, seed=4).digest != part.digest
        larger = {tuple(row) for row in balanced_subset(found, count + 4, seed=3).images.flatten(1).tolist()}
        assert {tuple(row) for row in part.images.flatten(1).tolist()} < larger


def test_where_a_class_runs_out_the_others_fill_a_balanced_subset():
    found = images(20)
    found = ImageSet("noise", "train", found.images, torch.tensor([0] * 12 + [1] * 6 + [2] * 2), tuple("abc"))
    assert balanced_subset(found, 14).labels.bincount().tolist() == [6, 6, 2]
    assert balanced_subset(found, 20).digest == found.digest


@pytest.mark.parametrize("count", [4, 51, -1])
def test_a_balanced_subset_that_cannot_be_is_refused(count):
    with pytest.raises(InputError, match=f"{count} of the 50 images of noise .* give a number from 5 to 50"):
        balanced_subset(images(), count)
