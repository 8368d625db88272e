"""The same network with the weights that it would begin its training with."""

import copy

import torch

from apps.seeds import derive
from priors import zoo
from priors.errors import InputError
from priors.zoo import Classifier


def untrained(network: Classifier, name: str, seed: int) -> Classifier:
    """Another network of that make, in evaluation mode; torch's random state is left as it was.

    Args:
        network: a classifier; it is not changed.
        name: of it, on the command line.
        seed: of the random weights.

    Raises:
        InputError: it has weights that none of its modules knows how to draw.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive(seed, "untrained"))
        made = network.architecture
        if made is not None:
            options = {key: value for key, value in made.items() if key not in ("name", "options")}
            return zoo.build(made["name"], **options, **made["options"]).eval()
        twin = copy.deepcopy(network).cpu()
        for place, module in twin.named_modules():
            if hasattr(module, "reset_parameters"):
                module.reset_parameters()
            elif any(True for _ in module.parameters(recurse=False)):
                raise InputError(
                    f"--untrained: {name} has weights in {place} ({type(module).__name__}), which has no "
                    "reset_parameters() to draw them by; give such a network with random weights by --against"
                )
        return twin.eval()
