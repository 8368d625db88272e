"""Concentration: against a loop over pixels, and the masks of which there is none."""

import pytest
import torch

from analysis.discarding.concentration import information_concentration
from priors.errors import InputError


def by_loop(entropy, mask):
    """Equation 6, pixel by pixel."""
    inside, outside = [], []
    for i in range(mask.shape[0]):
        for j in range(mask.shape[1]):
            rows, columns = entropy.shape[1:]
            cell = entropy[:, i * rows // mask.shape[0], j * columns // mask.shape[1]]
            (inside if mask[i, j] else outside).append(sum(map(float, cell)) / len(cell))
    return sum(outside) / len(outside) - sum(inside) / len(inside)


@pytest.mark.parametrize("shape", [(1, 6, 9), (3, 6, 9), (1, 4, 3), (3, 5, 4)])
def test_it_is_the_mean_outside_less_the_mean_inside(shape):
    torch.manual_seed(0)
    entropy, masks = torch.randn(4, *shape, dtype=torch.float64), torch.rand(4, 6, 9) > 0.6
    found = information_concentration(entropy, masks)
    assert found.tolist() == pytest.approx([by_loop(*pair) for pair in zip(entropy, masks, strict=True)], abs=1e-12)


def test_what_all_pixels_share_cancels():
    entropy, masks = torch.randn(2, 1, 8, 8, dtype=torch.float64), torch.rand(2, 8, 8) > 0.5
    moved = information_concentration(entropy + 3, masks)
    torch.testing.assert_close(moved, information_concentration(entropy, masks))
    torch.testing.assert_close(information_concentration(entropy, ~masks), -moved)


def test_an_object_that_is_kept_has_a_concentration_above_0():
    masks = torch.zeros(1, 8, 8, dtype=torch.bool)
    masks[:, 2:5, 2:5] = True
    entropy = torch.where(masks, -3.0, -1.0)
    assert information_concentration(entropy, masks).tolist() == [2.0]


def test_masks_that_divide_nothing_are_refused():
    entropy, half = torch.zeros(2, 1, 4, 4), torch.zeros(4, 4, dtype=torch.bool)
    half[:2] = True
    for masks, said in (
        (torch.stack([half, torch.zeros_like(half)]), "mask of image 1 covers nothing of it"),
        (torch.stack([torch.ones_like(half), half]), "mask of image 0 covers all of it"),
        (half[None], r"\(1, 4, 4\) for entropies of shape \(2, 1, 4, 4\)"),
        (half[None, :2, :2].expand(2, 2, 2), "of the image's size"),
        (torch.stack([half, half]).float(), "truth values"),
        (None, "masks are missing"),
    ):
        with pytest.raises(InputError, match=said):
            information_concentration(entropy, masks)
    with pytest.raises(InputError, match="entropies are of shape"):
        information_concentration(torch.zeros(3), torch.stack([half, half]))
