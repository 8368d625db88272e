"""What power spectra cost: beside a step of distillation, and beside a pass over images.

    python tests/bench/bench_spectral.py [--batch-size 128] [--images 500] [--rounds 7] [--precision fp32] [--threads 1]

First a step of the paper's setup c, WRN-28-4 to WRN-16-2 at the size of CIFAR-100, by `ce+overhaul` and by
`ce+overhaul+spectral-l1+cross-power`: forward passes of both networks, backward and SGD, channels last. Then forward
passes of either network, its three stages tapped, with and without spectra of images and stages, as a sweep takes them.
Memory that is freed is kept, as the command `penult` does. Both ways run in turn, in one process; printed are medians
over rounds of their times, and of the ratios in each round.
"""

import argparse
from collections.abc import Callable
from statistics import median

import torch
from processor import about
from torch import optim
from turns import compared

from analysis import SpectrumMoments
from apps.command.memory import keep_freed_memory
from distill import objective
from distill.trace import shapes
from priors import tap, zoo

CLASSES, TEACHER, STUDENT = 100, "wrn-28-4", "wrn-16-2"
SPECTRAL = "ce+overhaul+spectral-l1+cross-power"


def network(name: str, device: torch.device) -> torch.nn.Module:
    torch.manual_seed(0)
    made = zoo.build(name, classes=CLASSES, image_shape=(3, 32, 32), mean=0.5, std=0.25)
    return made.to(device, memory_format=torch.channels_last)


def step_of(words: str, images: torch.Tensor, labels: torch.Tensor, precision: str) -> Callable[[], None]:
    """A step of training on a sum of terms."""
    device = images.device
    teacher, student = network(TEACHER, device), network(STUDENT, device).train()
    total = objective(words, student=student, teacher=teacher).to(device)
    optimizer = optim.SGD(total.trainable(), 0.1, 0.9, weight_decay=1e-4, fused=True)

    def step() -> None:
        with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
            loss = total(images, labels).total
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return step


def passes_of(name: str, images: torch.Tensor) -> dict[str, Callable[[], None]]:
    """A pass over images, and one that keeps moments of spectra."""
    model = network(name, images.device).eval()
    moments = {"images": SpectrumMoments.none((32, 32), device=images.device)}
    for stage, (_, *size) in zip(model.stages, shapes(model, images.shape[1:], model.stages).stages, strict=True):
        moments[stage] = SpectrumMoments.none(tuple(size), device=images.device)

    @torch.inference_mode()
    def forward() -> None:
        with tap(model, model.stages):
            model(images)

    @torch.inference_mode()
    def measured() -> None:
        with tap(model, model.stages) as found:
            model(images)
        for stage in moments:
            moments[stage] = moments[stage].add(images if stage == "images" else found[stage])

    return {"forward pass": forward, "with spectra": measured}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch-size", type=int, default=128, help="of a step")
    parser.add_argument("--images", type=int, default=500, help="of a pass")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32", help="of a step")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    keep_freed_memory()
    torch.set_num_threads(arguments.threads)
    torch.backends.cudnn.benchmark = True
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    images = torch.rand(max(arguments.batch_size, arguments.images), 3, 32, 32, device=device)
    batch = images[: arguments.batch_size].contiguous(memory_format=torch.channels_last)
    labels = torch.arange(arguments.batch_size, device=device) % CLASSES
    steps = {words: step_of(words, batch, labels, arguments.precision) for words in ("ce+overhaul", SPECTRAL)}
    print(about())
    compared_ways = {f"a step, batch {arguments.batch_size}, {arguments.precision}": steps}
    for name in (TEACHER, STUDENT):
        compared_ways[f"{name}, {arguments.images} images"] = passes_of(name, images[: arguments.images])
    for what, ways in compared_ways.items():
        taken = compared(ways, arguments.rounds)
        base = taken[next(iter(taken))]
        for name, own in taken.items():
            ratio = median(mine / one for mine, one in zip(own, base, strict=True))
            print(f"{what}: {name:<36} {1e3 * median(own):9.1f} ms {ratio:7.3f}x")


if __name__ == "__main__":
    main()
