"""Differentiable augmentation against slow loops over images."""

import pytest
import torch

from apps.generators.diff_augment import POLICIES, augment
from priors.errors import InputError


def images(count=64):
    return torch.rand(count, 3, 16, 12, generator=torch.Generator().manual_seed(0)) * 2 - 1


def test_translations_are_whole_pixels_up_to_an_eighth():
    x = images()
    y = augment(x, ("translation",), torch.Generator().manual_seed(1))
    found = set()
    for before, after in zip(x, y, strict=True):
        matches = []
        for down in range(-2, 3):
            for right in range(-2, 3):
                moved = torch.zeros_like(before)
                for row in range(16):
                    for column in range(12):
                        if 0 <= row - down < 16 and 0 <= column - right < 12:
                            moved[:, row, column] = before[:, row - down, column - right]
                matches += [(down, right)] if torch.equal(moved, after) else []
        assert len(matches) == 1
        found.add(matches[0])
    assert {down for down, _ in found} == {-2, -1, 0, 1, 2} == {right for _, right in found}


def test_cutout_is_a_rectangle_of_half_of_each_side():
    y = augment(images().abs() + 1, ("cutout",), torch.Generator().manual_seed(1))
    whole = 0
    for image in y:
        gone = (image == 0).all(0)
        assert torch.equal(gone, (image == 0).any(0))
        rows, columns = gone.any(1), gone.any(0)
        assert torch.equal(gone, rows[:, None] & columns)
        assert 4 <= rows.sum() <= 8 and 3 <= columns.sum() <= 6  # centred within the image, so at least half stays in
        for side in (rows, columns):
            first, last = side.nonzero()[0], side.nonzero()[-1]
            assert side[first : last + 1].all()
        whole += int(rows.sum() == 8 and columns.sum() == 6)
    assert whole > 0


def test_colour_is_brightness_then_saturation_then_contrast():
    x = images(3)
    stream = torch.Generator().manual_seed(2)
    y = augment(x, ("colour",), stream)
    draws = torch.rand((3, 3, 1, 1, 1), generator=torch.Generator().manual_seed(2))
    for number in range(3):
        brightness, saturation, contrast = (float(draws[which, number]) for which in range(3))
        image = x[number] + brightness - 0.5
        grey = image.mean(0)
        image = torch.stack([grey + 2 * saturation * (channel - grey) for channel in image])
        image = image.mean() + (contrast + 0.5) * (image - image.mean())
        torch.testing.assert_close(y[number], image, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("policy", POLICIES)
def test_gradients_pass_and_the_seed_decides(policy):
    x = images(4).double().requires_grad_()
    seeds = [augment(x, (policy,), torch.Generator().manual_seed(seed)) for seed in (0, 0, 1)]
    assert torch.equal(seeds[0], seeds[1]) and not torch.equal(seeds[0], seeds[2])

    def scalar(values):
        return augment(values, (policy,), torch.Generator().manual_seed(0)).square().sum()

    (slope,) = torch.autograd.grad(scalar(x), x)
    step = torch.randn(x.shape, generator=torch.Generator().manual_seed(3)).double() * 1e-6
    with torch.no_grad():
        difference = (scalar(x + step) - scalar(x - step)) / 2
    assert float((slope * step).sum()) == pytest.approx(float(difference), rel=1e-4)


def test_an_unknown_policy_is_refused_with_the_nearest():
    with pytest.raises(InputError, match="cutout"):
        augment(images(1), ("cutouts",))
