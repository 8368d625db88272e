"""How fast batches come, against torchvision's per-image transforms in a DataLoader.

    python tests/bench/bench_data.py [--threads 1] [--device cpu]

Random pixels at the sizes of CIFAR and MNIST; both ways are timed in turn in one process, and medians are compared.
That both give the same batch for the same draws is checked first.
"""

import argparse
import statistics
import time

import torch
from processor import about
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import functional

from apps.data.augment import Augmentation
from apps.data.batches import Batches
from apps.data.binarise import binarise
from apps.data.image_set import ImageSet

MEAN, DEVIATION = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)


class OneByOne(Dataset):
    """PIL images through pad, crop, flip, to tensor and normalise, with draws that are given."""

    def __init__(self, images: ImageSet, views: list[int] | None, padding: int = 4):
        self.pictures = [functional.to_pil_image(image) for image in images.images]
        self.labels, self.views, self.padding = images.labels.tolist(), views, padding

    def __len__(self):
        return len(self.pictures)

    def __getitem__(self, position):
        picture, label = self.pictures[position], self.labels[position]
        if self.views is None:
            return functional.to_tensor(picture), label
        place, flipped = divmod(self.views[position], 2)
        top, left = divmod(place, 2 * self.padding + 1)
        height, width = picture.size[::-1]
        picture = functional.crop(functional.pad(picture, self.padding), top, left, height, width)
        tensor = functional.to_tensor(functional.hflip(picture) if flipped else picture)
        return functional.normalize(tensor, MEAN, DEVIATION, inplace=True), label


def noise(count, shape):
    pixels = torch.randint(0, 256, (count, *shape), generator=torch.manual_seed(0), dtype=torch.uint8)
    return ImageSet("noise", "train", pixels, torch.arange(count) % 10, tuple("0123456789"))


def interleaved(ways, repeats, device):
    """Median seconds of each way, run in turn."""
    taken = {name: [] for name in ways}
    for _ in range(repeats):
        for name, way in ways.items():
            begun = time.perf_counter()
            way()
            if device.type == "cuda":
                torch.cuda.synchronize()
            taken[name].append(time.perf_counter() - begun)
    return {name: statistics.median(times[2:]) for name, times in taken.items()}


def endless(loader):
    while True:
        yield from loader


def cifar(device, batch_size=128, count=5120):
    images = noise(count, (3, 32, 32))
    batches = Batches(images, batch_size, 0, augmentation=Augmentation(flip=True, padding=4), device=device)
    mean, deviation = (torch.tensor(values, device=device)[:, None, None] for values in (MEAN, DEVIATION))

    def ours(number):
        batch = batches.at(number)
        return batch.images.sub_(mean).div_(deviation), batch.labels

    order = torch.cat([batches.at(i).index for i in range(count // batch_size)]).tolist()
    views = torch.cat([batches.at(i).view for i in range(count // batch_size)]).tolist()
    loader = DataLoader(
        OneByOne(images, [view for _, view in sorted(zip(order, views, strict=True))]), batch_size, sampler=order
    )
    for number, (pixels, labels) in zip(range(3), loader, strict=False):
        for found, expected in zip(ours(number), (pixels, labels), strict=True):
            assert torch.equal(found.cpu(), expected) or (
                device.type == "cuda" and torch.allclose(found.cpu(), expected)
            )
    numbers, stream = iter(range(10**9)), endless(loader)
    return {
        "ours": lambda: ours(next(numbers)),
        "torchvision": lambda: [tensor.to(device) for tensor in next(stream)],
    }


def mnist(device, batch_size=64, count=60_000):
    images = noise(count, (1, 28, 28))
    batches = Batches(images, batch_size, 0, device=device)
    draws = torch.Generator(device).manual_seed(0)
    order = torch.cat([batches.at(i).index for i in range(30)]).tolist()
    loader = DataLoader(OneByOne(images, None), batch_size, sampler=order)
    for number, (pixels, labels) in zip(range(3), loader, strict=False):
        batch = batches.at(number)
        assert torch.equal(batch.images.cpu(), pixels) and torch.equal(batch.labels.cpu(), labels)
    numbers, more, stream = iter(range(10**9)), iter(range(10**9)), endless(loader)
    return {
        "ours": lambda: binarise(batches.at(next(numbers)).images, draws),
        "torchvision": lambda: binarise(next(stream)[0].to(device), draws),
        "at() only": lambda: batches.at(next(more)),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu", type=torch.device)
    parser.add_argument("--repeats", type=int, default=150)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    print(about(given.device))
    print(f"medians of {given.repeats} batches\n")
    print(f"{'microseconds a batch':44}{'ours':>10}{'torchvision':>14}{'ratio':>8}{'asked':>8}")
    rows = (
        ("CIFAR size, 128: gather, crop, flip, normalise", cifar, 5.0),
        ("MNIST size, 64: gather, binarise", mnist, None),
    )
    for name, way, asked in rows:
        seconds = interleaved(way(given.device), given.repeats, given.device)
        ratio = seconds["torchvision"] / seconds["ours"]
        wanted = f"{asked:.0f}x" if asked else "-"
        print(f"{name:44}{seconds['ours'] * 1e6:10.0f}{seconds['torchvision'] * 1e6:14.0f}{ratio:7.1f}x{wanted:>8}")
        if "at() only" in seconds:
            print(f"{'  of which Batches.at (asked: < 150)':44}{seconds['at() only'] * 1e6:10.0f}")


if __name__ == "__main__":
    main()
