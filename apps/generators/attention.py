"""Self-attention over the places of an image's features, of SAGAN and BigGAN.

Wang et al. 2018 (non-local networks), Zhang et al. 2019 (SAGAN, arXiv 1805.08318), Brock et al. 2019 (arXiv 1809.11096,
whose keys and values are the largest of each 2 x 2 places).
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn


class SelfAttention(nn.Module):
    """x + g o(sum_j softmax_j(q_i . k_j) v_j): each place takes of all others what looks alike.

    q and k have an eighth of the channels, v half of them; k and v are pooled to half the height and width. The gain g
    starts at 0, so that the layer begins as the identity.

    Args:
        channels: of the features; below 8, queries and keys have one channel.
    """

    def __init__(self, channels: int):
        super().__init__()
        small, half = max(1, channels // 8), max(1, channels // 2)
        self.query = nn.Conv2d(channels, small, 1, bias=False)
        self.key = nn.Conv2d(channels, small, 1, bias=False)
        self.value = nn.Conv2d(channels, half, 1, bias=False)
        self.out = nn.Conv2d(half, channels, 1, bias=False)
        self.gain = nn.Parameter(torch.zeros(()))

    def forward(self, x: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch channels height width"]:
        """The features and what was attended to."""
        query = self.query(x).flatten(2)
        key, value = (F.max_pool2d(layer(x), 2).flatten(2) for layer in (self.key, self.value))
        # Fused attention has no second derivative, which the penalty R1 takes.
        weights = torch.bmm(query.mT, key).softmax(2)
        attended = torch.bmm(value, weights.to(value.dtype).mT).unflatten(2, x.shape[2:])
        return torch.addcmul(x, self.gain.to(x.dtype), self.out(attended).to(x.dtype))
