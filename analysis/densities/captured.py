"""Samples of a PixelCNN++ batch after batch, on a GPU, with one launch a row of pixels.

A pixel takes hundreds of small operations, and on a GPU each of them is over before the next one is launched. They are
the same in every batch of one size, and in all rows of one kind (`analysis.densities.incremental.kind`): so one row of
each kind is captured in a CUDA graph, and replayed for all of them. Only what differs from row to row is copied in
between.
"""

from collections.abc import Callable
from copy import deepcopy
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor

from analysis.densities.incremental import Incremental, kind
from analysis.densities.pixelcnn import PixelCNN
from priors.errors import InputError

Record = Callable[[Callable[[], None]], Callable[[], None]]
"""Of a function that changes tensors in place: one that does the same to the same tensors again."""


class CapturedSampler:
    """Draws images as `analysis.densities.sampling.place` does, in batches of one size.

    To capture takes at least as long as to draw ten rows of a batch. All tensors that a batch takes are kept, and so is
    a copy of the model: what becomes of the model afterwards changes nothing here.

    Args:
        model: on a GPU; its weights are taken as they are now.
        batch: how many images.
        record: how the operations of a row are kept; None: in a CUDA graph.
    """

    def __init__(self, model: PixelCNN, batch: int, *, record: Record | None = None):
        self.batch, device = batch, model.final.direction.device
        record = cuda_graphs(device) if record is None else record
        off = torch.autocast(device.type, enabled=False)  # as in `place`
        with torch.inference_mode(False), torch.no_grad(), off:  # tensors that may be changed in any mode later
            model = deepcopy(model)  # graphs read weights where they lie
            context = torch.zeros(batch, *model.context_shape, device=device) if model.context_shape else None
            self._state = state = Incremental(model, context, batch)
            self._shape = state.height, state.width, batch, model.distribution.draws
            self._numbers = torch.zeros(self._shape[1:], dtype=torch.float64, device=device)
            choose = partial(_place, model, self._numbers)
            kinds = sorted({kind(row) for row in range(state.height)})
            self._replays = {row: record(partial(state.compute, row, choose)) for row in kinds}

    @torch.no_grad()
    def __call__(
        self, context: Tensor | None, numbers: Float[Tensor, "h w batch draws"]
    ) -> Float[Tensor, "batch channels height width"]:
        """Images by the uniform numbers that each of their pixels is drawn with.

        Args:
            context: (batch, K) or (batch, K, h, w); None where the model has none.
            numbers: in [0, 1), float64.

        Raises:
            InputError: shapes that are not the model's, or another batch.
        """
        if numbers.shape != self._shape:
            raise InputError(f"uniform numbers of shape {tuple(numbers.shape)}: {self._shape} was expected")
        state = self._state
        with torch.autocast(self._numbers.device.type, enabled=False):
            state.reset(context)
            for row, own in enumerate(numbers.to(self._numbers.device)):
                state.enter(row)
                self._numbers.copy_(own)
                self._replays[kind(row)]()
                state.leave(row)
        return state.images.clone()


def cuda_graphs(device: torch.device) -> Record:
    """Captures functions in CUDA graphs that share their memory: what one leaves there is overwritten by the others.

    A function is run once before it is captured: libraries allocate and choose when they are first called.
    """
    with torch.cuda.device(device):
        stream, pool = torch.cuda.Stream(), torch.cuda.graph_pool_handle()

    def record(function: Callable[[], None]) -> Callable[[], None]:
        with torch.cuda.device(device):
            stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(stream):
                function()
            torch.cuda.current_stream().wait_stream(stream)
            graph = torch.cuda.CUDAGraph()
            # Other threads may do what a capture forbids.
            with torch.cuda.graph(graph, pool=pool, stream=stream, capture_error_mode="thread_local"):
                function()
        return graph.replay

    return record


def _place(model: PixelCNN, numbers: Tensor, column: int, outputs: Tensor) -> Tensor:
    return model.distribution.values(outputs, numbers[column])
