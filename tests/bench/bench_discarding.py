"""What strict information discarding costs, and how near it comes, beside the recipe of one image at a time.

    python tests/bench/bench_discarding.py [speed] [error] [--images 32] [--rounds 3] [--reference 2000] [--threads 1]

The recipe: 16x16 scales that start at .01, 100 steps of SGD of 1e-4 with 8 noisy images each, the loss being how far
features move, over how far the start moves them, less 5 times the mean entropy; kept is the step at which they move 1.5
times as far, or nearest to it, which is alpha = 1.5e-4.

`speed`: images a second of a ResNet-20 at 32 pixels, at the end of its second stage, by the recipe, by
`method="linear"` and by `method="solve"`. The recipe is timed on as many images as there are, at most 4.

`error`: mean entropies of 4 images at three depths of a small network that is not linear, by the recipe and by
`method="solve"`, against a reference of 2,000 steps of 32 noisy images: Adam on the logarithms of scales, on
log(E) / 2 - mean log(sigma), and then a factor that brings E to what is wanted. delta_f^2 is that of the whole Jacobian
for all but the recipe, which has its own of 8 noisy images. Printed are the mean error of an image's mean entropy,
without its sign, the root mean square of cells less their mean, and the noisy images of each.
"""

import argparse
import math
from collections.abc import Sequence
from statistics import median

import torch
from processor import about
from torch import Tensor, nn
from torch.nn.functional import interpolate
from turns import compared

from analysis import discarded_information, pixel_sensitivity
from priors import tap, zoo

GRID, ALPHA, START = 16, 1.5e-4, 0.01
STEPS, SAMPLES = 100, 8
CONSTANT = math.log(2 * math.pi * math.e) / 2


class Counted(nn.Module):
    """A function, and of how many images it was asked."""

    def __init__(self, function):
        super().__init__()
        self.function, self.images = function, 0

    def forward(self, images: Tensor) -> Tensor:
        self.images += len(images)
        return self.function(images)


def recipe(function, image: Tensor) -> Tensor:
    """Entropies of one image (channels, height, width), in nats a cell."""
    scale = torch.full((1, 1, GRID, GRID), START, device=image.device, requires_grad=True)
    optimiser = torch.optim.SGD([scale], lr=1e-4)
    with torch.no_grad():
        still = function(image[None])
        noise = START * torch.randn(SAMPLES, *image.shape, device=image.device)
        begun = (function(image + noise) - still).flatten(1).square().sum(1).mean()
    best, found = math.inf, None
    for _ in range(STEPS):
        noise = torch.randn(SAMPLES, *image.shape, device=image.device)
        wide = interpolate(scale, image.shape[1:], mode="nearest")
        moved = (function(image + wide * noise) - still).flatten(1).square().sum(1).mean() / begun
        entropy = scale.log() + CONSTANT
        loss = moved - 5 * entropy.mean()
        off = abs(float(moved.detach()) - ALPHA / START**2)
        if off < best:
            best, found = off, entropy.detach()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return found[0]


