"""The fixed decoder: its size counted by hand, the sizes it reaches, and what it does to features that are scaled."""

import pytest
import torch
from torch import nn

from analysis.discarding.decoder import TwoTrackDecoder, folded_decoder
from priors.errors import InputError


def parameters(module: nn.Module) -> int:
    return sum(one.numel() for one in module.parameters())


def test_its_parameters_are_those_counted_by_hand():
    """Layer by layer, from the text alone: batch norms have two a channel, convolutions no bias."""
    norm, conv, doubling = 2 * 64, 3 * 3 * 64 * 64, 4 * 4 * 64 * 64
    plain = (conv + norm) + (conv + norm + conv + norm)
    doubled = (doubling + norm) + (doubling + norm + conv + norm)
    last = 3 * 3 * 64 * 3
    maps = TwoTrackDecoder((3, 32, 32), (16, 8, 8))
    assert maps.doublings == 2
    assert parameters(maps) == 3 * 3 * 16 * 64 + norm + 2 * doubled + 4 * plain + last == 791_616
    same = TwoTrackDecoder((3, 32, 32), (16, 32, 32))
    assert parameters(same) == 3 * 3 * 16 * 64 + norm + 6 * plain + last == 676_928
    vector = TwoTrackDecoder((3, 32, 32), (10,))
    assert parameters(vector) == 10 * 64 + norm + 5 * doubled + 1 * plain + last


@pytest.mark.parametrize(
    ("image", "features", "doublings", "size"),
    [
        ((3, 32, 32), (5, 32, 32), 0, (32, 32)),
        ((3, 32, 32), (5, 7, 7), 2, (8, 8)),
        ((1, 28, 28), (5, 7, 7), 2, (7, 7)),
        ((1, 28, 28), (5,), 4, (2, 2)),
        ((3, 33, 17), (5, 4, 9), 0, (33, 17)),
        ((3, 33, 17), (5, 4, 2), 3, (5, 3)),
        ((3, 90, 130), (5,), 6, (2, 3)),
        ((3, 8, 8), (5, 16, 16), 0, (8, 8)),
    ],
)
def test_it_reaches_every_size(image, features, doublings, size):
    decoder = TwoTrackDecoder(image, features, width=4)
    assert (decoder.doublings, decoder.size) == (doublings, size)
    assert decoder(torch.rand(2, *features)).shape == (2, *image)


@pytest.mark.parametrize("features", [(3, 4, 4), (3, 3, 3), (5,)])
def test_what_is_scaled_is_undone_by_the_first_layer_alone(features):
    torch.manual_seed(0)
    decoder = TwoTrackDecoder((1, 8, 8), features, width=4).double().eval()
    given = torch.randn(3, *features, dtype=torch.float64)
    for scale in (0.25, 4, torch.arange(1.0, 1 + features[0])):
        twin = folded_decoder(decoder, scale)
        wide = torch.as_tensor(scale, dtype=torch.float64).view(-1, *[1] * (len(features) - 1))
        torch.testing.assert_close(twin(given * wide), decoder(given), rtol=1e-12, atol=1e-12)
        weights = zip(twin.state_dict().items(), decoder.state_dict().values(), strict=True)
        assert [name for (name, own), other in weights if not torch.equal(own, other)] == ["first.weight"]


def test_least_squares_bring_it_to_the_images():
    """What it is for: trained on four images' features, it gives these images."""
    torch.manual_seed(0)
    decoder = TwoTrackDecoder((1, 8, 8), (6, 2, 2), width=8)
    images, features = torch.rand(4, 1, 8, 8), torch.randn(4, 6, 2, 2)
    optimiser = torch.optim.Adam(decoder.parameters(), lr=1e-2)
    for _ in range(60):
        optimiser.zero_grad()
        loss = (decoder(features) - images).square().mean()
        loss.backward()
        optimiser.step()
    assert float(loss.detach()) < 0.1 * float(images.var())


def test_what_does_not_fit_is_refused():
    for call, said in (
        (lambda: TwoTrackDecoder((3, 8), (3,)), r"images of shape \(3, 8\)"),
        (lambda: TwoTrackDecoder((3, 8, 8), (3, 4)), r"features of shape \(3, 4\)"),
        (lambda: TwoTrackDecoder((3, 8, 8), (3,), width=0), "width is 0"),
        (
            lambda: TwoTrackDecoder((3, 8, 8), (3, 4, 4), width=2)(torch.zeros(2, 3, 2, 2)),
            r"\(3, 2, 2\): \(3, 4, 4\) was expected, from the network and the layer",
        ),
        (lambda: TwoTrackDecoder((3, 8, 8), (3,), width=2)(torch.zeros(2, 3, dtype=torch.int64)), "features are"),
        (lambda: TwoTrackDecoder((3, 8, 8), (3,), width=2).half()(torch.zeros(2, 3)), "weights of this decoder"),
        (lambda: folded_decoder(TwoTrackDecoder((3, 8, 8), (3,), width=2), 0), "not 0"),
        (lambda: folded_decoder(TwoTrackDecoder((3, 8, 8), (3,), width=2), torch.ones(2)), "each of 3 channels"),
    ):
        with pytest.raises(InputError, match=said):
            call()
