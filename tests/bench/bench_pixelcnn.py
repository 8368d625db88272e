"""Exact incremental sampling of a PixelCNN++ against a pass of the whole network for each pixel.

    python tests/bench/bench_pixelcnn.py [--filters 64] [--layers 3] [--size 28] [--batches 1 16 64] [--rounds 3]

The whole network is timed on a few pixels, and their mean is taken times the number of pixels: all passes are alike. It
runs in whichever of the two memory layouts is faster here, and its outputs are placed as the incremental ones are. Both
run in turn, in one process, on one thread, and are compared by processor time (on a GPU by the clock, synchronised);
what is printed is the median over rounds of the ratio within each.
"""

import argparse
import time
from collections.abc import Callable
from functools import partial
from statistics import median

import torch

from analysis.pixelcnn import PixelCNN
from analysis.sampling import sample

PIXELS = 3
"""Passes that stand for all."""


def spent(function: Callable[[], object], device: torch.device) -> float:
    """Seconds that a call takes."""
    if device.type == "cuda":
        torch.cuda.synchronize()
        start = time.perf_counter()
        function()
        torch.cuda.synchronize()
        return time.perf_counter() - start
    start = time.process_time()
    function()
    return time.process_time() - start


@torch.inference_mode()
def some_pixels(model: PixelCNN, images: torch.Tensor, context: torch.Tensor) -> None:
    """What sampling by whole passes does for a few pixels."""
    for column in range(PIXELS):
        images[:, :, 0, column] = model.distribution.sample(model(images, context)[:, :, 0, column])


def whole_passes(model: PixelCNN, images: torch.Tensor, context: torch.Tensor, device: torch.device) -> Callable:
    """Some pixels by whole passes, with the model and the images laid out as is faster."""
    calls = {}
    for layout in (torch.channels_last, torch.contiguous_format):
        model.to(memory_format=layout)
        call = partial(some_pixels, model, images.contiguous(memory_format=layout), context)
        call()
        calls[layout] = spent(call, device), call
    layout = min(calls, key=lambda one: calls[one][0])
    model.to(memory_format=layout)
    return calls[layout][1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--filters", type=int, default=64)
    parser.add_argument("--layers", type=int, default=3)
    parser.add_argument("--size", type=int, default=28)
    parser.add_argument("--channels", type=int, default=1)
    parser.add_argument("--context", type=int, default=256)
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 16, 64])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    device, size = torch.device(arguments.device), arguments.size
    shape = (arguments.channels, size, size)
    model = PixelCNN(shape, (arguments.context,), layers=arguments.layers, filters=arguments.filters).to(device).eval()
    model.initialise(torch.rand(8, *shape, device=device), torch.randn(8, arguments.context, device=device))
    print(f"{size}x{size}, {arguments.channels} channels, F = {arguments.filters}, R = {arguments.layers}, {device}")
    print(f"{'batch':>6} {'whole passes (s)':>17} {'incremental (s)':>16} {'images/s':>9} {'ratio':>7}")
    for batch in arguments.batches:
        context = torch.randn(batch, arguments.context, device=device)
        images = torch.zeros(batch, *shape, device=device)
        whole = whole_passes(model, images, context, device)
        theirs, ours = [], []
        for number in range(arguments.rounds + 1):
            first, second = spent(whole, device), spent(partial(sample, model, context), device)
            if number:
                theirs.append(first / PIXELS * size * size)
                ours.append(second)
        ratio = median(one / other for one, other in zip(theirs, ours, strict=True))
        print(
            f"{batch:6} {median(theirs):17.1f} {median(ours):16.2f} {batch / median(ours):9.1f} {ratio:7.0f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
