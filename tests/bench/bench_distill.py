"""Steps of distillation against the plain way: WRN-40-2 to WRN-16-2 at the size of CIFAR-100.

    python tests/bench/bench_distill.py [--teacher wrn-40-2] [--student wrn-16-2] [--batch-size 64] [--precision fp32]
        [--rounds 9] [--threads 1] [--sums ce+dkd ce+review ...]

The plain way: float32 as convolutions come (channels first), pictures one by one through torchvision's RandomCrop,
RandomHorizontalFlip, ToTensor and Normalize in a DataLoader, a forward pass of the teacher in every step, SGD as it
comes. Ours: what `penult distill` does. "cached": every view's logits are there already, as in a later run with the
same teacher. `--sums` names other sums of terms to time. All ways run in turn, in one process; printed are medians over
rounds of the time of a step, and of the ratios within each round.
"""

import argparse
import tempfile
import time
from pathlib import Path
from statistics import median

import numpy as np
import torch
import torch.nn.functional as F
from processor import about
from torch import optim
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms
from torchvision.transforms import functional

from apps.command.config import Optimisation
from apps.data.augment import Augmentation
from apps.data.batches import Batches
from apps.data.image_set import ImageSet
from apps.distilling.distillation import Distillation
from apps.distilling.teacher_logits import TeacherLogits
from distill import objective
from priors import ClassifierPrior, zoo

MEAN, DEVIATION = (0.5071, 0.4867, 0.4408), (0.2675, 0.2565, 0.2761)
CLASSES, AUGMENTATION = 100, Augmentation(flip=True, padding=4)


class Pictures(Dataset):
    """PIL images, one by one through torchvision's transforms."""

    def __init__(self, images: ImageSet):
        self.pictures = [functional.to_pil_image(image) for image in images.images]
        self.labels = images.labels.tolist()
        self.transform = transforms.Compose(
            [
                transforms.RandomCrop(32, padding=4),
                transforms.RandomHorizontalFlip(),
                transforms.ToTensor(),
                transforms.Normalize(MEAN, DEVIATION),
            ]
        )

    def __len__(self):
        return len(self.pictures)

    def __getitem__(self, index):
        return self.transform(self.pictures[index]), self.labels[index]


def network(name, device, mean=MEAN, std=DEVIATION):
    torch.manual_seed(0)
    return zoo.build(name, classes=CLASSES, image_shape=(3, 32, 32), mean=mean, std=std).to(device)


def plainly(arguments, images, device, teach=True):
    """A step of KD the plain way."""
    student, teacher = (network(name, device, 0.0, 1.0) for name in (arguments.student, arguments.teacher))
    student.train()
    teacher.eval().requires_grad_(False)
    optimizer = optim.SGD(student.parameters(), 0.05, 0.9, weight_decay=5e-4)
    workers = vars(arguments).get("workers", 0)
    pictures, several = Pictures(images), {"num_workers": workers, "persistent_workers": workers > 0}
    loader = DataLoader(pictures, arguments.batch_size, shuffle=True, drop_last=True, **several)

    def endless():
        while True:
            yield from loader

    stream = endless()

    def step():
        pixels, labels = (part.to(device) for part in next(stream))
        with torch.no_grad():
            target = teacher(pixels)
        logits = student(pixels)
        soft = F.kl_div((logits / 4).log_softmax(1), (target / 4).softmax(1), reduction="batchmean")
        loss = 0.1 * F.cross_entropy(logits, labels) + 0.9 * 16 * soft
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step


def ours(arguments, images, device, words, cache=None):
    """A step of `penult distill` with these terms."""
    prior = ClassifierPrior.from_weight(torch.randn(CLASSES, 128), 80)
    teacher = network(arguments.teacher, device).to(memory_format=torch.channels_last)
    student = network(arguments.student, device).train()
    total = objective(
        words,
        student=student,
        teacher=teacher,
        prior=prior,
        labels=images.labels,
        class_means=lambda temperature: torch.eye(CLASSES).div(temperature).softmax(1),
        activation_means=lambda: torch.rand(CLASSES, teacher.head.in_features),
    )
    task = Distillation(total, 0, {}, teacher_logits=cache, batch_size=arguments.batch_size)
    for module in (*task.networks.values(), *task.frozen.values()):
        module.to(device)
    student.to(memory_format=torch.channels_last)
    optimizer = task.optimizer("train", task.phase, Optimisation(optimizer="momentum", lr=0.05, weight_decay=5e-4))
    batches, number = (
        Batches(images, arguments.batch_size, 0, augmentation=AUGMENTATION, device=device, channels_last=True),
        0,
    )

    def step():
        nonlocal number
        with torch.autocast(device.type, torch.bfloat16, enabled=arguments.precision == "bf16"):
            losses = task.losses("train", batches.at(number), number)
        sum(losses.values()).backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        number += 1

    return step


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--teacher", default="wrn-40-2")
    parser.add_argument("--student", default="wrn-16-2")
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--steps", type=int, default=2, help="of each way in a round")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--sums", nargs="*", default=("ce+ckd", "ce+crd"), help="sums of terms beside ce and ce+hinton")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.backends.cudnn.benchmark = True
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    seeded = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (50_000, 3, 32, 32), dtype=torch.uint8, generator=seeded)
    labels = torch.arange(50_000) % CLASSES
    images = ImageSet("noise", "train", pixels, labels, tuple(map(str, range(CLASSES))))
    with tempfile.TemporaryDirectory() as folder:
        filled = TeacherLogits(Path(folder), {}, len(images), AUGMENTATION.views, CLASSES)
        for rows in np.array_split(np.arange(len(images) * AUGMENTATION.views), 200):
            filled._put(rows, filled._logits[rows])
        few = ImageSet(images.name, images.split, pixels[:5_000], labels[:5_000], images.class_names)
        ways = {
            "plain KD": plainly(arguments, few, device),
            "ce (the student alone)": ours(arguments, images, device, "ce"),
            "ce+hinton": ours(arguments, images, device, "ce+hinton"),
            "ce+hinton, cached": ours(arguments, images, device, "ce+hinton", filled),
        } | {words: ours(arguments, images, device, words) for words in arguments.sums}
        taken = {name: [] for name in ways}
        for number in range(arguments.rounds + 1):
            for name, step in ways.items():
                if device.type == "cuda":
                    torch.cuda.synchronize()
                begun = time.perf_counter()
                for _ in range(arguments.steps):
                    step()
                if device.type == "cuda":
                    torch.cuda.synchronize()
                if number:
                    taken[name].append((time.perf_counter() - begun) / arguments.steps)
    plain, alone = taken["plain KD"], taken["ce (the student alone)"]
    print(about(device))
    print(f"{arguments.teacher} to {arguments.student}, batch {arguments.batch_size}, {arguments.precision}")
    print(f"{'way':>24} {'ms a step':>10} {'of plain KD':>12} {'of the student alone':>21}")
    for name, own in taken.items():
        faster = median(theirs / mine for theirs, mine in zip(plain, own, strict=True))
        slower = median(mine / one for mine, one in zip(own, alone, strict=True))
        print(f"{name:>24} {1e3 * median(own):10.1f} {faster:11.2f}x {slower:20.3f}x")


if __name__ == "__main__":
    main()
