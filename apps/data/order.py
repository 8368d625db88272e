"""The order in which training visits a set: any slice of any batch of an endless stream, by its number."""

import torch
from jaxtyping import Int64
from torch import Tensor

from apps.data.augmenting import Augmenting
from apps.seeds import generator
from priors.errors import InputError


class Order:
    """Seeded permutations of a set one after the other, cut into global batches, of which each process takes its slice.

    Permutations and views are drawn once an epoch, for the whole set, on the CPU, and brought to the device then; the
    last two epochs are kept, in both places.
    """

    def __init__(
        self,
        count: int,
        batch_size: int,
        seed: int,
        *,
        augmentation: Augmenting | None = None,
        rank: int = 0,
        world_size: int = 1,
        device: torch.device | str = "cpu",
    ):
        """Draw nothing yet.

        Args:
            count: how many images the set has.
            batch_size: images a batch, over all processes and micro-batches together.
            seed: of permutations and views; the rank is never part of it.
            augmentation: what views are drawn of; None for view 0 of everything.
            rank: which process this is.
            world_size: how many processes there are.
            device: where positions and views are wanted.

        Raises:
            InputError: the batch size is not divisible by the number of processes, or there is no such rank.
        """
        if not 0 <= rank < world_size:
            raise InputError(f"rank {rank} of {world_size} processes: expected 0 to {world_size - 1}")
        self.count, self.batch_size, self.seed, self.augmentation = count, batch_size, seed, augmentation
        self.rank, self.world_size, self.device = rank, world_size, torch.device(device)
        self.share(1)
        self._epochs: dict[int, dict[str, tuple[Tensor, Tensor]]] = {}
        self._zero = {where: torch.zeros(1, dtype=torch.int64, device=where) for where in {"cpu", str(self.device)}}

    def share(self, accumulate: int) -> int:
        """How many images a process takes of each of the `accumulate` parts of a batch.

        Raises:
            InputError: the batch size is not divisible by `world_size * accumulate`.
        """
        parts = self.world_size * accumulate
        if self.batch_size < 1 or accumulate < 1 or self.batch_size % parts:
            raise InputError(
                f"batch size {self.batch_size} given for {self.world_size} process(es) and {accumulate} accumulated "
                f"step(s): expected a positive multiple of {max(parts, 1)}"
            )
        return self.batch_size // parts

    def places(self, micro: int = 0, accumulate: int = 1, *, with_last: bool = False) -> list[int]:
        """The places in a whole batch of this process's slice of a part.

        Args:
            micro: which part of it.
            accumulate: how many parts there are.
            with_last: whether the place before these is wanted as well, after them; before the first is the last.

        Raises:
            InputError: as for `share`.
        """
        share = self.share(accumulate)
        first = (micro * self.world_size + self.rank) * share
        return [*range(first, first + share), *([(first - 1) % self.batch_size] if with_last else [])]

    def at(
        self,
        number: int,
        micro: int = 0,
        accumulate: int = 1,
        *,
        on_cpu: bool = False,
        with_last: bool = False,
    ) -> tuple[Int64[Tensor, " b"], Int64[Tensor, " b"]]:
        """Positions in the set, and views, of this process's slice of part `micro` of batch `number`.

        Args:
            number: of the batch.
            micro: which part of it.
            accumulate: how many parts there are.
            on_cpu: have them there, where reading them is to wait for no device.
            with_last: have those of the image before these in the whole batch as well, after them, see `places`.

        Raises:
            InputError: there is no such batch or part, or the batch size is not divisible by `world_size * accumulate`.
        """
        share = self.share(accumulate)
        if number < 0 or not 0 <= micro < accumulate:
            raise InputError(f"micro-batch {micro} of {accumulate} of batch {number}: no such batch")
        start = number * self.batch_size + (micro * self.world_size + self.rank) * share
        pieces = self._pieces(start, start + share, on_cpu)
        if with_last:
            last = number * self.batch_size + self.places(micro, accumulate, with_last=True)[-1]
            pieces += self._pieces(last, last + 1, on_cpu)
        if len(pieces) == 1:
            return pieces[0]
        return torch.cat([order for order, _ in pieces]), torch.cat([view for _, view in pieces])

    def _pieces(self, start: int, stop: int, on_cpu: bool) -> list[tuple[Tensor, Tensor]]:
        """Positions and views of a stretch of the stream, an epoch at a time."""
        pieces, where = [], "cpu" if on_cpu else str(self.device)
        while start < stop:
            epoch, offset = divmod(start, self.count)
            length = min(stop - start, self.count - offset)
            order, views = self._epoch(epoch)[where]
            view = self._zero[where].expand(length) if self.augmentation is None else views[offset : offset + length]
            pieces.append((order[offset : offset + length], view))
            start += length
        return pieces

    def _epoch(self, epoch: int) -> dict[str, tuple[Tensor, Tensor]]:
        """By where they are, the permutation of an epoch and the view at each place of it."""
        if epoch not in self._epochs:
            order = torch.randperm(self.count, generator=generator("cpu", self.seed, "order", epoch))
            views = order[:0]
            if self.augmentation is not None:
                views = self.augmentation.draw(self.count, generator("cpu", self.seed, "augment", epoch))
            if self.device.type == "cuda":
                order, views = order.pin_memory(), views.pin_memory()
            while len(self._epochs) > 1:
                del self._epochs[min(self._epochs)]
            there = order.to(self.device, non_blocking=True), views.to(self.device, non_blocking=True)
            self._epochs[epoch] = {"cpu": (order, views), str(self.device): there}
        return self._epochs[epoch]
