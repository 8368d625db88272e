"""Images are worked on in turn by the memory that they take: the peak is measured, and is beyond it without that."""

import pytest
import torch
from peaks import bytes_of, peak_of
from torch import nn

from analysis import decompose
from analysis.jacobians.derivatives import load_forward_derivatives


class Attention(nn.Module):
    """Patches that look at each other."""

    def __init__(self):
        super().__init__()
        self.patches, self.mixed = nn.Conv2d(3, 16, 4, 4), nn.MultiheadAttention(16, 2, batch_first=True)
        self.norm, self.head = nn.LayerNorm(16), nn.Linear(16, 4)

    def forward(self, x):
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = x + self.mixed(*[self.norm(x)] * 3, need_weights=False)[0]
        return self.head(x.mean(1))


def convolutional(activation: nn.Module) -> nn.Module:
    layers = [nn.Conv2d(3, 12, 3), nn.BatchNorm2d(12), activation, nn.Conv2d(12, 12, 3), activation]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(12, 4))


NETWORKS = {"ReLU": lambda: convolutional(nn.ReLU()), "GELU": lambda: convolutional(nn.GELU()), "attention": Attention}


@pytest.mark.parametrize("name", NETWORKS)
def test_the_peak_is_within_what_was_given(name):
    """Beside what is returned, which is held twice while its parts are put together."""
    load_forward_derivatives()
    torch.manual_seed(0)
    network, x, memory = NETWORKS[name]().eval(), torch.rand(48, 3, 48, 48), 6 * 2**20
    decompose(network, x[:2], 0)  # what torch makes once
    peak, found = peak_of(lambda: decompose(network, x, 0, memory=memory))
    most = memory + 2 * bytes_of(found)
    assert peak < most
    without, other = peak_of(lambda: decompose(network, x, 0, memory=2**40))
    assert without > 1.5 * most and bytes_of(other) == bytes_of(found)
    torch.testing.assert_close(other.output, found.output)
    if name == "ReLU":  # the count counts: at least the results of both convolutions, before and after what follows
        assert without > 48 * 12 * (46**2 + 44**2) * 4 * 2
