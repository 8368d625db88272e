"""An HVAE's two posteriors side by side on MNIST: bound, likelihood, importance weights, spread of gradients.

    PENULT_DATA=folder/of/mnist python tests/bench/bench_posteriors.py [--steps 400] [--dims 10 40 128]

Trains an HVAE by each posterior for a few hundred steps from the same seed, which takes seconds, and prints in float32,
of the first test images, d being the dimension of the sphere: the bound and log p(x) in nats; the effective sample size
(sum w)^2 / sum w^2 of the importance weights in per cent of the draws, at the median image; the standard deviation of
the encoder's gradient over draws of z at one batch, relative to that gradient's length; the milliseconds of a step, as
its CPU counts them; and how many of the numbers were not finite. Longer trainings: `penult table penultimate 4-cauchy`.
"""

import argparse
import os
import time

import torch
from processor import about

from apps.data import sources
from apps.data.batches import Batches
from apps.data.binarise import binarise
from apps.generators.hvae import HVAE
from apps.generators.hvae_training import HVAETraining
from apps.generators.posteriors import POSTERIORS
from apps.seeds import generator

_DRAWS, _IMAGES = 200, 200


def trained(images, dim: int, posterior: str, steps: int) -> tuple[HVAE, float]:
    """A model after some steps, and the milliseconds of one."""
    torch.manual_seed(0)
    model = HVAE(images.image_shape, dim + 1, images.class_names, posterior=posterior)
    task, batches = HVAETraining(model, 0, None, steps // 4), Batches(images, 64, 0)
    optimizer = torch.optim.AdamW(model.parameters(), 3e-3, fused=True)
    begun = time.process_time()
    for step in range(steps):
        sum(task.losses("train", batches.at(step), step).values()).backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    return model.eval(), (time.process_time() - begun) / steps * 1e3


def row(model: HVAE, images) -> tuple[float, ...]:
    """What is printed of a model."""
    x = binarise(images.images[:_IMAGES].float() / 255, generator("cpu", 0))
    labels = images.labels[:_IMAGES]
    with torch.no_grad():
        evidence = model.evidence(x, labels, _DRAWS, generator("cpu", 1))
        q = model.encode(x)
        z = type(q)(q.loc[:, None], q.concentration[:, None]).expand((_IMAGES, _DRAWS)).sample()
        log_q = type(q)(q.loc[:, None], q.concentration[:, None], validate_args=False).log_prob(z)
        weights = model._weights(x.flatten(1), labels, z, log_q)[1].softmax(1)
        effective = (1 / weights.square().sum(1) / _DRAWS).median() * 100
    found = []
    for draw in range(30):
        model.zero_grad()
        bound = model(x[:64], labels[:64], generator("cpu", 2, draw))
        (bound.divergence - bound.reconstruction).mean().backward()
        found.append(
            torch.cat([p.grad.flatten() for p in (*model.encoder.parameters(), *model.to_posterior.parameters())])
        )
    gradients = torch.stack(found)
    spread = gradients.var(0).sum().sqrt() / gradients.mean(0).norm()
    numbers = torch.cat([gradients.flatten(), evidence.marginal, log_q.flatten()])
    elbo = (evidence.reconstruction - evidence.divergence).mean()
    return tuple(map(float, (elbo, evidence.marginal.mean(), effective, spread, (~numbers.isfinite()).sum())))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--dims", type=int, nargs="+", default=[10, 40, 128])
    options = parser.parse_args()
    torch.set_num_threads(1)
    train, test = (sources.load("mnist", split, root=os.environ.get("PENULT_DATA")) for split in ("train", "test"))
    print(about())
    print(
        f"{'d':>4}  {'posterior':<17}{'ELBO':>9}{'log p(x)':>10}{'ESS, %':>8}{'spread':>8}{'ms':>7}{'not finite':>12}"
    )
    for dim in options.dims:
        for name in POSTERIORS:
            model, taken = trained(train, dim, name, options.steps)
            elbo, likelihood, effective, spread, lost = row(model, test)
            print(
                f"{dim:>4}  {name:<17}{elbo:>9.2f}{likelihood:>10.2f}{effective:>8.1f}{spread:>8.2f}{taken:>7.2f}"
                f"{lost:>12.0f}"
            )


if __name__ == "__main__":
    main()
