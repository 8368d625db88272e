"""Networks that stand beside a MODEL: whether each is another one."""

from collections.abc import Mapping

from torch import nn

from priors.errors import InputError
from priors.files.tensors import digest_of


def check_apart(networks: Mapping[str, nn.Module]) -> None:
    """Make sure that no two networks are one, by their weights: it would count as two.

    Args:
        networks: by MODEL, as on the command line; the first is the MODEL itself, the others are those of --against.

    Raises:
        InputError: two have the same weights.
    """
    known: dict[str, str] = {}
    for model, network in networks.items():
        digest = digest_of(network.state_dict())
        if digest in known:
            raise InputError(
                f"--against {model} has the weights of {known[digest]}: it would count as a second network; leave it "
                "out"
            )
        known[digest] = model
