"""HVAE training steps by each posterior against a Gaussian VAE's, what convolutions take, and what of it is data.

    python tests/bench/bench_hvae.py [--latent-dim 10] [--batch-size 64]

Both steps gather and binarise a batch, run forward and backward and a fused Adam; they are timed in turn, in one
process, on one thread, and compared by the median over rounds of processor time. The images have MNIST's size and
number; their content costs nothing.
"""

import argparse
import time
from statistics import median

import torch
import torch.nn.functional as F
from processor import about
from torch import nn

from apps.command.config import Optimisation
from apps.data.batches import Batches
from apps.data.binarise import binarise
from apps.data.image_set import ImageSet
from apps.generators.hvae import HVAE, HVAEL
from apps.generators.hvae_training import HVAETraining
from apps.seeds import generator
from apps.training.task import build_optimizer, total
from priors import ClassifierPrior


class GaussianVAE(nn.Module):
    """784 - 256 - 128 - (mean, log variance) - 128 - 256 - 784."""

    def __init__(self, pixels: int, dim: int):
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Linear(pixels, 256), nn.ReLU(), nn.Linear(256, 128), nn.ReLU(), nn.Linear(128, 2 * dim)
        )
        self.decoder = nn.Sequential(
            nn.Linear(dim, 128), nn.ReLU(), nn.Linear(128, 256), nn.ReLU(), nn.Linear(256, pixels)
        )

    def forward(self, x, stream):
        mean, log_variance = self.encoder(x).chunk(2, -1)
        z = mean + torch.randn(mean.shape, generator=stream) * (0.5 * log_variance).exp()
        divergence = 0.5 * (log_variance.exp() + mean.square() - 1 - log_variance).sum(-1)
        return (
            F.binary_cross_entropy_with_logits(self.decoder(z), x, reduction="none").sum(-1).mean() + divergence.mean()
        )


def steps(latent_dim: int, batch_size: int):
    """By name, a function of the step's number that trains once."""
    seeded = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (60_000, 1, 28, 28), dtype=torch.uint8, generator=seeded)
    images = ImageSet("noise", "train", pixels, torch.randint(0, 10, (60_000,), generator=seeded), tuple("0123456789"))
    batches, config = Batches(images, batch_size, 0), Optimisation()
    torch.manual_seed(0)
    gaussian = GaussianVAE(784, latent_dim)
    prior = ClassifierPrior.from_weight(torch.randn(10, latent_dim + 1), 20, class_names=images.class_names)
    models = {
        "HVAE": HVAE(images.image_shape, latent_dim + 1, images.class_names),
        "HVAE-L": HVAEL(images.image_shape, latent_dim + 1, images.class_names, prior=prior),
        "HVAE, Cauchy": HVAE(images.image_shape, latent_dim + 1, images.class_names, posterior="spherical-cauchy"),
        "HVAE-L, Cauchy": HVAEL(
            images.image_shape, latent_dim + 1, images.class_names, prior=prior, posterior="spherical-cauchy"
        ),
        "HVAE, conv": HVAE(images.image_shape, latent_dim + 1, images.class_names, networks="conv"),
        "HVAE-L, conv": HVAEL(images.image_shape, latent_dim + 1, images.class_names, prior=prior, networks="conv"),
    }
    optimizer, stream = build_optimizer([gaussian], config), generator("cpu", 0)

    def plain(number):
        stream.manual_seed(number)
        x = binarise(batches.at(number).images, stream).flatten(1)
        gaussian(x, stream).backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    found = {"Gaussian VAE": plain, "data alone": batches.at}
    for name, model in models.items():
        task, own = HVAETraining(model, 0, None, 1000), build_optimizer([model], config)

        def step(number, task=task, own=own):
            total(task.losses("train", batches.at(number), number)).backward()
            own.step()
            own.zero_grad(set_to_none=True)

        found[name] = step
    return found


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--latent-dim", type=int, default=10)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    torch.set_num_threads(1)
    found = steps(options.latent_dim, options.batch_size)
    times = {name: [] for name in found}
    for round_ in range(options.rounds + 2):
        for name, step in found.items():
            began = time.process_time()
            for number in range(40):
                step(number + 40 * round_)
            if round_ >= 2:
                times[name].append((time.process_time() - began) / 40 * 1e3)
    print(about())
    print(f"batch {options.batch_size}, d = {options.latent_dim}")
    against = ("Gaussian VAE", "HVAE")
    print(f"{'step':<16}{'ms':>8}" + "".join(f"{'of the ' + other:>22}" for other in against))
    for name, own in times.items():
        ratios = (median(a / b for a, b in zip(own, times[other], strict=True)) for other in against)
        print(f"{name:<16}{median(own):>8.3f}" + "".join(f"{ratio:>21.2f}x" for ratio in ratios))


if __name__ == "__main__":
    main()
