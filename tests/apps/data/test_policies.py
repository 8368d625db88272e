"""Policies on a batch against torchvision's own transforms, image by image; the same on every process and again."""

import pytest
import torch
from torchvision.transforms import v2

from apps.data.augment import Augmentation
from apps.data.augment_words import POLICIES, augment_words
from apps.data.augmenting import augmentation_by
from apps.data.batches import Batches
from apps.data.image_set import ImageSet
from apps.data.policies import Policy, acted, told
from apps.data.resized_crop import ResizedCrop
from apps.data.sources.catalogue import augmenting
from priors.errors import InputError

TRANSFORMS = {
    "autoaugment": v2.AutoAugment(),
    "autoaugment-cifar10": v2.AutoAugment(v2.AutoAugmentPolicy.CIFAR10),
    "autoaugment-svhn": v2.AutoAugment(v2.AutoAugmentPolicy.SVHN),
    "randaugment": v2.RandAugment(),
    "trivial": v2.TrivialAugmentWide(),
}


def noise(count=48, channels=3, split="train"):
    pixels = torch.randint(0, 256, (count, channels, 9, 8), generator=torch.manual_seed(1), dtype=torch.uint8)
    return ImageSet("noise", split, pixels, torch.arange(count) % 3, tuple("abc"))


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", POLICIES)
def test_a_batch_gets_what_torchvision_gives_its_images_one_by_one(name, channels):
    images, seeds = noise(channels=channels).images, [3 * number + 1 for number in range(48)]
    state = torch.get_rng_state()
    drawn = told(name, seeds, tuple(images.shape[1:]))
    assert torch.equal(torch.get_rng_state(), state)
    ours = acted(images, drawn, name)
    for number, seed in enumerate(seeds):
        torch.manual_seed(seed)
        assert torch.equal(ours[number], TRANSFORMS[name](images[number])), (name, drawn[number])
    assert len({str(one) for one in drawn}) > 10 and not torch.equal(ours, images)
    torch.set_rng_state(state)


def test_moves_come_first_and_are_drawn_of_the_same_view():
    images = noise()
    for moves in (Augmentation(flip=True, padding=2), ResizedCrop(flip=True), Augmentation()):
        policy = Policy(moves, "trivial")
        view = policy.draw(48, torch.Generator().manual_seed(0))
        assert int(view.min()) >= 0 and len(view.unique()) == 48
        moved = policy.moved(view)
        if not isinstance(moves, ResizedCrop):
            assert 0 <= int(moved.min()) and int(moved.max()) < moves.views
        levels = moves.apply(images.images, moved).mul(255).round().to(torch.uint8)
        shown = policy.apply(images.images, view)
        assert shown.dtype == torch.float32 and 0 <= shown.min() and shown.max() <= 1
        once = policy.apply(images.images[5:6], view[5:6])
        assert torch.equal(once[0], shown[5]), "an image's view says all, whatever the batch"
        assert torch.equal(shown.mul(255).round().to(torch.uint8)[0], _by_hand(policy, levels[0], view[0]))


def _by_hand(policy, levels, view):
    from apps.data.resized_crop import DRAWS, uniform

    torch.manual_seed(int(uniform(view[None], 1, start=DRAWS + 1)[0, 0] * 2**53))
    return TRANSFORMS[policy.name](levels)


def test_views_of_moves_are_uniform():
    """A chi-squared test over 162 views at 16,200 draws, at 1e-3, with a fixed seed."""
    from scipy import stats

    policy = Policy(Augmentation(flip=True, padding=4), "trivial")
    moved = policy.moved(policy.draw(16_200, torch.Generator().manual_seed(0)))
    assert stats.chisquare(moved.bincount(minlength=162).numpy()).pvalue > 1e-3


def test_parts_and_processes_of_a_batch_get_what_the_whole_does():
    images = noise()
    policy = augmentation_by("crop+flip+randaugment", images, "black")
    assert policy == Policy(Augmentation(flip=True, padding=4), "randaugment")
    whole = Batches(images, 12, 7, augmentation=policy)
    for number in (5, 0, 2):  # as after a resumption
        parts = []
        for micro in range(2):
            for rank in range(3):
                each = Batches(images, 12, 7, augmentation=policy, rank=rank, world_size=3, neighbours=True)
                parts.append(each.at(number, micro, 2))
        expected = whole.at(number)
        assert torch.equal(torch.cat([part.images for part in parts]), expected.images)
        shown, labels = expected.before()
        assert torch.equal(torch.cat([part.before()[0] for part in parts]), shown)
        assert torch.equal(torch.cat([part.before()[1] for part in parts]), labels)
        assert torch.equal(shown, expected.images.roll(1, 0))


def test_words_and_what_is_usual():
    assert augment_words("cutmix+trivial+flip").moves == "flip"
    assert augment_words("randaugment") == augment_words("none+randaugment")
    assert augmenting("auto", "cifar10") == "crop+flip" and augmenting("auto", "digits") == "none"
    assert augmenting("auto+trivial", "cifar10") == "crop+flip+trivial"
    assert augmenting("auto+trivial", "digits") == "trivial" and augmenting("flip", "cifar10") == "flip"
    for text, said in {
        "randaugmnet": "did you mean 'randaugment'",
        "flip+flip": "a word is there twice",
        "auto+flip": "auto beside flip",
        "none+crop": "none beside crop",
        "crop+resized-crop": "both are crops",
        "trivial+randaugment": "two policies",
        "": "unknown augmentation ''",
    }.items():
        with pytest.raises(InputError, match=said):
            augment_words(text)


def test_flags_that_mix_twice_are_refused(penult):
    said = penult("train", "classifier", "--augment", "cutmix", "--mixup", 0.2)
    assert said.status == 2 and "mixes by cutmix; add mixup to it, or leave one out" in said.err
    said = penult("train", "classifier", "--augment", "randaugmnet")
    assert said.status == 2 and "did you mean 'randaugment'" in said.err
    said = penult("distill", "ce", "--augment", "mixpu")
    assert said.status == 2 and "did you mean 'mixup'" in said.err
