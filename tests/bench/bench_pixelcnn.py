"""A PixelCNN++: exact incremental sampling against a pass of the whole network for each pixel; with --training, steps
of a training in bfloat16 and with channels last against plain ones.

    python tests/bench/bench_pixelcnn.py [--filters 64] [--layers 3] [--size 28] [--batches 1 16 64] [--rounds 3]
    python tests/bench/bench_pixelcnn.py --training [--device cuda] [--batches 32] [--rounds 20] ...

Sampling: the whole network is timed on a few pixels, and their mean is taken times the number of pixels: all passes are
alike. It runs in whichever of the two memory layouts is faster here, and its outputs are placed as the incremental ones
are. On a GPU the last columns are of drawing batch after batch by CUDA graphs, without the time to capture them.

Training: a step is what `penult analyse invert` does once it has a batch and its context. Plain is float32 as PyTorch
has it (on a GPU its convolutions may take TF32), and contiguous. The losses are of one network, that which the plain
steps led to, without dropout, on the batch that they were taken on; each is compared with the plain one image by image.

All ways run in turn, in one process, on one thread, and are compared by processor time (on a GPU by the clock,
synchronised); what is printed is the median over rounds of the ratio within each.
"""

import argparse
import time
from collections.abc import Callable
from copy import deepcopy
from functools import partial
from statistics import median
from types import SimpleNamespace

import torch
from processor import about

from analysis.densities.captured import CapturedSampler
from analysis.densities.pixelcnn import PixelCNN
from analysis.densities.sampling import sample, uniforms
from analysis.inversion.cross_entropy import bits_per_dim
from apps.command.config import Optimisation
from apps.inverting.training import DensityTraining

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


def sampling(model: PixelCNN, batches: list[int], rounds: int, device: torch.device) -> None:
    """The table of sampling."""
    shape, pixels = model.image_shape, model.image_shape[1] * model.image_shape[2]
    graphs = device.type == "cuda"
    print(f"{'batch':>6} {'whole passes (s)':>17} {'incremental (s)':>16} {'images/s':>9} {'ratio':>7}", end="")
    print(f" {'graphs (s)':>11} {'images/s':>9} {'ratio':>7} {'to capture (s)':>15}" if graphs else "")
    for batch in batches:
        context = torch.randn(batch, *model.context_shape, device=device)
        images = torch.zeros(batch, *shape, device=device)
        ways = {"whole": whole_passes(model, images, context, device), "incremental": partial(sample, model, context)}
        if graphs:
            made = []
            capturing = spent(lambda: made.append(CapturedSampler(model, batch)), device)  # noqa: B023
            ways["graphs"] = partial(made[0], context, uniforms(model, batch))
        times = in_turn(ways, rounds, device)
        times["whole"] = [one / PIXELS * pixels for one in times["whole"]]
        print(f"{batch:6} {median(times['whole']):17.1f} {columns(times, 'incremental', batch, 16)}", end="")
        print(f" {columns(times, 'graphs', batch, 11)} {capturing:15.2f}" if graphs else "", flush=True)


def columns(times: dict[str, list[float]], way: str, batch: int, wide: int) -> str:
    """Seconds, images a second and the ratio to whole passes."""
    seconds = median(times[way])
    return f"{seconds:{wide}.2f} {batch / seconds:9.1f} {ratio(times, 'whole', way):7.0f}"


class Density(DensityTraining):
    """The training of a density whose context is there already."""

    def __init__(self, model: PixelCNN, given: torch.Tensor):
        super().__init__(model, None, {}, None, 0)
        self.given = given

    def context(self, images: torch.Tensor) -> torch.Tensor:
        """That of the one batch."""
        return self.given


WAYS = {
    "float32": (torch.float32, torch.contiguous_format),
    "float32, channels last": (torch.float32, torch.channels_last),
    "bfloat16, channels last": (torch.bfloat16, torch.channels_last),
}
"""Types that autocast takes, and layouts; the first is plain."""


