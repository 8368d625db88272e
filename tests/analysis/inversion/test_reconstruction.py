"""Least-squares decoders: the sizes they reach, and what they converge to."""

import pytest
import torch

from analysis.inversion.reconstruction import UpConvolution, squared_error
from priors.errors import InputError


@pytest.mark.parametrize(
    ("context", "size"),
    [((10,), (7, 7)), ((32, 4, 4), (7, 7)), ((32, 7, 7), (7, 7)), ((32, 12, 12), (14, 14)), ((8, 20, 20), (28, 28))],
)
def test_it_starts_no_smaller_than_its_context(context, size):
    decoder = UpConvolution((1, 28, 28), context, filters=4)
    assert decoder.size == size
    assert decoder(torch.zeros(2, *context)).shape == (2, 1, 28, 28)


def test_it_comes_to_the_mean_of_the_images_with_one_context():
    """Two images with the same context: the least squares are at their mean, which is neither of them."""
    torch.manual_seed(0)
    decoder = UpConvolution((1, 8, 8), (2,), filters=8)
    images = torch.rand(2, 1, 8, 8)
    context = torch.ones(2, 2)
    optimiser = torch.optim.Adam(decoder.parameters(), lr=3e-3)
    for _ in range(300):
        optimiser.zero_grad()
        squared_error(images, decoder(context)).mean().backward()
        optimiser.step()
    found = decoder(context).detach()
    assert torch.allclose(found[0], images.mean(0), atol=0.03) and float((images[0] - images[1]).abs().max()) > 0.5


def test_squared_error_is_a_sum_over_an_image():
    x, y = torch.rand(2, 3, 3, 4, 4)
    expected = [
        sum((float(a) - float(b)) ** 2 for a, b in zip(x[i].flatten(), y[i].flatten(), strict=True)) for i in range(3)
    ]
    assert squared_error(x, y).tolist() == pytest.approx(expected, rel=1e-5)


def test_what_does_not_fit_is_refused():
    for call, said in (
        (lambda: UpConvolution((1, 28, 30), (3,)), "multiples of 4"),
        (lambda: UpConvolution((1, 28, 28), (3, 4)), r"a context of shape \(3, 4\)"),
        (lambda: UpConvolution((1, 28, 28), ()), r"a context of shape \(\)"),
        (lambda: UpConvolution((1, 28, 28), (3,), filters=0), "filters is 0"),
        (lambda: UpConvolution((1, 28, 28), (3,))(torch.zeros(2, 4)), r"of shape \(4,\): \(3,\) was expected"),
    ):
        with pytest.raises(InputError, match=said):
            call()