def reference(function, images: Tensor, delta: Tensor, steps: int) -> Tensor:
    """Entropies of images by 32 noisy ones a step, and a factor by 4,000."""
    logs = torch.full((len(images), 1, GRID, GRID), math.log(START), requires_grad=True)
    optimiser = torch.optim.Adam([logs], lr=0.05)
    kept = torch.zeros_like(logs)
    with torch.no_grad():
        still = function(images)

    def energy(scales: Tensor, count: int) -> Tensor:
        wide = interpolate(scales, images.shape[2:], mode="nearest")
        noise = torch.randn(count, *images.shape)
        return (
            (function((images + wide * noise).flatten(0, 1)) - still.repeat(count, *[1] * (still.ndim - 1)))
            .flatten(1)
            .square()
            .sum(1)
            .view(count, -1)
            .mean(0)
        )

    for step in range(steps):
        optimiser.param_groups[0]["lr"] = 0.05 * 0.01 ** (step / steps)
        moved = energy(logs.exp(), 32)
        loss = (moved.log() / 2 - logs.flatten(1).mean(1)).sum()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        with torch.no_grad():  # the level is free in the objective: it is held where E is wanted
            logs += ((ALPHA * delta / moved).log() / 2).view(-1, 1, 1, 1) * (0.5 if step < 50 else 0.05)
            if 2 * step >= steps:
                kept += logs / (steps - (steps + 1) // 2)
    with torch.no_grad():
        for _ in range(3):
            moved = torch.stack([energy(kept.exp(), 40) for _ in range(100)]).mean(0)
            kept += ((ALPHA * delta / moved).log() / 2).view(-1, 1, 1, 1)
    return kept + CONSTANT


def pictures(count: int, side: int) -> Tensor:
    """Smooth ones, of a coarse grid of random colours."""
    drawn = torch.rand(count, 3, side // 4, side // 4, generator=torch.Generator().manual_seed(0))
    return interpolate(drawn, (side, side), mode="bilinear")


def speed(count: int, rounds: int, device: torch.device) -> None:
    """Images a second."""
    torch.manual_seed(0)
    network = zoo.build("resnet-20", classes=10, image_shape=(3, 32, 32), mean=0.5, std=0.25).eval().to(device)
    network.requires_grad_(False)
    images, few = pictures(count, 32).to(device), min(4, count)

    with tap(network, ["body.group2"]) as taps:

        def features(given: Tensor) -> Tensor:
            network(given)
            return taps["body.group2"]

        ways = {
            "recipe, one image at a time": lambda: [recipe(features, image) for image in images[:few]],
            "linear": lambda: discarded_information(features, images, method="linear"),
            "solve": lambda: discarded_information(features, images[:few]),
        }
        taken = compared(ways, rounds)
    sizes = {"recipe, one image at a time": few, "linear": count, "solve": few}
    base = taken["recipe, one image at a time"]
    for name, own in taken.items():
        ratio = median(sizes[name] / mine / (few / one) for mine, one in zip(own, base, strict=True))
        print(f"speed: {name:<30} {sizes[name] / median(own):9.2f} images/s {ratio:8.2f}x the recipe's rate")


def small() -> nn.Sequential:
    """Three convolutions and two fully connected layers; its depths 2, 6 and 10 are looked at."""
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 12, 3, padding=1), nn.ReLU(), nn.Conv2d(12, 12, 3, 2, 1), nn.ReLU()]
    layers += [nn.Conv2d(12, 16, 3, 2, 1), nn.ReLU(), nn.Flatten(), nn.Linear(256, 32), nn.ReLU(), nn.Linear(32, 10)]
    for layer in layers:
        if hasattr(layer, "weight"):
            nn.init.kaiming_normal_(layer.weight)
            nn.init.normal_(layer.bias, std=0.1)
    return nn.Sequential(*layers).eval().requires_grad_(False)


def error(steps: int) -> None:
    """Against the reference."""
    network, images = small(), pictures(4, 16)
    for depth in (2, 6, 10):
        layer = network[:depth]
        sensitivity = pixel_sensitivity(layer, images, probes=4096)
        torch.manual_seed(0)
        best = reference(layer, images, sensitivity.spread, steps)
        counted, ours = Counted(layer), Counted(layer)
        theirs = torch.stack([recipe(counted, image) for image in images])
        found = discarded_information(ours, images, delta=sensitivity.spread)
        linear = discarded_information(layer, images, delta=sensitivity.spread, method="linear")
        rows = {
            "recipe": (theirs, f"{counted.images / len(images):.0f} noisy images"),
            "solve": (found.entropy, f"{ours.images / len(images):.0f} noisy images"),
            "linear": (linear.entropy, ""),
        }
        errors = {}
        for name, (entropy, said) in rows.items():
            off = (entropy - best).flatten(1)
            errors[name] = float(off.mean(1).abs().mean())
            spread = float((off - off.mean(1, keepdim=True)).square().mean().sqrt())
            ratio = errors[name] / errors["recipe"]
            print(
                f"error at depth {depth:2}: {name:<7} {errors[name]:.4f} nats ({ratio:6.3f}x), rms {spread:.4f} {said}"
            )


def main(given: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", help="what is run, of speed and error; both if left out")
    parser.add_argument("--images", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--reference", type=int, default=2000, help="steps of the reference")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args(given)
    unknown = set(arguments.parts) - {"speed", "error"}
    if unknown:
        parser.error(f"no such part: {', '.join(sorted(unknown))}; there are speed and error")
    torch.set_num_threads(arguments.threads)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    print(about(device))
    if "speed" in (arguments.parts or ["speed"]):
        speed(arguments.images, arguments.rounds, device)
    if "error" in (arguments.parts or ["error"]):
        print(about())  # small networks are as fast there
        error(arguments.reference)


if __name__ == "__main__":
    main()
