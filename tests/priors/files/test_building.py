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


@pytest.mark.parametrize(
    "ask",
    [
        lambda: torch.zeros(65_536, 65_536),
        lambda: torch.empty(size=(65_536, 65_536)),
        lambda: torch.full([65_536, 65_536], 1.0),
        lambda: torch.eye(65_536),
        lambda: torch.zeros(2).new_ones(65_536, 65_536),
        lambda: torch.zeros(2).new_empty((65_536, 65_536), device="cpu"),
        lambda: nn.Conv2d(65_536, 8, 300),
        lambda: nn.Embedding(2**30, 64),
    ],
)
def test_however_a_size_is_given_it_is_seen(ask):
    with pytest.raises(InputError, match=r"it asks for [\d,]+ x [\d, x]+ numbers, and the weights"):
        with building("model.json", "network", {}, WEIGHTS):
            ask()


def test_numbers_that_are_no_size_are_not_taken_for_one_and_the_meta_device_holds_any():
    with building("model.json", "network", {}, WEIGHTS):
        numbers = torch.tensor((2**40, 2**41)), torch.arange(5), torch.full((2,), 10**9), torch.randint(2**40, (3,))
        elsewhere = [torch.zeros(2**20, 2**20, device="meta")]
        with torch.device("meta"):
            elsewhere.append(nn.Linear(2**20, 2**20).weight)
    with torch.device("meta"), building("model.json", "network", {}, WEIGHTS):
        elsewhere.append(torch.zeros(2**20, 2**20))
    assert [len(one) for one in numbers] == [2, 5, 2, 3] and all(one.is_meta for one in elsewhere)


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
