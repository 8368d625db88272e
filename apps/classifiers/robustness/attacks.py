"""Searches for the smallest change of an image: penult's own, and Foolbox's, an optional package.

Foolbox 3.3.4 (2024) installs as it is, with GitPython, requests and eagerpy. Adversarial Library (adv-lib 0.2.8, 2026)
is newer and has the same searches, but brings visdom, a server of plots: visdom 0.2.4 is not built by today's
setuptools, and 0.3.0 asks for Python 3.12 and brings openTSNE and networkx. What any search gives is judged by
`analysis.judged_perturbation`: norms and classes are never the package's word.

On 24 digits of MNIST towards four classes each (a lenet-32-32), mean norms were 1.797 by DDN with 1,000 steps, and with
100 steps 1.800 by pgd and 1.810 by DDN. Foolbox's FMN is left out: there it found 2.65, also with 300 steps, and of a
linear network 2.7 to 5.2 times the distance to the other class.
"""

import warnings
from importlib.util import find_spec

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from analysis.robustness.minimal import Perturbation, judged_perturbation, minimal_perturbation
from priors.errors import InputError
from priors.reading.dry_pass import constant_parameters


def require_foolbox(method: str) -> None:
    """Refuse a method of a package that is not there.

    Raises:
        InputError: Foolbox is not installed.
    """
    if method == "ddn" and find_spec("foolbox") is None:
        raise InputError(
            "--method ddn: Foolbox is not installed here; install it with pip install foolbox (the extra "
            "robustness), or give --method pgd"
        )


def attack(
    method: str,
    network: nn.Module,
    images: Float[Tensor, "batch *image"],
    targets: Int64[Tensor, " batch"],
    steps: int,
    seed: int,
) -> Perturbation:
    """Look for the smallest change of each image towards its class.

    Args:
        method: pgd or ddn.
        network: in evaluation mode, on the images' device.
        images: in [0, 1].
        targets: the classes that are wanted.
        steps: gradients for each.
        seed: of what is random; torch's own state stays as it is.
    """
    if method == "pgd":
        return minimal_perturbation(network, images, targets, steps=steps)
    with torch.random.fork_rng([images.device] if images.device.type == "cuda" else []):
        torch.manual_seed(seed)
        return judged_perturbation(network, images, _ddn(network, images, targets, steps), targets)


def _ddn(network: nn.Module, images: Tensor, targets: Tensor, steps: int) -> Tensor:
    with warnings.catch_warnings():
        # It takes a function of scipy's by a name of before.
        warnings.filterwarnings("ignore", category=DeprecationWarning)
        from foolbox import PyTorchModel, TargetedMisclassification
        from foolbox.attacks import DDNAttack

    with constant_parameters(network):
        model = PyTorchModel(network, bounds=(0, 1), device=images.device)
        found = DDNAttack(steps=steps).run(model, images, TargetedMisclassification(targets))
    return found.detach().clamp(0, 1)  # it adds what it found to the images, whose rounding may leave the box