def training(model: PixelCNN, batches: list[int], rounds: int, device: torch.device) -> None:
    """The table of training."""
    print(f"{'batch':>6} {'':24} {'step (s)':>9} {'images/s':>9} {'ratio':>7} {'bits/dim':>9}  more than plain")
    for batch in batches:
        images = (torch.rand(batch, *model.image_shape, device=device) * 255).round() / 255
        context = torch.randn(batch, *model.context_shape, device=device)
        model.initialise(images, context)
        tasks = {name: Density(deepcopy(model).train().to(memory_format=WAYS[name][1]), context) for name in WAYS}
        times = in_turn({name: stepping(task, images, name) for name, task in tasks.items()}, rounds, device)
        trained = tasks["float32"].networks["model"].eval()
        losses = {name: loss(trained, images, context, name) for name in WAYS}
        for name, found in losses.items():
            seconds, more = median(times[name]), found - losses["float32"]
            error = f" {more.mean():.1e} (standard error {more.std() / batch**0.5:.0e})" if name != "float32" else ""
            print(
                f"{batch:6} {name:24} {seconds:9.3f} {batch / seconds:9.1f} {ratio(times, 'float32', name):7.2f} "
                f"{found.mean():9.4f} {error}",
                flush=True,
            )


def stepping(task: DensityTraining, images: torch.Tensor, way: str) -> Callable[[], None]:
    """A function that trains a step."""
    kind, layout = WAYS[way]
    batch = SimpleNamespace(images=images.contiguous(memory_format=layout))
    optimizer = task.optimizer("train", task.phase, Optimisation(lr=1e-3))

    def step() -> None:
        with torch.autocast(images.device.type, torch.bfloat16, enabled=kind == torch.bfloat16):
            losses = task.losses("train", batch, 0)
        sum(losses.values()).backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return step


@torch.no_grad()
def loss(model: PixelCNN, images: torch.Tensor, context: torch.Tensor, way: str) -> torch.Tensor:
    """Bits a sub-pixel of each image, float64."""
    kind, layout = WAYS[way]
    model, images = model.to(memory_format=layout), images.contiguous(memory_format=layout)
    with torch.autocast(images.device.type, torch.bfloat16, enabled=kind == torch.bfloat16):
        return bits_per_dim(model.log_prob(images, context).double(), model.image_shape)


def in_turn(ways: dict[str, Callable], rounds: int, device: torch.device) -> dict[str, list[float]]:
    """Seconds that each way takes in each round, after one that is not counted."""
    times = {name: [] for name in ways}
    for _ in range(rounds + 1):
        for name, way in ways.items():
            times[name].append(spent(way, device))
    return {name: found[1:] for name, found in times.items()}


def ratio(times: dict[str, list[float]], one: str, other: str) -> float:
    """Of what one way takes to what the other takes in the same round."""
    return median(first / second for first, second in zip(times[one], times[other], strict=True))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--training", action="store_true", help="time steps of a training instead of sampling")
    parser.add_argument("--filters", type=int, default=64)
    parser.add_argument("--layers", type=int, default=3)
    parser.add_argument("--size", type=int, default=28)
    parser.add_argument("--channels", type=int, default=1)
    parser.add_argument("--context", type=int, default=256)
    parser.add_argument("--batches", type=int, nargs="+", help="default: 1 16 64; of training 32")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    device, size = torch.device(arguments.device), arguments.size
    shape = (arguments.channels, size, size)
    model = PixelCNN(shape, (arguments.context,), layers=arguments.layers, filters=arguments.filters).to(device).eval()
    model.initialise(torch.rand(8, *shape, device=device), torch.randn(8, arguments.context, device=device))
    print(about(device))
    print(f"{size}x{size}, {arguments.channels} channels, F = {arguments.filters}, R = {arguments.layers}")
    table, batches = (training, [32]) if arguments.training else (sampling, [1, 16, 64])
    table(model, arguments.batches or batches, arguments.rounds, device)


if __name__ == "__main__":
    main()
