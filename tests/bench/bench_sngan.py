"""SNGAN iterations (5 turns of the discriminator and 1 of the generator) against the same networks trained plainly.

    python tests/bench/bench_sngan.py [--preset gan-evaluation] [--generator-width 256] [--discriminator-width 128]
        [--batch-size 64] [--rounds 5] [--iterations 1] [--peak TFLOPS]

The plain way: the blocks as the papers write them (convolve, then average; repeat pixels, then convolve; shortcuts
likewise), float32, images from a DataLoader through torchvision's ToTensor, one pass of the discriminator for real
images and one for fakes, gradients through the generator thrown away, Adam as it comes. Ours: what `penult train sngan`
does, in bfloat16 on a GPU and float32 on a CPU. Both run in turn, in one process, and are compared by the median over
rounds of the ratio within each. The arithmetic is counted by PyTorch on the plain networks; --peak is the device's, for
the achieved fraction of it.
"""

import argparse
import time
from statistics import median

import torch
import torch.nn.functional as F
from processor import about
from torch import optim
from torch.utils.data import DataLoader, Dataset
from torch.utils.flop_counter import FlopCounterMode
from torchvision.transforms import functional as transforms

from apps.command.config import Optimisation
from apps.data.batches import Batches
from apps.data.image_set import ImageSet
from apps.generators.latents import Gaussian
from apps.generators.residual import DownBlock, UpBlock
from apps.generators.sngan import SNGAN, Discriminator
from apps.generators.sngan_presets import PRESETS, architecture
from apps.generators.sngan_training import Objective, SNGANTraining

CLASSES = tuple("0123456789")


def up(self, x, labels):
    """An up block as it is written."""
    h = self.conv1(self._up(F.relu(self.norm1(x, labels))))
    return self.conv2(F.relu(self.norm2(h, labels))) + self.shortcut(self._up(x))


def down(self, x):
    """A down block as it is written."""
    h = self.conv2(F.relu(self.conv1(x if self.first else F.relu(x))))
    shortcut = x if self.shortcut is None else self.shortcut(x)
    if self.halve:
        h, shortcut = F.avg_pool2d(h, 2), F.avg_pool2d(shortcut, 2)
    return h + shortcut


class Pictures(Dataset):
    """What a data set of pictures gives a DataLoader."""

    def __init__(self, pixels, labels):
        self.pixels = pixels.movedim(1, -1).contiguous().numpy()
        self.labels = labels.tolist()

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, index):
        return transforms.to_tensor(self.pixels[index]) * 2 - 1, self.labels[index]


def networks(arguments, device):
    """Both networks, freshly initialised the same each time."""
    torch.manual_seed(0)
    sizes = architecture(arguments.preset, (3, 32, 32), arguments.generator_width, arguments.discriminator_width)
    model, discriminator = SNGAN(sizes, CLASSES, Gaussian(128)), Discriminator(sizes, 10)
    return model.to(device).train(), discriminator.to(device).train()


def plain_iteration(arguments, pixels, labels, device):
    """A function that trains one iteration the plain way, and the networks of it."""
    model, discriminator = networks(arguments, device)
    for block in (*model.modules(), *discriminator.modules()):
        if isinstance(block, UpBlock | DownBlock):
            block.forward = (up if isinstance(block, UpBlock) else down).__get__(block)
    optimizers = [optim.Adam(net.parameters(), 2e-4, (0.0, 0.9)) for net in (model, discriminator)]
    workers = vars(arguments).get("workers", 0)
    pictures, several = Pictures(pixels, labels), {"num_workers": workers, "persistent_workers": workers > 0}
    loader = DataLoader(pictures, arguments.batch_size, shuffle=True, drop_last=True, **several)

    def endless():
        while True:
            yield from loader

    stream = endless()

    def fakes(labels):
        return model(torch.randn(len(labels), 128, device=device), labels)

    def iteration():
        for _ in range(5):
            real, labels = (part.to(device) for part in next(stream))
            on_real, on_fake = discriminator(real, labels), discriminator(fakes(labels), labels)
            (F.relu(1 - on_real).mean() + F.relu(1 + on_fake).mean()).backward()
            optimizers[1].step()
            for optimizer in optimizers:
                optimizer.zero_grad()
        labels = torch.randint(10, (arguments.batch_size,), device=device)
        (-discriminator(fakes(labels), labels).mean()).backward()
        optimizers[0].step()
        for optimizer in optimizers:
            optimizer.zero_grad()

    return iteration


def our_iteration(arguments, images, device):
    """A function that trains one iteration as the training loop does."""
    model, discriminator = (net.to(memory_format=torch.channels_last) for net in networks(arguments, device))
    preset = PRESETS[arguments.preset]
    objective = Objective(labels=preset.labels, dequantise=preset.dequantise)
    task = SNGANTraining(model, discriminator, objective, 0)
    batches = Batches(images, arguments.batch_size, 0, device=device, channels_last=True)
    config, drawn = Optimisation(lr=2e-4), 0
    optimizers = {turn: task.optimizer(turn, task.phase, config) for turn in ("discriminator", "generator")}

    def iteration():
        nonlocal drawn
        for turn in task.turns(0):
            model.requires_grad_(turn == "generator")
            discriminator.requires_grad_(turn == "discriminator")
            with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
                losses = task.losses(turn, batches.at(drawn), 1)
            sum(losses.values()).backward()
            optimizers[turn].step()
            optimizers[turn].zero_grad(set_to_none=True)
            drawn += 1

    return iteration


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", choices=PRESETS, default="gan-evaluation")
    parser.add_argument("--generator-width", type=int, default=256)
    parser.add_argument("--discriminator-width", type=int, default=128)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--iterations", type=int, default=1)
    parser.add_argument("--peak", type=float, help="the device's arithmetic in TFLOP/s")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.backends.cudnn.benchmark = True
    seeded = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (10_000, 3, 32, 32), dtype=torch.uint8, generator=seeded)
    labels = torch.randint(0, 10, (10_000,), generator=seeded)
    images = ImageSet("noise", "train", pixels, labels, CLASSES)
    ways = {
        "plain": plain_iteration(arguments, pixels, labels, device),
        "ours": our_iteration(arguments, images, device),
    }
    with FlopCounterMode(display=False) as counter:
        ways["plain"]()
    ways["ours"]()
    work = counter.get_total_flops() / 1e12
    on_cpu = device.type == "cpu" and arguments.threads == 1
    clock = time.process_time if on_cpu else time.perf_counter
    spent = {name: [] for name in ways}
    for _ in range(arguments.rounds):
        for name, iteration in ways.items():
            start = clock()
            for _ in range(arguments.iterations):
                iteration()
            if device.type == "cuda":
                torch.cuda.synchronize()
            spent[name].append((clock() - start) / arguments.iterations)
    ratio = median(plain / ours for plain, ours in zip(spent["plain"], spent["ours"], strict=True))
    print(about(device))
    print(f"{arguments.preset}, widths {arguments.generator_width} and {arguments.discriminator_width}, ", end="")
    print(f"batch {arguments.batch_size}, {work:.3g} TFLOP an iteration as written")
    for name, seconds in spent.items():
        rate = work / median(seconds)
        fraction = f", {rate / arguments.peak:.0%} of the peak" if arguments.peak else ""
        print(f"{name:>6}: {1 / median(seconds):8.3g} iterations/s, {rate:.3g} TFLOP/s{fraction}")
    print(f" ratio: {ratio:.2f}")


if __name__ == "__main__":
    main()
