"""Descriptions that ask for more than the weights beside them can fill are refused before anything is allocated."""

import pytest
import torch
from torch import nn

from priors.errors import InputError
from priors.files.building import building

WEIGHTS = {"weight": torch.zeros(4, 3), "bias": torch.zeros(4)}


def test_what_the_weights_fill_is_built():
    with building("model.json", "network", {"width": 4, "image_shape": [1, 2, 2]}, WEIGHTS):
        layer = nn.Linear(3, 4)
    assert layer.weight.shape == (4, 3)


@pytest.mark.parametrize(
    ("sizes", "said"),
    [
        ({"width": 10**12}, r"1,000,000,000,000 as 'width', and the weights beside it are 16 numbers in 2 tensors"),
        ({"options": {"depth": 10**9}}, r"1,000,000,000 as 'depth'"),
        ({"widths": [64, 2**40]}, r"1,099,511,627,776 as 'widths'"),
        ({"image_shape": [1, 10**6, 10**6]}, r"1,000,000 as 'image_shape'"),
        ({"image_shape": [1, True, 8]}, r"whole numbers above 0 were expected"),
    ],
)
def test_a_size_beyond_them_is_refused(sizes, said):
    with pytest.raises(InputError, match=rf"^m/model.json describes no network that can be built: .*{said}"):
        with building("m/model.json", "network", sizes, WEIGHTS):
            pytest.fail("it was built")


def test_a_product_of_fine_sizes_is_refused_before_it_is_taken():
    with pytest.raises(InputError, match=r"it asks for 65,536 x 65,536 numbers, and the weights"):
        with building("model.json", "network", {"width": 65_536}, WEIGHTS):
            nn.Linear(65_536, 65_536)


def test_layers_without_end_are_refused():
    with pytest.raises(InputError, match=r"it asks for more than 1,020 modules"):
        with building("model.json", "network", {}, WEIGHTS):
            nn.Sequential(*(nn.ReLU() for _ in range(60_000)))
    nn.Sequential(*(nn.ReLU() for _ in range(3000)))


@pytest.mark.parametrize("wrong", [lambda: {}["layers"], lambda: 1 / 0, lambda: nn.Linear(-1, 2), lambda: "x" + 1])
def test_whatever_goes_wrong_is_said_in_one_line(wrong):
    with pytest.raises(InputError, match=r"^model.json describes no network that can be built: it is damaged \("):
        with building("model.json", "network", {}, WEIGHTS):
            wrong()
