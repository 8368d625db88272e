"""What contrastive terms keep of every training image: a vector as its network last gave it."""

import math
from collections.abc import Callable

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from distill.unit import unit


class MemoryBank(nn.Module):
    """One vector for each training image, and the constant that its scores are divided by.

    Buffers, which are saved and never trained:
    - `rows`, (images, dim): unit vectors of the images that were seen, and before that uniform in +-sqrt(3 / dim), of
      which the mean square norm is 1;
    - `log_constant`, (): log Z, NaN until the first scores.

    Args:
        images: how many there are.
        dim: of their vectors.
        generator: of what they start from; None: torch's own.

    Example:
        >>> bank = MemoryBank(50, 4)
        >>> bank.remember(torch.tensor([7]), torch.tensor([[0.0, 3.0, 0.0, 0.0]]), momentum=0.0)
        >>> bank.rows[7]
        tensor([0., 1., 0., 0.])
    """

    rows: Tensor
    log_constant: Tensor

    def __init__(self, images: int, dim: int, generator: torch.Generator | None = None):
        super().__init__()
        drawn = torch.rand(images, dim, generator=generator, device=None if generator is None else generator.device)
        self.register_buffer("rows", drawn.mul_(2).sub_(1).mul_((3 / dim) ** 0.5))  # in place: there may be a gigabyte
        self.register_buffer("log_constant", torch.tensor(float("nan")))
        self._settled = False
        self.register_load_state_dict_post_hook(_unsettle)

    def products(
        self, vectors: Float[Tensor, "batch dim"], columns: Int64[Tensor, "batch some"]
    ) -> Float[Tensor, "batch some"]:
        """The inner product of each vector with some of the rows.

        By one product with all rows, from which columns are picked, while that holds no more numbers than the rows
        themselves would if they were gathered: batch x images against batch x some x dim, that is up to some x dim
        images (2 million for 16,384 negatives in 128 dimensions). Beyond, the rows are gathered.

        Args:
            vectors: of this batch.
            columns: which rows; the same may come more than once.
        """
        if len(self.rows) <= columns.shape[1] * self.rows.shape[1]:
            return (vectors @ self.rows.T).gather(1, columns)
        return torch.bmm(self.rows[columns], vectors.unsqueeze(2)).squeeze(2)

    @torch.no_grad()
    def settle(self, logs: Float[Tensor, "batch some"], gather: Callable[[Tensor], Tensor]) -> None:
        """Fix Z, where it is not yet: images times the mean of exp(logs) over all processes.

        Args:
            logs: of the first scores, before they are divided.
            gather: the rows of all processes under one another.
        """
        # Waits for the device until it is known, never after.
        self._settled = self._settled or not bool(self.log_constant.isnan())
        if not self._settled:
            means = gather(logs.logsumexp((0, 1))[None] - math.log(logs.numel()))
            self.log_constant.copy_(means.logsumexp(0) + math.log(len(self.rows) / len(means)))
            self._settled = True

    @torch.no_grad()
    def remember(self, index: Int64[Tensor, " batch"], vectors: Float[Tensor, "batch dim"], momentum: float) -> None:
        """Move the rows of some images towards new vectors, and make them unit vectors again.

        An image that comes several times is moved once, by the last of its vectors, on every device.

        Args:
            index: which images.
            vectors: as their network now gives them.
            momentum: weight of what a row was; the vector has the rest.
        """
        moved = unit(momentum * self.rows[index] + (1 - momentum) * vectors)
        position = torch.arange(len(index), device=index.device)
        last = position.new_zeros(len(self.rows)).scatter_reduce(0, index, position, "amax")[index]
        self.rows.index_copy_(0, index, moved[last])


def _unsettle(bank: MemoryBank, _) -> None:
    bank._settled = False
