"""Importance-sampled likelihoods against the decoder's matrix products and convolutions alone.

    python tests/bench/bench_likelihood.py [--latent-dim 10] [--samples 500] [--images 100]

The products are those that no implementation can leave out: every draw of z through each layer's weights, for HVAE-C
once a class, without biases, activations or anything else, in blocks of as many draws as are fastest here. Both run in
turn, in one process and on one thread, and are compared by processor time: what is printed is the median over rounds of
the ratio within each.
"""

import argparse
import time
from statistics import median

import torch
import torch.nn.functional as F
from processor import about
from torch import nn

from apps.generators.hvae import HVAE, HVAEC, HVAEL
from priors import ClassifierPrior

CLASSES = tuple("0123456789")


def products(model, draws: int, block: int) -> None:
    """The products of `draws` decodings."""
    layers = [layer for part in (model.decoder, model.to_logits) for layer in part.modules()]
    weights = [layer.weight for layer in layers if isinstance(layer, nn.Linear | nn.Conv2d)]
    z = torch.randn(block, weights[0].shape[1])
    for first in range(0, draws, block):
        h = z[: draws - first]
        for weight in weights:
            if weight.ndim == 2:
                h = F.linear(h, weight)
                continue
            maps = h.unflatten(-1, (*model.decoder.grid, -1)).permute(0, 3, 1, 2) if h.ndim == 2 else h
            h = F.conv2d(maps, weight, padding=1)


def fastest(model) -> int:
    """The block in which the products take the least time."""

    def spent(block: int) -> float:
        start = time.process_time()
        products(model, 2**14, block)
        return time.process_time() - start

    blocks = [2**power for power in range(7, 14)]
    return min(blocks, key=lambda block: min(spent(block) for _ in range(3)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--latent-dim", type=int, default=10)
    parser.add_argument("--samples", type=int, default=500)
    parser.add_argument("--images", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    dim = arguments.latent_dim + 1
    images = torch.bernoulli(torch.rand(arguments.images, 1, 28, 28))
    labels = torch.randint(0, 10, (arguments.images,))
    prior = ClassifierPrior.from_weight(torch.randn(10, dim), 20, class_names=CLASSES)
    models = (HVAE((1, 28, 28), dim, CLASSES), HVAEC((1, 28, 28), dim, CLASSES))
    models += (HVAEL((1, 28, 28), dim, CLASSES, prior=prior), HVAE((1, 28, 28), dim, CLASSES, networks="conv"))
    print(about())
    print(f"{arguments.images} images, K = {arguments.samples}, sphere in R^{dim}")
    print(f"{'model':>12} {'decodings/s':>12} {'over the products':>18}")
    with torch.inference_mode():
        for model in models:
            block = fastest(model)
            draws = arguments.images * arguments.samples
            decodings = draws * (10 if isinstance(model, HVAEC) else 1)
            spent = {"evidence": [], "products": []}
            for number in range(arguments.rounds + 1):
                for name, call in (
                    ("evidence", lambda: model.evidence(images, labels, arguments.samples)),  # noqa: B023
                    ("products", lambda: products(model, decodings, block)),  # noqa: B023
                ):
                    start = time.process_time()
                    call()
                    if number:
                        spent[name].append(time.process_time() - start)
            over = median(ours / floor for ours, floor in zip(spent["evidence"], spent["products"], strict=True))
            name = f"{model.title}, {model.networks.name}"
            print(f"{name:>12} {decodings / median(spent['evidence']):12,.0f} {over:18.2f}", flush=True)


if __name__ == "__main__":
    main()
