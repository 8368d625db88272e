"""Feature maps of two sizes at one."""

import pytest
import torch

from distill.feature_maps import activated, pooled


def test_the_larger_is_averaged_in_each_direction():
    x = torch.arange(24.0).view(1, 1, 4, 6)
    s, t = pooled(x, torch.ones(1, 2, 2, 12))
    assert s.tolist() == [[[[3.0 + k for k in range(6)], [15.0 + k for k in range(6)]]]]
    assert t.shape == (1, 2, 2, 6) and bool((t == 1).all())


def test_equal_sizes_are_left_alone():
    x, y = torch.ones(1, 1, 3, 3), torch.ones(1, 2, 3, 3)
    assert pooled(x, y)[0] is x and pooled(x, y)[1] is y


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_activations_are_single_precision(dtype):
    x = torch.tensor([-1.0, 2.0], dtype=dtype).view(1, 2, 1, 1)
    assert activated(x, "relu").flatten().tolist() == [0, 2] and activated(x, "none").flatten().tolist() == [-1, 2]
    assert activated(x, "none").dtype == torch.float32
