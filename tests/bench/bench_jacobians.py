"""What full-Jacobians cost: the decomposition of a batch beside a pass forward and back, and training by slopes.

    python tests/bench/bench_jacobians.py [decomposition] [training] [--batch-size 32] [--rounds 7] [--threads 1]

`decomposition`: a ResNet-18 at 64 pixels and a VGG-11 at 32, in evaluation mode. First a pass forward and back to the
weights, as in a step of training, which the others are compared with; then one back to the images alone, which is what
any saliency map takes; then the decomposition, with all maps and with totals alone. Of a batch of 32 it works on 33
images, since it looks at the first by itself.

`training`: a step of VGG-11 on labels, forward, backward and SGD, channels last. Against it steps with bias-Jacobians
of three layers that are spread over it, as the terms take them, and of the last three; with the input-Jacobian; and
with both, by running statistics: a further forward pass, a pass back, and the way back through that. Then steps of
distillation from VGG-9, which has a pass and a pass back too, against one of `ce+hinton`.

All ways run in turn, in one process; printed are medians over rounds of their times, and of the ratios in each round.
"""

import argparse
from collections.abc import Callable, Sequence
from statistics import median

import torch
import torchvision
from jacobian_steps import steps
from processor import about
from torch import Tensor, nn
from turns import compared

from analysis import decompose
from priors import zoo

CLASSES = 100
Ways = dict[str, Callable[[], object]]
"""By name: what is run; the others are compared with the first."""


def networks() -> dict[str, tuple[nn.Module, int]]:
    """By name: a network that is not trained, and the side of its images."""
    torch.manual_seed(0)
    return {
        "ResNet-18": (torchvision.models.resnet18(num_classes=CLASSES), 64),
        "VGG-11": (zoo.build("vgg-11", classes=CLASSES, image_shape=(3, 32, 32), mean=0.5, std=0.25), 32),
    }


def decompositions(batch: int, device: torch.device) -> dict[str, Ways]:
    """Of a batch, by network."""
    found = {}
    for name, (network, side) in networks().items():
        network = network.eval().to(device)
        images, labels = torch.rand(batch, 3, side, side, device=device), torch.arange(batch, device=device) % CLASSES
        found[f"{name}, {batch} images of {side} pixels"] = {
            "forward and back to the weights": lambda given=(network, images, labels): to_weights(*given),
            "forward and back to the images": lambda given=(network, images, labels): to_images(*given),
            "decomposition": lambda given=(network, images, labels): decompose(*given),
            "decomposition, totals alone": lambda given=(network, images, labels): decompose(*given, keep="totals"),
        }
    return found


def to_weights(network: nn.Module, images: Tensor, labels: Tensor) -> None:
    """Gradients of the sum of the labels' logits in all weights."""
    network.zero_grad(set_to_none=True)
    network(images).gather(1, labels[:, None]).sum().backward()


def to_images(network: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    """The same in the images alone."""
    leaf = images.clone().requires_grad_()
    for parameter in network.parameters():
        parameter.requires_grad_(False)
    try:
        return torch.autograd.grad(network(leaf).gather(1, labels[:, None]).sum(), leaf)[0]
    finally:
        for parameter in network.parameters():
            parameter.requires_grad_(True)


PARTS: dict[str, Callable[[int, torch.device], dict[str, Ways]]] = {
    "decomposition": decompositions,
    "training": steps,
}
"""By the name on the command line: what it makes of a batch size and a device."""


def main(given: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", help=f"what is run, of {', '.join(PARTS)}; all of it if left out")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args(given)
    unknown = set(arguments.parts) - set(PARTS)
    if unknown:
        parser.error(f"no such part: {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
    torch.set_num_threads(arguments.threads)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    print(about(device))
    for part in arguments.parts or PARTS:
        for what, ways in PARTS[part](arguments.batch_size, device).items():
            taken = compared(ways, arguments.rounds)
            base = taken[next(iter(taken))]
            for name, own in taken.items():
                ratio = median(mine / one for mine, one in zip(own, base, strict=True))
                print(f"{what}: {name:<36} {1e3 * median(own):9.1f} ms {ratio:7.3f}x")


if __name__ == "__main__":
    main()
